-- What reactions look at, and what they owed. Logs are read only where they are told.

-- name: checks
SELECT checks.pull, checks.name, checks.commit_id, checks.state, checks.base_commit, checks.runs, checks.step,
    checks.exit_status, checks.digest, checks.url, checks.started_at, checks.finished_at
FROM checks JOIN pulls ON pulls.id = checks.pull AND pulls.head = checks.commit_id
WHERE pulls.session = :session AND pulls.state = 'open' ORDER BY checks.id

-- name: comments
SELECT comments.pull, comments.external, comments.thread, comments.kind, comments.author, comments.path,
    comments.line, comments.commit_id, comments.body, comments.state, comments.at
FROM comments JOIN pulls ON pulls.id = comments.pull
WHERE pulls.session = :session AND pulls.state = 'open' AND comments.state = 'open' AND comments.kind <> 'approval'
ORDER BY comments.id

-- name: nudges
SELECT nudges.id, nudges.reaction, nudges.signature, nudges.pull, nudges.budget, nudges.state, nudges.rounds,
    nudges.message, nudges.owed_at, messages.state AS message_state
FROM nudges LEFT JOIN messages ON messages.id = nudges.message
WHERE nudges.session = :session ORDER BY nudges.id

-- name: unknown
SELECT id, substr(text, 1, 200) AS text, reason FROM messages
WHERE session = :session AND state = 'unknown' ORDER BY id

-- name: rules
SELECT reactions, merge_by FROM projects WHERE id = :project

-- name: nudge
SELECT id, session, project, reaction, signature, budget, state, rounds, owed_at FROM nudges WHERE id = :id

-- name: of_message
SELECT id, session, state FROM nudges WHERE message = :message

-- The effects of what is owed to a session's agent: which of them are to be done now and have not failed.
-- name: going
SELECT nudges.id, nudges.reaction, nudges.rounds FROM nudges
JOIN propagations ON propagations.kind = 'reaction.' || nudges.reaction
    AND propagations.key = CAST(nudges.id AS TEXT) || ':' || CAST(nudges.rounds AS TEXT)
WHERE nudges.session = :session AND nudges.state = 'owed' AND propagations.state <> 'dead'
    AND propagations.attempts = 0 AND propagations.starts <= 1
    AND (propagations.not_before IS NULL OR propagations.not_before <= :now)
ORDER BY nudges.id

-- name: add
INSERT INTO nudges (session, project, reaction, signature, pull, budget, state, reason, rounds, owed_at, settled_at)
VALUES (:session, :project, :reaction, :signature, :pull, :budget, :state, :reason, 1, :at, :settled_at)
ON CONFLICT (session, reaction, signature) DO NOTHING
RETURNING id

-- name: owe_again
UPDATE nudges SET state = 'owed', reason = NULL, rounds = rounds + 1, message = NULL, budget = :budget,
    owed_at = :at, settled_at = NULL
WHERE id = :id AND rounds = :rounds

-- name: settle
UPDATE nudges SET state = :state, reason = :reason, settled_at = :at WHERE id = :id

-- name: tell
UPDATE nudges SET state = :state, reason = NULL, message = :message, budget = :budget, settled_at = :at WHERE id = :id

-- name: die
UPDATE nudges SET state = 'dead', reason = :reason, budget = :budget, settled_at = :at WHERE id = :id

-- name: logs [sqlite]
SELECT name, commit_id, state, step, exit_status, substr(tail, -:most) AS tail, length(tail) AS size FROM checks
WHERE pull = :pull AND commit_id = :commit AND state = 'failed' ORDER BY name
-- name: logs [postgres]
SELECT name, commit_id, state, step, exit_status, right(tail, :most) AS tail, length(tail) AS size FROM checks
WHERE pull = :pull AND commit_id = :commit AND state = 'failed' ORDER BY name
