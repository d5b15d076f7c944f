-- name: add
INSERT INTO notices (kind, subject, key, text, scope, raised_at)
VALUES (:kind, :subject, :key, :text, :scope, :at)
ON CONFLICT (key) DO NOTHING

-- name: resolve
UPDATE notices SET resolved_at = :at WHERE key = :key AND resolved_at IS NULL

-- name: resolve_about
UPDATE notices SET resolved_at = :at WHERE kind = :kind AND subject = :subject AND resolved_at IS NULL

-- name: open_about
SELECT id FROM notices WHERE kind = :kind AND subject = :subject AND resolved_at IS NULL ORDER BY id LIMIT 1

-- name: page
SELECT id, kind, subject, text, scope, raised_at, resolved_at FROM notices
WHERE id > :after AND (CAST(:only AS TEXT) IS NULL OR (resolved_at IS NULL) = (:only = 'open'))
ORDER BY id LIMIT :limit
