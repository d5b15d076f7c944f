-- The fleet's tables in a fresh store. Triggers that write the change log are generated, not written here.
-- Instants are text, `2026-11-21T07:06:45.123456Z`; JSON is text; "C" collation keeps text in the order of its bytes.

-- Registered repositories. `checks` and `setup` are JSON lists of commands, `copy` and `link` of paths; `options` is a
-- JSON object of what its agents are given.
CREATE TABLE projects (
    id           TEXT NOT NULL PRIMARY KEY,
    path         TEXT NOT NULL UNIQUE,
    agent        TEXT,
    forge        TEXT NOT NULL,
    checks       TEXT NOT NULL,
    max_sessions INTEGER NOT NULL,
    created_at   TEXT NOT NULL,
    base         TEXT,
    setup        TEXT NOT NULL DEFAULT '[]',
    copy         TEXT NOT NULL DEFAULT '[]',
    link         TEXT NOT NULL DEFAULT '[]',
    options      TEXT NOT NULL DEFAULT '{}',
    checks_how   TEXT NOT NULL DEFAULT 'in_order',
    merge_by     TEXT NOT NULL DEFAULT 'person',
    merge_how    TEXT NOT NULL DEFAULT 'merge',
    reactions    TEXT NOT NULL DEFAULT '{}'
) STRICT;

-- The last number that was given to a session of a project; outlives both, so that none is ever given twice.
CREATE TABLE session_numbers (
    project TEXT NOT NULL PRIMARY KEY,
    last    INTEGER NOT NULL
) STRICT;

-- One agent's work in one worktree. What is shown as its status is derived from this when it is read.
CREATE TABLE sessions (
    id               TEXT NOT NULL PRIMARY KEY,
    project          TEXT NOT NULL,
    number           INTEGER NOT NULL,
    kind             TEXT NOT NULL,
    title            TEXT NOT NULL,
    agent            TEXT NOT NULL,
    speaks           TEXT NOT NULL,
    options          TEXT NOT NULL,
    runtime          TEXT NOT NULL,
    host             TEXT NOT NULL,
    repository       TEXT NOT NULL,
    branch           TEXT NOT NULL,
    base             TEXT NOT NULL,
    base_commit      TEXT NOT NULL,
    -- Where its worktree is; none before there is one, and none after it was removed.
    workspace        TEXT,
    state            TEXT NOT NULL,
    state_at         TEXT NOT NULL,
    reason           TEXT,
    evidence         TEXT NOT NULL,
    -- What it waits for in the queue or is admitted to: spawn or restore.
    wanted           TEXT,
    wanted_at        TEXT,
    admitted_at      TEXT,
    launch           INTEGER NOT NULL,
    launched_at      TEXT,
    alive_since      TEXT,
    activity         TEXT,
    activity_source  TEXT,
    activity_at      TEXT,
    -- What else is known of the present launch: its witnesses, the newest signal, how long it has been watched.
    life             TEXT NOT NULL,
    agent_session_id TEXT,
    kill_asked_at    TEXT,
    -- The saga that has it in hand, and the propagation that does it; one at a time.
    saga             TEXT,
    saga_row         INTEGER,
    -- Signals that were refused, and those that its hooks could not leave anywhere.
    rejected         INTEGER NOT NULL,
    lost             INTEGER NOT NULL,
    created_at       TEXT NOT NULL,
    ended_at         TEXT,
    UNIQUE (project, number)
) STRICT;
CREATE INDEX sessions_alive ON sessions (host, id) WHERE alive_since IS NOT NULL;
CREATE INDEX sessions_queued ON sessions (wanted_at, id) WHERE wanted IS NOT NULL AND admitted_at IS NULL;
CREATE INDEX sessions_admitted ON sessions (project) WHERE admitted_at IS NOT NULL;
CREATE INDEX sessions_in_hand ON sessions (host) WHERE saga IS NOT NULL;
CREATE INDEX sessions_with_workspace ON sessions (host, id) WHERE workspace IS NOT NULL;

-- Each start of a session's agent. `handle` names what the runtime made, `token` is the id of the agent's token.
CREATE TABLE launches (
    session      TEXT NOT NULL,
    number       INTEGER NOT NULL,
    purpose      TEXT NOT NULL,
    begun_at     TEXT NOT NULL,
    handle       TEXT,
    token        TEXT,
    conversation TEXT,
    alive_at     TEXT,
    ended_at     TEXT,
    exit_status  INTEGER,
    exit_signal  INTEGER,
    outcome      TEXT,
    PRIMARY KEY (session, number)
) STRICT;

-- The steps that the sagas of a session have done.
CREATE TABLE saga_steps (
    session TEXT NOT NULL,
    launch  INTEGER NOT NULL,
    saga    TEXT NOT NULL,
    step    TEXT NOT NULL,
    detail  TEXT NOT NULL,
    at      TEXT NOT NULL,
    PRIMARY KEY (session, launch, saga, step)
) STRICT;

-- Quarantines, numbered by session; one is open at a time. `tally` is what the decider counts by.
CREATE TABLE episodes (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    session      TEXT NOT NULL,
    project      TEXT NOT NULL,
    number       INTEGER NOT NULL,
    launch       INTEGER NOT NULL,
    cause        TEXT NOT NULL,
    started_at   TEXT NOT NULL,
    escalated_at TEXT,
    closed_at    TEXT,
    outcome      TEXT NOT NULL,
    tally        TEXT NOT NULL,
    UNIQUE (session, number)
) STRICT;
CREATE UNIQUE INDEX episodes_open ON episodes (session) WHERE closed_at IS NULL;

-- What agents said, also what was refused and why.
CREATE TABLE signals (
    session TEXT NOT NULL,
    launch  INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    kind    TEXT,
    event   TEXT,
    detail  TEXT NOT NULL,
    source  TEXT NOT NULL,
    taken   TEXT NOT NULL,
    at      TEXT NOT NULL,
    PRIMARY KEY (session, launch, seq)
) STRICT;

-- What is said to agents, in order per session: their first prompt too, and what a resumed one is told.
CREATE TABLE messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    session    TEXT NOT NULL,
    project    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    state      TEXT NOT NULL,
    state_at   TEXT NOT NULL,
    reason     TEXT,
    -- The launch it was given to, and where the recorded output stood just before.
    launch     INTEGER NOT NULL,
    offset_at  INTEGER NOT NULL,
    presses    INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    text       TEXT NOT NULL
) STRICT;
CREATE INDEX messages_by_session ON messages (session, id);

-- Work that was captured before its worktree was removed.
CREATE TABLE kept_work (
    ref         TEXT NOT NULL PRIMARY KEY,
    session     TEXT NOT NULL,
    project     TEXT NOT NULL,
    repository  TEXT NOT NULL,
    branch      TEXT,
    commit_id   TEXT NOT NULL,
    head        TEXT NOT NULL,
    files       INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    kept_at     TEXT NOT NULL,
    restored_at TEXT
) STRICT;
CREATE INDEX kept_work_by_session ON kept_work (session, kept_at);

-- Outages of what many sessions share: one row each, however many sessions there were.
CREATE TABLE incidents (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    host       TEXT NOT NULL,
    runtime    TEXT NOT NULL,
    cause      TEXT NOT NULL,
    detail     TEXT NOT NULL,
    sessions   INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at   TEXT
) STRICT;
CREATE UNIQUE INDEX incidents_open ON incidents (host, runtime, cause) WHERE ended_at IS NULL;

-- The hosts that run sessions, and the boot each was last seen in.
CREATE TABLE hosts (
    host        TEXT NOT NULL PRIMARY KEY,
    boot        TEXT NOT NULL,
    seen_at     TEXT NOT NULL,
    rebooted_at TEXT
) STRICT;

-- The last number that was given to a pull of a project by a forge that has no numbers of its own.
CREATE TABLE pull_numbers (
    project TEXT NOT NULL PRIMARY KEY,
    last    INTEGER NOT NULL
) STRICT;

-- Pull requests, of any forge, as they were last observed. Each belongs to one session.
CREATE TABLE pulls (
    id           TEXT NOT NULL PRIMARY KEY,
    project      TEXT NOT NULL,
    number       INTEGER NOT NULL,
    forge        TEXT NOT NULL,
    session      TEXT NOT NULL,
    branch       TEXT NOT NULL,
    base         TEXT NOT NULL,
    title        TEXT NOT NULL,
    url          TEXT,
    state        TEXT NOT NULL,
    stage        TEXT NOT NULL,
    head         TEXT NOT NULL,
    base_commit  TEXT NOT NULL,
    review       TEXT NOT NULL,
    -- Whether it can be merged into its base, and the paths that are in the way.
    fit          TEXT NOT NULL,
    conflicts    TEXT NOT NULL,
    -- The names of the checks that its head is to pass: a JSON list, or null while nobody knows.
    expected     TEXT NOT NULL,
    merge_commit TEXT,
    -- The forge's own version of this row, where it has one: an older one changes nothing.
    version      TEXT NOT NULL,
    opened_by    TEXT NOT NULL,
    opened_at    TEXT NOT NULL,
    merged_at    TEXT,
    closed_at    TEXT,
    -- Why it was closed.
    reason       TEXT,
    -- What a person, or the project's policy, wants of it: a merge that is under way, or why one was refused.
    wanted       TEXT,
    wanted_by    TEXT,
    refused      TEXT,
    UNIQUE (project, number)
) STRICT;
CREATE INDEX pulls_by_session ON pulls (session, number);
CREATE INDEX pulls_open ON pulls (forge, id) WHERE state = 'open';

-- The checks of pulls: one row for each pull, name and commit. What they said before is the budget of reactions.
CREATE TABLE checks (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    pull        TEXT NOT NULL,
    project     TEXT NOT NULL,
    name        TEXT NOT NULL,
    commit_id   TEXT NOT NULL,
    state       TEXT NOT NULL,
    -- The base that it was run against, and how often it was run.
    base_commit TEXT NOT NULL,
    runs        INTEGER NOT NULL,
    step        TEXT NOT NULL,
    exit_status INTEGER,
    tail        TEXT NOT NULL,
    -- What of the tail tells one failure from another.
    digest      TEXT NOT NULL,
    url         TEXT,
    started_at  TEXT,
    finished_at TEXT,
    UNIQUE (pull, name, commit_id)
) STRICT;
CREATE INDEX checks_by_commit ON checks (pull, commit_id);

-- What people said to pulls; comments of one conversation share a thread.
CREATE TABLE comments (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    pull     TEXT NOT NULL,
    project  TEXT NOT NULL,
    external TEXT NOT NULL,
    thread   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    author   TEXT NOT NULL,
    path     TEXT,
    line     INTEGER,
    commit_id TEXT NOT NULL,
    body     TEXT NOT NULL,
    state    TEXT NOT NULL,
    at       TEXT NOT NULL,
    UNIQUE (pull, external)
) STRICT;

-- What reactions owed, and what became of it: one row for each session, reaction and signature, never removed.
CREATE TABLE nudges (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    session    TEXT NOT NULL,
    project    TEXT NOT NULL,
    reaction   TEXT NOT NULL,
    signature  TEXT NOT NULL,
    pull       TEXT,
    -- What its cap counts by: the pull, or the pull and the name of a check; and the things that it is about.
    budget     TEXT NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT,
    rounds     INTEGER NOT NULL,
    message    INTEGER,
    owed_at    TEXT NOT NULL,
    settled_at TEXT,
    UNIQUE (session, reaction, signature)
) STRICT;
CREATE INDEX nudges_by_message ON nudges (message) WHERE message IS NOT NULL;
