-- name: add
INSERT INTO projects (
    id, path, agent, forge, checks, max_sessions, created_at, base, setup, copy, link, options,
    checks_how, merge_by, merge_how, reactions
) VALUES (
    :id, :path, :agent, :forge, :checks, :max_sessions, :created_at, :base, :setup, :copy, :link, :options,
    :checks_how, :merge_by, :merge_how, :reactions
)

-- name: by_id
SELECT id, path, agent, forge, checks, max_sessions, created_at, base, setup, copy, link, options,
    checks_how, merge_by, merge_how, reactions
FROM projects WHERE id = :id

-- name: clashing
SELECT id, path FROM projects WHERE id = :id OR path = :path ORDER BY id LIMIT 1

-- name: page
SELECT id, path, agent, forge, checks, max_sessions, created_at, base, setup, copy, link, options,
    checks_how, merge_by, merge_how, reactions FROM projects
WHERE id > :after ORDER BY id LIMIT :limit

-- name: change
UPDATE projects SET
    agent = :agent, forge = :forge, checks = :checks, max_sessions = :max_sessions, base = :base, setup = :setup,
    copy = :copy, link = :link, options = :options, checks_how = :checks_how, merge_by = :merge_by,
    merge_how = :merge_how, reactions = :reactions
WHERE id = :id

-- The sessions of a project that live, wait to live, are in hand, or have a worktree.
-- name: in_use
SELECT id FROM sessions
WHERE project = :project
    AND (state NOT IN ('terminated', 'done') OR workspace IS NOT NULL OR saga IS NOT NULL OR wanted IS NOT NULL)
ORDER BY number LIMIT :limit

-- name: remove
DELETE FROM projects WHERE id = :id
