-- name: kept_page
SELECT ref, session, project, repository, branch, commit_id, head, files, bytes, kept_at, restored_at FROM kept_work
WHERE ref > :after AND (CAST(:project AS TEXT) IS NULL OR project = :project)
    AND (CAST(:session AS TEXT) IS NULL OR session = :session)
ORDER BY ref LIMIT :limit

-- name: kept
SELECT ref, session, project, repository FROM kept_work WHERE ref = :ref

-- name: put_back
UPDATE kept_work SET restored_at = :at WHERE ref = :ref

-- --- what happened to a session ----------------------------------------------------------------------------------
-- Each page begins behind a moment, and within that moment behind a number of its own.

-- name: changes
SELECT seq AS number, at, event, payload, actor FROM change_log
WHERE scope = :scope AND entity = 'session' AND entity_id = :session AND (at < :at OR (at = :at AND seq < :number))
ORDER BY seq DESC LIMIT :limit

-- name: signals
SELECT seq AS number, at, launch, kind, event, detail, source, taken FROM signals
WHERE session = :session AND (at < :at OR (at = :at AND seq < :number))
ORDER BY at DESC, seq DESC LIMIT :limit

-- name: messages
SELECT id AS number, created_at AS at, kind, state, state_at, reason, launch, created_by, substr(text, 1, 200) AS text
FROM messages
WHERE session = :session AND (created_at < :at OR (created_at = :at AND id < :number))
ORDER BY created_at DESC, id DESC LIMIT :limit

-- name: launches
SELECT number, purpose, begun_at, alive_at, ended_at, exit_status, exit_signal, outcome FROM launches
WHERE session = :session ORDER BY number

-- name: steps
SELECT launch, saga, step, detail, at FROM saga_steps WHERE session = :session ORDER BY at, launch, saga, step

-- name: episodes
SELECT number, launch, cause, started_at, escalated_at, closed_at, outcome FROM episodes
WHERE session = :session ORDER BY number

-- name: kept_of
SELECT ref, commit_id, files, bytes, kept_at, restored_at FROM kept_work WHERE session = :session ORDER BY kept_at, ref
