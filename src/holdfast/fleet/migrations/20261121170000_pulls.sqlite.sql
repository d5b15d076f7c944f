-- Pull requests with their checks and comments, what reactions owed, and what a project wants of them.
ALTER TABLE projects ADD COLUMN checks_how TEXT NOT NULL DEFAULT 'in_order';
ALTER TABLE projects ADD COLUMN merge_by TEXT NOT NULL DEFAULT 'person';
ALTER TABLE projects ADD COLUMN merge_how TEXT NOT NULL DEFAULT 'merge';
ALTER TABLE projects ADD COLUMN reactions TEXT NOT NULL DEFAULT '{}';

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
