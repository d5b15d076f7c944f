-- What people are told of. Triggers that write the change log are generated, not written here.
-- Instants are text, `2026-11-21T07:06:45.123456Z`.

-- A notice stays until what it tells of is over. Its key is that of the occasion: told once.
CREATE TABLE notices (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        TEXT NOT NULL,
    subject     TEXT NOT NULL,
    key         TEXT NOT NULL UNIQUE,
    text        TEXT NOT NULL,
    scope       TEXT NOT NULL,
    raised_at   TEXT NOT NULL,
    resolved_at TEXT
) STRICT;
CREATE INDEX notices_open ON notices (id) WHERE resolved_at IS NULL;
