-- name: claim
INSERT INTO idempotency (key, token_id, request_hash, status, body, at)
VALUES (:key, :token_id, :request_hash, 0, '', :at)
ON CONFLICT (token_id, key) DO NOTHING

-- name: kept
SELECT request_hash, status, body FROM idempotency WHERE token_id = :token_id AND key = :key

-- name: keep
UPDATE idempotency SET status = :status, body = :body WHERE token_id = :token_id AND key = :key

-- name: forget
DELETE FROM idempotency WHERE (token_id, key) IN
(SELECT token_id, key FROM idempotency WHERE at < :before ORDER BY at LIMIT :limit)
