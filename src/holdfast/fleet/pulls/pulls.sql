-- name: next_number
INSERT INTO pull_numbers (project, last) VALUES (:project, 1)
ON CONFLICT (project) DO UPDATE SET last = pull_numbers.last + 1
RETURNING last

-- name: add
INSERT INTO pulls (
    id, project, number, forge, session, branch, base, title, url, state, stage, head, base_commit, review, fit,
    conflicts, expected, merge_commit, version, opened_by, opened_at, merged_at, closed_at, reason, wanted,
    wanted_by, refused
) VALUES (
    :id, :project, :number, :forge, :session, :branch, :base, :title, :url, :state, :stage, :head, :base_commit,
    :review, :fit, :conflicts, :expected, :merge_commit, :version, :opened_by, :opened_at, :merged_at, :closed_at,
    :reason, :wanted, :wanted_by, :refused
)

-- name: change
UPDATE pulls SET
    branch = :branch, base = :base, title = :title, url = :url, state = :state, stage = :stage, head = :head,
    base_commit = :base_commit, review = :review, fit = :fit, conflicts = :conflicts, expected = :expected,
    merge_commit = :merge_commit, version = :version, merged_at = :merged_at, closed_at = :closed_at,
    reason = :reason, wanted = :wanted, wanted_by = :wanted_by, refused = :refused
WHERE id = :id

-- name: by_id
SELECT * FROM pulls WHERE id = :id

-- name: of_session
SELECT * FROM pulls WHERE session = :session ORDER BY number

-- name: of_sessions
SELECT * FROM pulls WHERE session >= :first AND session <= :last ORDER BY id

-- name: open_of_branch
SELECT * FROM pulls WHERE project = :project AND branch = :branch AND state = 'open' ORDER BY number LIMIT 1

-- Every open pull of a forge, with where its repository is and which host has its session.
-- name: open_of_forge
SELECT pulls.id, pulls.project, pulls.session, pulls.branch, pulls.base, pulls.head, pulls.base_commit, pulls.fit,
    pulls.wanted, sessions.repository, sessions.host
FROM pulls JOIN sessions ON sessions.id = pulls.session
WHERE pulls.forge = :forge AND pulls.state = 'open' ORDER BY pulls.id

-- name: page
SELECT * FROM pulls
WHERE id > :after AND (project = :project OR CAST(:project AS TEXT) IS NULL)
    AND (session = :session OR CAST(:session AS TEXT) IS NULL)
    AND (state = :state OR CAST(:state AS TEXT) IS NULL)
ORDER BY id LIMIT :limit

-- name: checks
SELECT name, commit_id, state, base_commit, runs, step, exit_status, tail, digest, url, started_at, finished_at
FROM checks WHERE pull = :pull ORDER BY id

-- Without the logs: a list of pulls needs none.
-- name: checks_of_heads
SELECT checks.pull, checks.name, checks.commit_id, checks.state, checks.runs, checks.step, checks.exit_status,
    checks.started_at, checks.finished_at
FROM checks JOIN pulls ON pulls.id = checks.pull AND pulls.head = checks.commit_id
WHERE pulls.id >= :first AND pulls.id <= :last ORDER BY checks.id

-- name: put_check
INSERT INTO checks (
    pull, project, name, commit_id, state, base_commit, runs, step, exit_status, tail, digest, url, started_at,
    finished_at
) VALUES (
    :pull, :project, :name, :commit_id, :state, :base_commit, :runs, :step, :exit_status, :tail, :digest, :url,
    :started_at, :finished_at
)
ON CONFLICT (pull, name, commit_id) DO UPDATE SET
    state = excluded.state, base_commit = excluded.base_commit, runs = excluded.runs, step = excluded.step,
    exit_status = excluded.exit_status, tail = excluded.tail, digest = excluded.digest, url = excluded.url,
    started_at = excluded.started_at, finished_at = excluded.finished_at

-- name: comments
SELECT external, thread, kind, author, path, line, commit_id, body, state, at
FROM comments WHERE pull = :pull ORDER BY id

-- name: put_comment
INSERT INTO comments (pull, project, external, thread, kind, author, path, line, commit_id, body, state, at)
VALUES (:pull, :project, :external, :thread, :kind, :author, :path, :line, :commit_id, :body, :state, :at)
ON CONFLICT (pull, external) DO UPDATE SET
    thread = excluded.thread, kind = excluded.kind, author = excluded.author, path = excluded.path,
    line = excluded.line, commit_id = excluded.commit_id, body = excluded.body, state = excluded.state,
    at = excluded.at

-- name: remove_comment
DELETE FROM comments WHERE pull = :pull AND external = :external

-- What a pull made reactions owe, with how far the message to the agent came.
-- name: nudges
SELECT nudges.id, nudges.reaction, nudges.state, nudges.reason, nudges.message, messages.state AS message_state,
    nudges.owed_at, nudges.settled_at
FROM nudges LEFT JOIN messages ON messages.id = nudges.message
WHERE nudges.pull = :pull ORDER BY nudges.id
