-- The fleet's tables as first released. Never changed again: later changes are migrations of their own.

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
