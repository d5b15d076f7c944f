-- Notices.
-- A notice stays until what it tells of is over, or somebody has acknowledged it. Its key is that of the occasion:
-- told once.
CREATE TABLE notices (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL,
    subject      TEXT NOT NULL,
    key          TEXT NOT NULL UNIQUE,
    text         TEXT NOT NULL,
    scope        TEXT NOT NULL,
    raised_at    TEXT NOT NULL,
    -- Raised, or opened again: what it tells of has been so since then.
    opened_at    TEXT NOT NULL,
    -- When the channels that take it were given it, or were not, and why not.
    told_at      TEXT,
    untold       TEXT,
    -- When it was given to them once more, because nobody had acknowledged it.
    escalated_at TEXT,
    acked_at     TEXT,
    acked_by     TEXT,
    resolved_at  TEXT
) STRICT;
CREATE INDEX notices_open ON notices (id) WHERE resolved_at IS NULL AND acked_at IS NULL;
CREATE INDEX notices_told ON notices (kind, subject, told_at);
