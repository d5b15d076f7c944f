-- What the page shows beyond what others read for it: the sessions, pulls and logs that come first, so many of each.

-- name: counts
SELECT (SELECT count(*) FROM projects) AS projects, (SELECT count(*) FROM sessions) AS sessions,
    (SELECT count(*) FROM pulls) AS pulls

-- Those that have not ended, then those that have ended last.
-- name: sessions
SELECT * FROM sessions
ORDER BY CASE WHEN state IN ('terminated', 'done') AND wanted IS NULL THEN 1 ELSE 0 END, state_at DESC, id
LIMIT :sessions

-- The pulls of those sessions, then the open ones of others.
-- name: pulls
WITH shown AS (
    SELECT id FROM sessions
    ORDER BY CASE WHEN state IN ('terminated', 'done') AND wanted IS NULL THEN 1 ELSE 0 END, state_at DESC, id
    LIMIT :sessions
)
SELECT pulls.* FROM pulls LEFT JOIN shown ON shown.id = pulls.session
WHERE shown.id IS NOT NULL OR pulls.state = 'open'
ORDER BY CASE WHEN shown.id IS NULL THEN 1 ELSE 0 END, pulls.opened_at DESC, pulls.id
LIMIT :pulls

-- The ends of the logs of these pulls' heads, those of failures first.
-- name: logs [sqlite]
SELECT checks.pull, checks.name, substr(checks.tail, -CAST(:characters AS INTEGER)) AS tail
FROM checks JOIN pulls ON pulls.id = checks.pull AND pulls.head = checks.commit_id
WHERE checks.tail <> '' AND checks.pull IN (SELECT value FROM json_each(:pulls))
ORDER BY CASE checks.state WHEN 'failed' THEN 0 WHEN 'errored' THEN 1 ELSE 2 END, checks.id DESC
LIMIT :logs
-- name: logs [postgres]
SELECT checks.pull, checks.name, right(checks.tail, CAST(:characters AS INTEGER)) AS tail
FROM checks JOIN pulls ON pulls.id = checks.pull AND pulls.head = checks.commit_id
WHERE checks.tail <> '' AND checks.pull = ANY (ARRAY(SELECT jsonb_array_elements_text(:pulls::jsonb)))
ORDER BY CASE checks.state WHEN 'failed' THEN 0 WHEN 'errored' THEN 1 ELSE 2 END, checks.id DESC
LIMIT :logs
