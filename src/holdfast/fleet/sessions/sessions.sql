-- name: next_number
INSERT INTO session_numbers (project, last) VALUES (:project, 1)
ON CONFLICT (project) DO UPDATE SET last = session_numbers.last + 1
RETURNING last

-- name: add
INSERT INTO sessions (
    id, project, number, kind, title, agent, speaks, options, runtime, host, repository, branch, base, base_commit,
    state, state_at, evidence, wanted, wanted_at, launch, life, rejected, lost, created_at
) VALUES (
    :id, :project, :number, :kind, :title, :agent, :speaks, :options, :runtime, :host, :repository, :branch, :base,
    :base_commit, 'not_started', :at, '{}', 'spawn', :at, 0, '{}', 0, 0, :at
)

-- name: by_id
SELECT * FROM sessions WHERE id = :id

-- name: page
SELECT * FROM sessions
WHERE id > :after AND (CAST(:project AS TEXT) IS NULL OR project = :project)
ORDER BY id LIMIT :limit

-- name: alive
SELECT id FROM sessions WHERE host = :host AND alive_since IS NOT NULL ORDER BY id

-- name: alive_launches
SELECT s.*, l.handle
FROM sessions s JOIN launches l ON l.session = s.id AND l.number = s.launch
WHERE s.host = :host AND s.alive_since IS NOT NULL
ORDER BY s.id

-- name: update
UPDATE sessions SET
    state = :state, state_at = :state_at, reason = :reason, evidence = :evidence, launch = :launch,
    launched_at = :launched_at, alive_since = :alive_since, activity = :activity, activity_source = :activity_source,
    activity_at = :activity_at, life = :life, kill_asked_at = :kill_asked_at, ended_at = :ended_at
WHERE id = :id

-- name: note_life
UPDATE sessions SET life = :life WHERE id = :id

-- name: release_place
UPDATE sessions SET wanted = NULL, wanted_at = NULL, admitted_at = NULL WHERE id = :id

-- name: refuse_signal
UPDATE sessions SET rejected = rejected + 1 WHERE id = :id

-- name: unrefuse_signal
UPDATE sessions SET rejected = rejected - 1 WHERE id = :id AND rejected > 0

-- name: note_lost
UPDATE sessions SET lost = :total WHERE id = :id AND lost < :total

-- name: converse
UPDATE sessions SET agent_session_id = :conversation
WHERE id = :id AND (agent_session_id IS NULL OR agent_session_id <> :conversation)

-- name: last_episode
SELECT number, launch, cause, started_at, escalated_at, closed_at, outcome, tally
FROM episodes WHERE session = :id ORDER BY number DESC LIMIT 1

-- name: episodes
SELECT number, launch, cause, started_at, escalated_at, closed_at, outcome, tally
FROM episodes WHERE session = :id ORDER BY number DESC LIMIT :limit

-- name: last_episodes_of_alive
SELECT e.session, e.number, e.launch, e.cause, e.started_at, e.escalated_at, e.closed_at, e.outcome, e.tally
FROM episodes e JOIN sessions s ON s.id = e.session
WHERE s.host = :host AND s.alive_since IS NOT NULL
    AND e.number = (SELECT max(number) FROM episodes l WHERE l.session = e.session)

-- name: put_episode
INSERT INTO episodes (session, project, number, launch, cause, started_at, escalated_at, closed_at, outcome, tally)
VALUES (:session, :project, :number, :launch, :cause, :started_at, :escalated_at, :closed_at, :outcome, :tally)
ON CONFLICT (session, number) DO UPDATE SET escalated_at = :escalated_at, closed_at = :closed_at, outcome = :outcome,
    tally = :tally

-- name: add_signal
INSERT INTO signals (session, launch, seq, kind, event, detail, source, taken, at)
VALUES (:session, :launch, :seq, :kind, :event, :detail, :source, :taken, :at)
ON CONFLICT (session, launch, seq) DO NOTHING

-- name: prune_signals
DELETE FROM signals WHERE session = :session AND at <= (
    SELECT at FROM signals WHERE session = :session ORDER BY at DESC LIMIT 1 OFFSET :keep
)

-- name: crowded
SELECT session FROM signals GROUP BY session HAVING count(*) > :keep ORDER BY session

-- name: ended_launch
UPDATE launches SET ended_at = :at, exit_status = :exit_status, exit_signal = :exit_signal, outcome = :outcome
WHERE session = :session AND number = :number AND ended_at IS NULL

-- name: queue
SELECT id, project, host, wanted, wanted_at FROM sessions
WHERE wanted IS NOT NULL AND admitted_at IS NULL AND (CAST(:host AS TEXT) IS NULL OR host = :host)
ORDER BY wanted_at, project, number

-- name: admitted
SELECT project, host, count(*) AS sessions FROM sessions WHERE admitted_at IS NOT NULL GROUP BY project, host

-- name: caps
SELECT id, max_sessions FROM projects ORDER BY id

-- name: admit
UPDATE sessions SET admitted_at = :at WHERE id = :id

-- name: want_restored
UPDATE sessions SET wanted = 'restore', wanted_at = :at, kill_asked_at = NULL WHERE id = :id

-- name: ask_to_end
UPDATE sessions SET kill_asked_at = :at WHERE id = :id AND kill_asked_at IS NULL

-- name: let_go
UPDATE sessions SET saga = NULL, saga_row = NULL WHERE id = :id AND saga_row = :row

-- name: settle_workspace
UPDATE sessions SET workspace = :workspace WHERE id = :id

-- name: last_launch
SELECT max(number) AS number FROM launches WHERE session = :session

-- name: launch
SELECT session, number, purpose, begun_at, handle, token, conversation, alive_at, ended_at, exit_status, exit_signal,
    outcome
FROM launches WHERE session = :session AND number = :number

-- name: launches
SELECT session, number, purpose, begun_at, handle, token, conversation, alive_at, ended_at, exit_status, exit_signal, outcome
FROM launches WHERE session = :session ORDER BY number

-- name: begin_launch
INSERT INTO launches (session, number, purpose, begun_at, conversation)
VALUES (:session, :number, :purpose, :at, :conversation)
ON CONFLICT (session, number) DO NOTHING

-- name: hold_token
UPDATE launches SET token = :token WHERE session = :session AND number = :number

-- name: launch_alive
UPDATE launches SET handle = :handle, alive_at = :at WHERE session = :session AND number = :number

-- name: add_step
INSERT INTO saga_steps (session, launch, saga, step, detail, at) VALUES (:session, :launch, :saga, :step, :detail, :at)
ON CONFLICT (session, launch, saga, step) DO UPDATE SET detail = :detail, at = :at

-- name: steps
SELECT launch, saga, step, detail, at FROM saga_steps WHERE session = :session ORDER BY at, launch, saga, step

-- name: remove_workspaces_of
SELECT id, project, repository, branch, base_commit, workspace FROM sessions
WHERE host = :host AND workspace IS NOT NULL AND state IN ('terminated', 'done') AND saga IS NULL
    AND (CAST(:project AS TEXT) IS NULL OR project = :project)
ORDER BY id

-- name: begin_incident
INSERT INTO incidents (host, runtime, cause, detail, sessions, started_at)
VALUES (:host, :runtime, :cause, :detail, :sessions, :at)
ON CONFLICT (host, runtime, cause) WHERE ended_at IS NULL DO NOTHING
RETURNING id

-- name: open_incident
SELECT id FROM incidents WHERE host = :host AND runtime = :runtime AND cause = :cause AND ended_at IS NULL

-- name: end_incident
UPDATE incidents SET ended_at = :at WHERE id = :id

-- name: host
SELECT host, boot, seen_at, rebooted_at FROM hosts WHERE host = :host

-- name: see_host
INSERT INTO hosts (host, boot, seen_at, rebooted_at) VALUES (:host, :boot, :at, NULL)
ON CONFLICT (host) DO UPDATE SET boot = :boot, seen_at = :at, rebooted_at = :rebooted_at

-- name: project
SELECT id, path, agent, base, setup, copy, link, options, max_sessions FROM projects WHERE id = :id

-- name: live_saga
SELECT s.saga FROM sessions s JOIN propagations p ON p.id = s.saga_row
WHERE s.id = :id AND s.saga_row <> :row AND p.state <> 'dead'

-- name: take_in_hand
UPDATE sessions SET saga = :saga, saga_row = :row WHERE id = :id

-- name: prompt_of
SELECT id, text, state FROM messages WHERE session = :session AND kind = 'prompt' ORDER BY id LIMIT 1

-- name: keep
INSERT INTO kept_work (ref, session, project, repository, branch, commit_id, head, files, bytes, kept_at)
VALUES (:ref, :session, :project, :repository, :branch, :commit_id, :head, :files, :bytes, :at)
ON CONFLICT (ref) DO NOTHING

-- name: kept_by_ref
SELECT ref, session, project, repository, branch, commit_id, head, files, bytes, kept_at, restored_at
FROM kept_work WHERE ref = :ref

-- name: kept_of_session
SELECT ref, session, project, repository, branch, commit_id, head, files, bytes, kept_at, restored_at
FROM kept_work WHERE session = :session ORDER BY kept_at DESC LIMIT 1

-- name: kept_restored
UPDATE kept_work SET restored_at = :at WHERE ref = :ref

-- name: number_of
SELECT last FROM session_numbers WHERE project = :project

-- name: lost
SELECT id FROM sessions
WHERE host = :host AND state = 'terminated' AND reason = 'runtime_lost' AND wanted IS NULL AND launch > 0
    AND EXISTS (SELECT 1 FROM projects p WHERE p.id = sessions.project)
ORDER BY project, number

-- What is told of a reboot that is over, and not of its sessions yet.
-- name: reboots_told
SELECT i.id, i.started_at, i.ended_at FROM incidents i JOIN notices n ON n.key = 'incident:' || i.id
WHERE i.host = :host AND i.cause = 'reboot' AND i.ended_at IS NOT NULL AND n.resolved_at IS NULL
ORDER BY i.id

-- One of those that ended with it, were not restored since, and still have their worktree.
-- name: still_lost
SELECT id FROM sessions
WHERE host = :host AND workspace IS NOT NULL AND state = 'terminated' AND reason = 'runtime_lost'
    AND ended_at >= :begun AND ended_at <= :over
ORDER BY id LIMIT 1

-- name: call_off_end
UPDATE sessions SET kill_asked_at = NULL WHERE id = :id

-- name: unsaid
SELECT id FROM messages WHERE session = :session AND state IN ('queued', 'held') ORDER BY id

-- What sagas still owe a session, and what keeps them from it.
-- name: owed
SELECT id, kind, state, attempts, reason, error, created_at, next_attempt_at FROM propagations
WHERE key = :session AND kind IN ('fleet.spawn', 'fleet.restore', 'fleet.kill', 'fleet.cleanup')
ORDER BY id

-- name: early_signals
SELECT seq, kind, detail FROM signals
WHERE session = :session AND launch = :launch AND taken = 'unknown_launch' ORDER BY seq

-- name: took_early
UPDATE signals SET taken = :taken, detail = :detail WHERE session = :session AND launch = :launch AND seq = :seq

-- name: wanted_launches
SELECT l.session, l.number FROM launches l JOIN sessions s ON s.id = l.session
WHERE s.host = :host AND l.ended_at IS NULL AND (s.admitted_at IS NOT NULL OR s.saga IS NOT NULL)
ORDER BY l.session, l.number

-- name: open_episodes
SELECT session, number, launch, cause, started_at, escalated_at, closed_at, outcome, tally
FROM episodes WHERE closed_at IS NULL ORDER BY session
