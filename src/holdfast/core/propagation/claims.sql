-- The runner's side of the queue: what is due, whose it is now, and what became of it.

-- The earliest time of rows that never failed to come to an outcome, and of those that did.
-- name: due [sqlite]
SELECT k.value AS kind,
    (SELECT min(next_attempt_at) FROM propagations
     WHERE kind = k.value AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts = 0) AS fresh,
    (SELECT min(next_attempt_at) FROM propagations
     WHERE kind = k.value AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts > 0) AS suspect
FROM json_each(:kinds) k
-- name: due [postgres]
SELECT k.value AS kind,
    (SELECT min(next_attempt_at) FROM propagations
     WHERE kind = k.value AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts = 0) AS fresh,
    (SELECT min(next_attempt_at) FROM propagations
     WHERE kind = k.value AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts > 0) AS suspect
FROM json_array_elements_text(CAST(:kinds AS json)) AS k (value)

-- SQLite has one writer: it looks, then takes by id, in one unit, which is a third of what a join costs it.
-- name: claim [sqlite]
SELECT id, key, lane, payload, effect, progress, attempts, starts + 1 AS starts
FROM propagations
WHERE kind = :kind AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts = 0 AND next_attempt_at <= :now
ORDER BY next_attempt_at, id LIMIT :limit
-- name: claim [postgres]
WITH due AS MATERIALIZED (
    SELECT id FROM propagations
    WHERE kind = :kind AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts = 0
      AND next_attempt_at <= :now
    ORDER BY next_attempt_at, id LIMIT :limit
    FOR UPDATE SKIP LOCKED)
, taken AS (
    UPDATE propagations p SET claim = :claim, lease_until = :until, starts = 1, resumed_at = NULL
    FROM due WHERE p.id = due.id
    RETURNING p.id, p.key, p.lane, p.payload, p.effect, p.progress, p.attempts, p.starts, p.next_attempt_at)
SELECT id, key, lane, payload, effect, progress, attempts, starts FROM taken ORDER BY next_attempt_at, id

-- name: claim_suspect [sqlite]
SELECT id, key, lane, payload, effect, progress, attempts, starts + 1 AS starts
FROM propagations
WHERE kind = :kind AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts > 0 AND next_attempt_at <= :now
ORDER BY next_attempt_at, id LIMIT 1
-- name: claim_suspect [postgres]
WITH due AS MATERIALIZED (
    SELECT id FROM propagations
    WHERE kind = :kind AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts > 0
      AND next_attempt_at <= :now
    ORDER BY next_attempt_at, id LIMIT 1
    FOR UPDATE SKIP LOCKED)
UPDATE propagations p SET claim = :claim, lease_until = :until, starts = p.starts + 1, resumed_at = NULL
FROM due WHERE p.id = due.id
RETURNING p.id, p.key, p.lane, p.payload, p.effect, p.progress, p.attempts, p.starts

-- name: take [sqlite]
UPDATE propagations SET claim = :claim, lease_until = :until, starts = starts + 1, resumed_at = NULL
WHERE id IN (SELECT value FROM json_each(:ids))
-- name: take [postgres]
SELECT CAST(:claim AS text) AS claim, CAST(:until AS text) AS until, CAST(:ids AS text) AS ids

-- What is done goes to the ledger, as far as it is still ours: `rows` is a JSON object, from id to claim. Rows are found
-- by their ids alone: the claim is shared by rows claimed together, and a join on it would look at each of them for each.
-- name: enter_done [sqlite]
INSERT INTO propagation_ledger
    (id, kind, key, lane, payload, effect, state, reason, error, progress, attempts, starts, created_at, finished_at)
SELECT p.id, p.kind, p.key, p.lane, p.payload, p.effect, 'done', NULL, p.error, p.progress, p.attempts, p.starts - 1,
       p.created_at, :now
FROM json_each(:rows) j CROSS JOIN propagations p ON p.id = CAST(j.key AS INTEGER) AND p.claim = j.value
RETURNING id
-- name: enter_done [postgres]
WITH given AS MATERIALIZED (SELECT CAST(:rows AS jsonb) AS claims), gone AS (
    DELETE FROM propagations p USING given
    WHERE p.id = ANY (ARRAY(SELECT CAST(jsonb_object_keys(claims) AS bigint) FROM given))
      AND p.claim = given.claims ->> CAST(p.id AS text)
    RETURNING p.*)
INSERT INTO propagation_ledger
    (id, kind, key, lane, payload, effect, state, reason, error, progress, attempts, starts, created_at, finished_at)
SELECT id, kind, key, lane, payload, effect, 'done', NULL, error, progress, attempts, starts - 1, created_at, :now
FROM gone
RETURNING id

-- PostgreSQL has removed them with that already.
-- name: remove_done [sqlite]
DELETE FROM propagations WHERE id IN (SELECT value FROM json_each(:ids))
-- name: remove_done [postgres]
SELECT CAST(:ids AS text) AS ids

-- The row, if the lease is still ours; PostgreSQL keeps it so until the commit.
-- name: held [sqlite]
SELECT * FROM propagations WHERE id = :id AND claim = :claim
-- name: held [postgres]
SELECT * FROM propagations WHERE id = :id AND claim = :claim FOR UPDATE

-- name: put_back
UPDATE propagations
SET state = :state, reason = :reason, error = coalesce(:error, error), attempts = :attempts, starts = :starts,
    next_attempt_at = coalesce(:next_attempt_at, next_attempt_at), not_before = NULL,
    claim = NULL, lease_until = NULL, decided_at = :now
WHERE id = :id

-- name: progress
UPDATE propagations SET progress = :progress WHERE id = :id

-- Leases that go on; `rows` is a JSON object, from id to claim.
-- name: beat [sqlite]
UPDATE propagations SET lease_until = :until
WHERE (id, claim) IN (SELECT CAST(key AS INTEGER), value FROM json_each(:rows))
RETURNING id
-- name: beat [postgres]
WITH given AS MATERIALIZED (SELECT CAST(:rows AS jsonb) AS claims)
UPDATE propagations p SET lease_until = :until FROM given
WHERE p.id = ANY (ARRAY(SELECT CAST(jsonb_object_keys(claims) AS bigint) FROM given))
  AND p.claim = given.claims ->> CAST(p.id AS text)
RETURNING p.id

-- name: effects_held_at
SELECT value FROM store_meta WHERE name = 'effects_held_at'
