-- What people are told of. Triggers that write the change log are generated, not written here.
-- Instants are text, `2026-11-21T07:06:45.123456Z`.

-- A notice stays until what it tells of is over. Its key is that of the occasion: told once.
CREATE TABLE notices (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        TEXT COLLATE "C" NOT NULL,
    subject     TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL UNIQUE,
    text        TEXT NOT NULL,
    scope       TEXT COLLATE "C" NOT NULL,
    raised_at   TEXT COLLATE "C" NOT NULL,
    resolved_at TEXT COLLATE "C"
);
CREATE INDEX notices_open ON notices (id) WHERE resolved_at IS NULL;
