-- Notices.
-- A notice stays until what it tells of is over, or somebody has acknowledged it. Its key is that of the occasion:
-- told once.
CREATE TABLE notices (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    key          TEXT COLLATE "C" NOT NULL UNIQUE,
    text         TEXT NOT NULL,
    scope        TEXT COLLATE "C" NOT NULL,
    raised_at    TEXT COLLATE "C" NOT NULL,
    -- Raised, or opened again: what it tells of has been so since then.
    opened_at    TEXT COLLATE "C" NOT NULL,
    -- When the channels that take it were given it, or were not, and why not.
    told_at      TEXT COLLATE "C",
    untold       TEXT COLLATE "C",
    -- When it was given to them once more, because nobody had acknowledged it.
    escalated_at TEXT COLLATE "C",
    acked_at     TEXT COLLATE "C",
    acked_by     TEXT COLLATE "C",
    resolved_at  TEXT COLLATE "C"
);
CREATE INDEX notices_open ON notices (id) WHERE resolved_at IS NULL AND acked_at IS NULL;
CREATE INDEX notices_told ON notices (kind, subject, told_at);
