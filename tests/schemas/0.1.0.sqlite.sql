-- The core's tables in a fresh store. Triggers that write the change log are generated, not written here.
-- Instants are text, `2026-11-21T07:06:45.123456Z`; JSON is text.

-- What the store says of itself: uuid, created_at, effects_held_at (absent: not held), backup_of (in backups only).
CREATE TABLE store_meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- One row: who acts in the unit of work in progress, and how many units have written.
CREATE TABLE unit (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    actor    TEXT,
    cause    TEXT,
    at       TEXT,
    position INTEGER NOT NULL
) STRICT;
INSERT INTO unit (id, position) VALUES (1, 0);

CREATE TABLE migrations (
    name       TEXT NOT NULL PRIMARY KEY,
    checksum   TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT;

-- Every change of every watched row, in order; written by triggers only.
CREATE TABLE change_log (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    scope     TEXT NOT NULL,
    entity    TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    event     TEXT NOT NULL,
    payload   TEXT NOT NULL,
    actor     TEXT NOT NULL,
    cause     TEXT NOT NULL,
    at        TEXT NOT NULL
) STRICT;
CREATE INDEX change_log_by_scope ON change_log (scope, seq);
CREATE TRIGGER change_log_is_immutable BEFORE UPDATE ON change_log
BEGIN
    SELECT RAISE(ABORT, 'change_log is immutable: a row of it cannot be changed');
END;

-- How far our own durable consumers have read; retention keeps what a live one still needs.
CREATE TABLE change_cursors (
    name       TEXT NOT NULL PRIMARY KEY,
    seq        INTEGER NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE tokens (
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       TEXT NOT NULL UNIQUE,
    scope      TEXT NOT NULL,
    created_at TEXT NOT NULL,
    revoked_at TEXT
) STRICT;

CREATE TABLE audit (
    id      TEXT NOT NULL PRIMARY KEY,
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;

-- Replies already given, so that a write repeated under its Idempotency-Key is answered, not done again.
CREATE TABLE idempotency (
    key          TEXT NOT NULL,
    token_id     TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status       INTEGER NOT NULL,
    body         TEXT NOT NULL,
    at           TEXT NOT NULL,
    PRIMARY KEY (token_id, key)
) STRICT;
CREATE INDEX idempotency_by_age ON idempotency (at);
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
