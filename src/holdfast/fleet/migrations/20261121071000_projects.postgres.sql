-- The fleet's tables as first released. Never changed again: later changes are migrations of their own.

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
