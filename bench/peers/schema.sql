-- The floor's database: the same `things`, `change_log` and `unit` tables as ours, and nothing else of ours.
CREATE TABLE things (
    id    TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    size  INTEGER NOT NULL,
    note  TEXT,
    body  TEXT NOT NULL
) STRICT;

CREATE TABLE unit (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    actor    TEXT,
    cause    TEXT,
    at       TEXT,
    position INTEGER NOT NULL
) STRICT;

-- Filled once, not for each unit of work: the floor keeps no record of who acts.
INSERT INTO unit (id, actor, cause, at, position)
VALUES (1, 'token:bench', 'request:bench', '2026-11-21T07:06:45.123456Z', 0);

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
