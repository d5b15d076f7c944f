-- name: live
SELECT id, name, hash, scope FROM tokens WHERE revoked_at IS NULL

-- name: add
INSERT INTO tokens (id, name, hash, scope, created_at) VALUES (:id, :name, :hash, :scope, :at)

-- name: by_id
SELECT id, name, scope, created_at, revoked_at FROM tokens WHERE id = :id

-- name: by_hash
SELECT id, scope, revoked_at FROM tokens WHERE hash = :hash

-- name: page
SELECT id, name, scope, created_at, revoked_at FROM tokens WHERE id > :after ORDER BY id LIMIT :limit

-- name: revoke
UPDATE tokens SET revoked_at = :at WHERE id = :id AND revoked_at IS NULL

-- name: other_admins
SELECT COUNT(*) AS others FROM tokens WHERE scope = 'admin' AND revoked_at IS NULL AND id <> :id
