-- The core's tables as first released. Never changed again: later changes are migrations of their own.
-- Instants are text, `2026-11-21T07:06:45.123456Z`; JSON is text; text that is compared or ordered sorts by bytes.

-- What the store says of itself: uuid, created_at, effects_held_at (absent: not held), backup_of (in backups only).
CREATE TABLE store_meta (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE migrations (
    name       TEXT COLLATE "C" PRIMARY KEY,
    checksum   TEXT COLLATE "C" NOT NULL,
    applied_at TEXT COLLATE "C" NOT NULL
);

-- Every change of every watched row, in order; written by triggers only.
CREATE TABLE change_log (
    seq       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope     TEXT COLLATE "C" NOT NULL,
    entity    TEXT COLLATE "C" NOT NULL,
    entity_id TEXT COLLATE "C" NOT NULL,
    event     TEXT COLLATE "C" NOT NULL,
    payload   TEXT NOT NULL,
    actor     TEXT COLLATE "C" NOT NULL,
    cause     TEXT COLLATE "C" NOT NULL,
    at        TEXT COLLATE "C" NOT NULL
);
CREATE INDEX change_log_by_scope ON change_log (scope, seq);
CREATE FUNCTION change_log_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'change_log is immutable: a row of it cannot be changed' USING ERRCODE = 'P0001';
END
$$;
CREATE TRIGGER change_log_is_immutable BEFORE UPDATE ON change_log
    FOR EACH ROW EXECUTE FUNCTION change_log_is_immutable();

-- How far our own durable consumers have read; retention keeps what a live one still needs.
CREATE TABLE change_cursors (
    name       TEXT COLLATE "C" PRIMARY KEY,
    seq        BIGINT NOT NULL,
    updated_at TEXT COLLATE "C" NOT NULL
);

CREATE TABLE tokens (
    id         TEXT COLLATE "C" PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    hash       TEXT COLLATE "C" NOT NULL UNIQUE,
    scope      TEXT COLLATE "C" NOT NULL,
    created_at TEXT COLLATE "C" NOT NULL,
    revoked_at TEXT COLLATE "C"
);

CREATE TABLE audit (
    id      TEXT COLLATE "C" PRIMARY KEY,
    kind    TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    detail  TEXT NOT NULL,
    at      TEXT COLLATE "C" NOT NULL
);

-- Replies already given, so that a write repeated under its Idempotency-Key is answered, not done again.
CREATE TABLE idempotency (
    key          TEXT COLLATE "C" NOT NULL,
    token_id     TEXT COLLATE "C" NOT NULL,
    request_hash TEXT COLLATE "C" NOT NULL,
    status       INTEGER NOT NULL,
    body         TEXT NOT NULL,
    at           TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (token_id, key)
);
CREATE INDEX idempotency_by_age ON idempotency (at);
