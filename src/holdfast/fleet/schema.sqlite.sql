-- The fleet's tables in a fresh store. Triggers that write the change log are generated, not written here.

-- Registered repositories. `checks` is a JSON list of commands.
CREATE TABLE projects (
    id           TEXT NOT NULL PRIMARY KEY,
    path         TEXT NOT NULL UNIQUE,
    agent        TEXT,
    forge        TEXT NOT NULL,
    checks       TEXT NOT NULL,
    max_sessions INTEGER NOT NULL,
    created_at   TEXT NOT NULL
) STRICT;
