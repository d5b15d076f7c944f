-- The fleet's tables in a fresh store. Triggers that write the change log are generated, not written here.

-- Registered repositories. `checks` is a JSON list of commands.
CREATE TABLE projects (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    path         TEXT COLLATE "C" NOT NULL UNIQUE,
    agent        TEXT COLLATE "C",
    forge        TEXT COLLATE "C" NOT NULL,
    checks       TEXT NOT NULL,
    max_sessions BIGINT NOT NULL,
    created_at   TEXT COLLATE "C" NOT NULL
);
