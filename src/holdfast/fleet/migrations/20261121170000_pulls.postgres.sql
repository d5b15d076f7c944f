-- Pull requests with their checks and comments, what reactions owed, and what a project wants of them.
ALTER TABLE projects ADD COLUMN checks_how TEXT COLLATE "C" NOT NULL DEFAULT 'in_order';
ALTER TABLE projects ADD COLUMN merge_by TEXT COLLATE "C" NOT NULL DEFAULT 'person';
ALTER TABLE projects ADD COLUMN merge_how TEXT COLLATE "C" NOT NULL DEFAULT 'merge';
ALTER TABLE projects ADD COLUMN reactions TEXT NOT NULL DEFAULT '{}';

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
