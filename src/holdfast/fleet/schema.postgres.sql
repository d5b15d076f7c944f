-- The fleet's tables in a fresh store. Triggers that write the change log are generated, not written here.
-- Instants are text, `2026-11-21T07:06:45.123456Z`; JSON is text; "C" collation keeps text in the order of its bytes.

-- Registered repositories. `checks` and `setup` are JSON lists of commands, `copy` and `link` of paths; `options` is a
-- JSON object of what its agents are given.
CREATE TABLE projects (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    path         TEXT COLLATE "C" NOT NULL UNIQUE,
    agent        TEXT COLLATE "C",
    forge        TEXT COLLATE "C" NOT NULL,
    checks       TEXT NOT NULL,
    max_sessions BIGINT NOT NULL,
    created_at   TEXT COLLATE "C" NOT NULL,
    base         TEXT COLLATE "C",
    setup        TEXT NOT NULL DEFAULT '[]',
    copy         TEXT NOT NULL DEFAULT '[]',
    link         TEXT NOT NULL DEFAULT '[]',
    options      TEXT NOT NULL DEFAULT '{}',
    checks_how   TEXT COLLATE "C" NOT NULL DEFAULT 'in_order',
    merge_by     TEXT COLLATE "C" NOT NULL DEFAULT 'person',
    merge_how    TEXT COLLATE "C" NOT NULL DEFAULT 'merge',
    reactions    TEXT NOT NULL DEFAULT '{}'
);

-- The last number that was given to a session of a project; outlives both, so that none is ever given twice.
CREATE TABLE session_numbers (
    project TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    last    BIGINT NOT NULL
);

-- One agent's work in one worktree. What is shown as its status is derived from this when it is read.
CREATE TABLE sessions (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project          TEXT COLLATE "C" NOT NULL,
    number           BIGINT NOT NULL,
    kind             TEXT COLLATE "C" NOT NULL,
    title            TEXT COLLATE "C" NOT NULL,
    agent            TEXT COLLATE "C" NOT NULL,
    speaks           TEXT COLLATE "C" NOT NULL,
    options          TEXT NOT NULL,
    runtime          TEXT COLLATE "C" NOT NULL,
    host             TEXT COLLATE "C" NOT NULL,
    repository       TEXT COLLATE "C" NOT NULL,
    branch           TEXT COLLATE "C" NOT NULL,
    base             TEXT COLLATE "C" NOT NULL,
    base_commit      TEXT COLLATE "C" NOT NULL,
    -- Where its worktree is; none before there is one, and none after it was removed.
    workspace        TEXT COLLATE "C",
    state            TEXT COLLATE "C" NOT NULL,
    state_at         TEXT COLLATE "C" NOT NULL,
    reason           TEXT COLLATE "C",
    evidence         TEXT NOT NULL,
    -- What it waits for in the queue or is admitted to: spawn or restore.
    wanted           TEXT COLLATE "C",
    wanted_at        TEXT COLLATE "C",
    admitted_at      TEXT COLLATE "C",
    launch           BIGINT NOT NULL,
    launched_at      TEXT COLLATE "C",
    alive_since      TEXT COLLATE "C",
    activity         TEXT COLLATE "C",
    activity_source  TEXT COLLATE "C",
    activity_at      TEXT COLLATE "C",
    -- What else is known of the present launch: its witnesses, the newest signal, how long it has been watched.
    life             TEXT NOT NULL,
    agent_session_id TEXT COLLATE "C",
    kill_asked_at    TEXT COLLATE "C",
    -- The saga that has it in hand, and the propagation that does it; one at a time.
    saga             TEXT COLLATE "C",
    saga_row         BIGINT,
    -- Signals that were refused, and those that its hooks could not leave anywhere.
    rejected         BIGINT NOT NULL,
    lost             BIGINT NOT NULL,
    created_at       TEXT COLLATE "C" NOT NULL,
    ended_at         TEXT COLLATE "C",
    UNIQUE (project, number)
);
CREATE INDEX sessions_alive ON sessions (host, id) WHERE alive_since IS NOT NULL;
CREATE INDEX sessions_queued ON sessions (wanted_at, id) WHERE wanted IS NOT NULL AND admitted_at IS NULL;
CREATE INDEX sessions_admitted ON sessions (project) WHERE admitted_at IS NOT NULL;
CREATE INDEX sessions_in_hand ON sessions (host) WHERE saga IS NOT NULL;
CREATE INDEX sessions_with_workspace ON sessions (host, id) WHERE workspace IS NOT NULL;

-- Each start of a session's agent. `handle` names what the runtime made, `token` is the id of the agent's token.
CREATE TABLE launches (
    session      TEXT COLLATE "C" NOT NULL,
    number       BIGINT NOT NULL,
    purpose      TEXT COLLATE "C" NOT NULL,
    begun_at     TEXT COLLATE "C" NOT NULL,
    handle       TEXT,
    token        TEXT COLLATE "C",
    conversation TEXT COLLATE "C",
    alive_at     TEXT COLLATE "C",
    ended_at     TEXT COLLATE "C",
    exit_status  BIGINT,
    exit_signal  BIGINT,
    outcome      TEXT COLLATE "C",
    PRIMARY KEY (session, number)
);

-- The steps that the sagas of a session have done.
CREATE TABLE saga_steps (
    session TEXT COLLATE "C" NOT NULL,
    launch  BIGINT NOT NULL,
    saga    TEXT COLLATE "C" NOT NULL,
    step    TEXT COLLATE "C" NOT NULL,
    detail  TEXT NOT NULL,
    at      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (session, launch, saga, step)
);

-- Quarantines, numbered by session; one is open at a time. `tally` is what the decider counts by.
CREATE TABLE episodes (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session      TEXT COLLATE "C" NOT NULL,
    project      TEXT COLLATE "C" NOT NULL,
    number       BIGINT NOT NULL,
    launch       BIGINT NOT NULL,
    cause        TEXT COLLATE "C" NOT NULL,
    started_at   TEXT COLLATE "C" NOT NULL,
    escalated_at TEXT COLLATE "C",
    closed_at    TEXT COLLATE "C",
    outcome      TEXT COLLATE "C" NOT NULL,
    tally        TEXT NOT NULL,
    UNIQUE (session, number)
);
CREATE UNIQUE INDEX episodes_open ON episodes (session) WHERE closed_at IS NULL;

-- What agents said, also what was refused and why.
CREATE TABLE signals (
    session TEXT COLLATE "C" NOT NULL,
    launch  BIGINT NOT NULL,
    seq     BIGINT NOT NULL,
    kind    TEXT COLLATE "C",
    event   TEXT COLLATE "C",
    detail  TEXT COLLATE "C" NOT NULL,
    source  TEXT COLLATE "C" NOT NULL,
    taken   TEXT COLLATE "C" NOT NULL,
    at      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (session, launch, seq)
);

-- What is said to agents, in order per session: their first prompt too, and what a resumed one is told.
CREATE TABLE messages (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session    TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    state_at   TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C",
    -- The launch it was given to, and where the recorded output stood just before.
    launch     BIGINT NOT NULL,
    offset_at  BIGINT NOT NULL,
    presses    BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at TEXT COLLATE "C" NOT NULL,
    text       TEXT NOT NULL
);
CREATE INDEX messages_by_session ON messages (session, id);

-- Work that was captured before its worktree was removed.
CREATE TABLE kept_work (
    ref         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    session     TEXT COLLATE "C" NOT NULL,
    project     TEXT COLLATE "C" NOT NULL,
    repository  TEXT COLLATE "C" NOT NULL,
    branch      TEXT COLLATE "C",
    commit_id   TEXT COLLATE "C" NOT NULL,
    head        TEXT COLLATE "C" NOT NULL,
    files       BIGINT NOT NULL,
    bytes       BIGINT NOT NULL,
    kept_at     TEXT COLLATE "C" NOT NULL,
    restored_at TEXT COLLATE "C"
);
CREATE INDEX kept_work_by_session ON kept_work (session, kept_at);

-- Outages of what many sessions share: one row each, however many sessions there were.
CREATE TABLE incidents (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host       TEXT COLLATE "C" NOT NULL,
    runtime    TEXT COLLATE "C" NOT NULL,
    cause      TEXT COLLATE "C" NOT NULL,
    detail     TEXT COLLATE "C" NOT NULL,
    sessions   BIGINT NOT NULL,
    started_at TEXT COLLATE "C" NOT NULL,
    ended_at   TEXT COLLATE "C"
);
CREATE UNIQUE INDEX incidents_open ON incidents (host, runtime, cause) WHERE ended_at IS NULL;

-- The hosts that run sessions, and the boot each was last seen in.
CREATE TABLE hosts (
    host        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    boot        TEXT COLLATE "C" NOT NULL,
    seen_at     TEXT COLLATE "C" NOT NULL,
    rebooted_at TEXT COLLATE "C"
);

-- The last number that was given to a pull of a project by a forge that has no numbers of its own.
CREATE TABLE pull_numbers (
    project TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    last    BIGINT NOT NULL
);

-- Pull requests, of any forge, as they were last observed. Each belongs to one session.
CREATE TABLE pulls (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project      TEXT COLLATE "C" NOT NULL,
    number       BIGINT NOT NULL,
    forge        TEXT COLLATE "C" NOT NULL,
    session      TEXT COLLATE "C" NOT NULL,
    branch       TEXT COLLATE "C" NOT NULL,
    base         TEXT COLLATE "C" NOT NULL,
    title        TEXT NOT NULL,
    url          TEXT,
    state        TEXT COLLATE "C" NOT NULL,
    stage        TEXT COLLATE "C" NOT NULL,
    head         TEXT COLLATE "C" NOT NULL,
    base_commit  TEXT COLLATE "C" NOT NULL,
    review       TEXT COLLATE "C" NOT NULL,
    -- Whether it can be merged into its base, and the paths that are in the way.
    fit          TEXT COLLATE "C" NOT NULL,
    conflicts    TEXT NOT NULL,
    -- The names of the checks that its head is to pass: a JSON list, or null while nobody knows.
    expected     TEXT NOT NULL,
    merge_commit TEXT COLLATE "C",
    -- The forge's own version of this row, where it has one: an older one changes nothing.
    version      TEXT COLLATE "C" NOT NULL,
    opened_by    TEXT COLLATE "C" NOT NULL,
    opened_at    TEXT COLLATE "C" NOT NULL,
    merged_at    TEXT COLLATE "C",
    closed_at    TEXT COLLATE "C",
    -- Why it was closed.
    reason       TEXT,
    -- What a person, or the project's policy, wants of it: a merge that is under way, or why one was refused.
    wanted       TEXT COLLATE "C",
    wanted_by    TEXT COLLATE "C",
    refused      TEXT,
    UNIQUE (project, number)
);
CREATE INDEX pulls_by_session ON pulls (session, number);
CREATE INDEX pulls_open ON pulls (forge, id) WHERE state = 'open';

-- The checks of pulls: one row for each pull, name and commit. What they said before is the budget of reactions.
CREATE TABLE checks (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pull        TEXT COLLATE "C" NOT NULL,
    project     TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    commit_id   TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    -- The base that it was run against, and how often it was run.
    base_commit TEXT COLLATE "C" NOT NULL,
    runs        BIGINT NOT NULL,
    step        TEXT NOT NULL,
    exit_status BIGINT,
    tail        TEXT NOT NULL,
    -- What of the tail tells one failure from another.
    digest      TEXT COLLATE "C" NOT NULL,
    url         TEXT,
    started_at  TEXT COLLATE "C",
    finished_at TEXT COLLATE "C",
    UNIQUE (pull, name, commit_id)
);
CREATE INDEX checks_by_commit ON checks (pull, commit_id);

-- What people said to pulls; comments of one conversation share a thread.
CREATE TABLE comments (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pull     TEXT COLLATE "C" NOT NULL,
    project  TEXT COLLATE "C" NOT NULL,
    external TEXT COLLATE "C" NOT NULL,
    thread   TEXT COLLATE "C" NOT NULL,
    kind     TEXT COLLATE "C" NOT NULL,
    author   TEXT COLLATE "C" NOT NULL,
    path     TEXT,
    line     BIGINT,
    commit_id TEXT COLLATE "C" NOT NULL,
    body     TEXT NOT NULL,
    state    TEXT COLLATE "C" NOT NULL,
    at       TEXT COLLATE "C" NOT NULL,
    UNIQUE (pull, external)
);

-- What reactions owed, and what became of it: one row for each session, reaction and signature, never removed.
CREATE TABLE nudges (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session    TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    reaction   TEXT COLLATE "C" NOT NULL,
    signature  TEXT COLLATE "C" NOT NULL,
    pull       TEXT COLLATE "C",
    -- What its cap counts by: the pull, or the pull and the name of a check; and the things that it is about.
    budget     TEXT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    reason     TEXT,
    rounds     BIGINT NOT NULL,
    message    BIGINT,
    owed_at    TEXT COLLATE "C" NOT NULL,
    settled_at TEXT COLLATE "C",
    UNIQUE (session, reaction, signature)
);
CREATE INDEX nudges_by_message ON nudges (message) WHERE message IS NOT NULL;
