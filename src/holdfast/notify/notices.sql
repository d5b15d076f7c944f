-- name: add
INSERT INTO notices (kind, subject, key, text, scope, raised_at)
VALUES (:kind, :subject, :key, :text, :scope, :at)
ON CONFLICT (key) DO NOTHING

-- name: resolve
UPDATE notices SET resolved_at = :at WHERE key = :key AND resolved_at IS NULL
