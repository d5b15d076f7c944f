-- name: add
INSERT INTO audit (id, kind, subject, detail, at) VALUES (:id, :kind, :subject, :detail, :at)

-- name: page
SELECT seq, payload, actor, cause, at FROM change_log
WHERE scope = 'system' AND entity = 'audit' AND seq < :before
  AND (CAST(:actor AS TEXT) IS NULL OR actor = :actor)
ORDER BY seq DESC LIMIT :limit
