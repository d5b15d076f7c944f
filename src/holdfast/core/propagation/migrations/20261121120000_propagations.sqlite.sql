-- Effects that are owed to the world, and those that are done with.
-- Instants are text, `2026-11-21T07:06:45.123456Z`; JSON is text.

-- The hot table: what is owed, and what is dead until somebody redrives or cancels it. A row that is done or cancelled
-- moves to the ledger. Leased is whoever has a `claim`; it is no state of its own, because leasing changes nothing
-- that is owed.
CREATE TABLE propagations (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    kind            TEXT NOT NULL,
    key             TEXT,
    -- The key again where the kind says: one at a time while pending.
    pending_key     TEXT,
    -- Rows of one kind and lane are done one after the other, in the order of their ids.
    lane            TEXT,
    -- The row in front of it in its lane, when it was enqueued; null once its turn has come.
    behind          INTEGER,
    payload         TEXT NOT NULL,
    -- What an outside service is given, so that it does the same effect once; never reused, also not by a restored store.
    effect          TEXT NOT NULL,
    state           TEXT NOT NULL,
    reason          TEXT,
    error           TEXT,
    progress        TEXT,
    -- Failures so far, and starts that came to no outcome.
    attempts        INTEGER NOT NULL,
    starts          INTEGER NOT NULL,
    -- Looks at it, when it was due, by processes of which none knew its kind.
    strange         INTEGER NOT NULL,
    next_attempt_at TEXT NOT NULL,
    -- The time that was asked for, if one was: it is not moved when the clock is put back.
    not_before      TEXT,
    claim           TEXT,
    lease_until     TEXT,
    -- Set when, during a try, what it may wait for has come.
    resumed_at      TEXT,
    created_at      TEXT NOT NULL,
    -- When next_attempt_at was decided.
    decided_at      TEXT NOT NULL
) STRICT;
CREATE INDEX propagations_due ON propagations (kind, next_attempt_at, id)
    WHERE claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts = 0;
-- Rows that were started and came to no outcome: one of them may be what killed the process, so they start one by one.
CREATE INDEX propagations_suspect ON propagations (kind, next_attempt_at, id)
    WHERE claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts > 0;
CREATE INDEX propagations_strange ON propagations (kind) WHERE reason = 'unknown_kind';
CREATE INDEX propagations_by_key ON propagations (kind, key) WHERE key IS NOT NULL;
CREATE INDEX propagations_by_lane ON propagations (kind, lane, id) WHERE lane IS NOT NULL;
-- The engine itself refuses a second one: pending under one key, or having the turn in one lane.
CREATE UNIQUE INDEX propagations_one_pending ON propagations (kind, pending_key)
    WHERE pending_key IS NOT NULL AND claim IS NULL AND state <> 'dead';
CREATE UNIQUE INDEX propagations_one_turn ON propagations (kind, lane)
    WHERE lane IS NOT NULL AND behind IS NULL AND state <> 'dead';

-- What is done or cancelled; pruned by age and count.
CREATE TABLE propagation_ledger (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL,
    key         TEXT,
    lane        TEXT,
    payload     TEXT NOT NULL,
    effect      TEXT NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT,
    error       TEXT,
    progress    TEXT,
    attempts    INTEGER NOT NULL,
    starts      INTEGER NOT NULL,
    created_at  TEXT NOT NULL,
    finished_at TEXT NOT NULL
) STRICT;

-- Keys that are unique for ever. Nothing prunes them.
CREATE TABLE propagation_keys (
    kind           TEXT NOT NULL,
    key            TEXT NOT NULL,
    propagation_id INTEGER NOT NULL,
    at             TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- The processes that do propagations, with the kinds they know; `beat` moves while they live.
CREATE TABLE propagation_workers (
    owner TEXT NOT NULL PRIMARY KEY,
    kinds TEXT NOT NULL,
    beat  INTEGER NOT NULL,
    at    TEXT NOT NULL
) STRICT;

-- Recurring work: the newest windows that were enqueued, as a JSON list of their numbers.
CREATE TABLE recurring (
    name    TEXT NOT NULL PRIMARY KEY,
    windows TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;
