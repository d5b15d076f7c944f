-- name: add
INSERT INTO messages
    (session, project, kind, state, state_at, reason, launch, offset_at, presses, created_by, created_at, text)
VALUES (:session, :project, :kind, 'queued', :at, :reason, 0, 0, 0, :by, :at, :text)
RETURNING id

-- name: by_id
SELECT id, session, project, kind, state, state_at, reason, launch, offset_at, presses, created_by, created_at, text
FROM messages WHERE id = :id

-- name: page
SELECT id, session, project, kind, state, state_at, reason, launch, offset_at, presses, created_by, created_at, text
FROM messages WHERE session = :session AND id > :after ORDER BY id LIMIT :limit

-- name: head
SELECT id, session, project, kind, state, reason, launch, offset_at, presses FROM messages WHERE id = :id

-- name: move
UPDATE messages SET state = :end, state_at = :at, reason = :reason
WHERE id = :id AND state = :start

-- name: intend
UPDATE messages SET launch = :launch, offset_at = :offset_at, presses = 0 WHERE id = :id

-- name: press
UPDATE messages SET presses = presses + 1 WHERE id = :id

-- name: undecided
SELECT id, state, launch, kind, text FROM messages
WHERE session = :session AND launch = :launch AND state IN ('typed', 'submitted', 'unknown') ORDER BY id

-- name: under_way
SELECT id FROM messages
WHERE session = :session AND state IN ('queued', 'held', 'typed', 'submitted') LIMIT 1

-- Notices that were not typed to any launch.
-- name: untold
SELECT id FROM messages WHERE session = :session AND kind = 'notice' AND state IN ('queued', 'held') ORDER BY id

-- name: last_unknown
SELECT text FROM messages
WHERE session = :session AND launch = :launch AND state = 'unknown' AND id <> :id
ORDER BY state_at DESC, id DESC LIMIT 1

-- name: listener
SELECT s.agent, s.speaks, s.runtime, s.state, s.reason, s.launch, s.alive_since, s.activity, s.activity_at, s.wanted,
    s.kill_asked_at, s.ended_at, l.handle,
    (SELECT min(m.id) FROM messages m
     WHERE m.session = s.id AND m.kind = 'notice' AND m.state IN ('queued', 'held', 'typed', 'submitted')) AS notice
FROM sessions s LEFT JOIN launches l ON l.session = s.id AND l.number = s.launch
WHERE s.id = :id

-- name: said_since
SELECT seq, kind FROM signals
WHERE session = :session AND launch = :launch AND seq > :seq AND kind IS NOT NULL ORDER BY seq LIMIT :limit
