-- name: add
INSERT INTO projects (id, path, agent, forge, checks, max_sessions, created_at)
VALUES (:id, :path, :agent, :forge, :checks, :max_sessions, :at)

-- name: by_id
SELECT id, path, agent, forge, checks, max_sessions, created_at FROM projects WHERE id = :id

-- name: clashing
SELECT id, path FROM projects WHERE id = :id OR path = :path ORDER BY id LIMIT 1

-- name: page
SELECT id, path, agent, forge, checks, max_sessions, created_at FROM projects
WHERE id > :after ORDER BY id LIMIT :limit

-- name: change
UPDATE projects SET agent = :agent, forge = :forge, checks = :checks, max_sessions = :max_sessions WHERE id = :id

-- name: remove
DELETE FROM projects WHERE id = :id
