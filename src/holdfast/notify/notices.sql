-- name: add
INSERT INTO notices (kind, subject, key, text, scope, raised_at, opened_at)
VALUES (:kind, :subject, :key, :text, :scope, :at, :at)
ON CONFLICT (key) DO NOTHING
RETURNING id

-- name: resolve
UPDATE notices SET resolved_at = :at WHERE key = :key AND resolved_at IS NULL RETURNING id

-- Every one whose key lies in a range: those of one thing.
-- name: resolve_between
UPDATE notices SET resolved_at = :at WHERE key >= :first AND key < :behind AND resolved_at IS NULL RETURNING id

-- name: resolve_about
UPDATE notices SET resolved_at = :at WHERE kind = :kind AND subject = :subject AND resolved_at IS NULL RETURNING id

-- name: open_about
SELECT id FROM notices WHERE kind = :kind AND subject = :subject AND resolved_at IS NULL ORDER BY id LIMIT 1

-- name: reopen
UPDATE notices SET resolved_at = NULL, opened_at = :at WHERE key = :key AND resolved_at IS NOT NULL RETURNING id

-- name: ack
UPDATE notices SET acked_at = :at, acked_by = :by WHERE id = :id AND acked_at IS NULL

-- PostgreSQL keeps the row where it is until the commit: it may be resolved or acknowledged meanwhile.
-- name: held [sqlite]
SELECT * FROM notices WHERE id = :id
-- name: held [postgres]
SELECT * FROM notices WHERE id = :id FOR UPDATE

-- name: by_id
SELECT * FROM notices WHERE id = :id

-- name: is_open
SELECT id FROM notices WHERE key = :key AND resolved_at IS NULL AND acked_at IS NULL

-- name: told
UPDATE notices SET told_at = :at, untold = :untold WHERE id = :id

-- name: escalated
UPDATE notices SET escalated_at = :at WHERE id = :id

-- Whether another one of the kind and subject was sent since.
-- name: told_since
SELECT id FROM notices
WHERE kind = :kind AND subject = :subject AND told_at > :since AND untold IS NULL AND id <> :id LIMIT 1

-- name: open_page
SELECT * FROM notices WHERE resolved_at IS NULL AND acked_at IS NULL AND id < :before ORDER BY id DESC LIMIT :limit

-- name: page
SELECT * FROM notices WHERE id < :before ORDER BY id DESC LIMIT :limit

-- name: count_open
SELECT count(*) AS count FROM notices WHERE resolved_at IS NULL AND acked_at IS NULL

-- name: nth_newest_over
SELECT id FROM notices WHERE COALESCE(resolved_at, acked_at) IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET :n

-- name: expired
SELECT id FROM notices
WHERE COALESCE(resolved_at, acked_at) < :since OR (COALESCE(resolved_at, acked_at) IS NOT NULL AND id <= :beyond)
ORDER BY id LIMIT :limit

-- name: remove [sqlite]
DELETE FROM notices WHERE id IN (SELECT value FROM json_each(:ids))
  AND COALESCE(resolved_at, acked_at) IS NOT NULL
-- name: remove [postgres]
DELETE FROM notices WHERE id IN (SELECT CAST(value AS bigint) FROM jsonb_array_elements_text(CAST(:ids AS jsonb)))
  AND COALESCE(resolved_at, acked_at) IS NOT NULL
