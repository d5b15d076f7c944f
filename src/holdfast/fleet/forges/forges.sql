-- What forges are told of a project.
-- name: project
SELECT id, path, forge, base, setup, copy, link, checks, checks_how, merge_by, merge_how FROM projects WHERE id = :id

-- Who did something else with this pull's branch before: heads that were pulled once are not pulled again by themselves.
-- name: earlier
SELECT id, head, state FROM pulls WHERE session = :session AND state <> 'open' ORDER BY number DESC
