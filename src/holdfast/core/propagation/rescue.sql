-- Leases whose holders are gone, processes and the kinds they know, and rows that nobody here can judge.

-- name: claimed
SELECT id, kind, claim, lease_until, starts FROM propagations WHERE claim IS NOT NULL

-- The whole queue, so many rows at a time.
-- name: stretch
SELECT id, kind, claim, lease_until, starts, state, not_before, decided_at, next_attempt_at
FROM propagations WHERE id > :after ORDER BY id LIMIT :limit

-- A claim as it was seen; PostgreSQL keeps the row where it is until the commit. `seen` is a JSON object, from id to claim
-- and lease_until: a lease that has moved since is none of them any more.
-- name: still [sqlite]
SELECT p.* FROM json_each(:seen) j CROSS JOIN propagations p
    ON p.id = CAST(j.key AS INTEGER) AND p.claim = j.value ->> 0 AND p.lease_until = j.value ->> 1
-- name: still [postgres]
WITH given AS MATERIALIZED (SELECT CAST(:seen AS jsonb) AS leases)
SELECT p.* FROM propagations p, given
WHERE p.id = ANY (ARRAY(SELECT CAST(jsonb_object_keys(leases) AS bigint) FROM given))
  AND p.claim = given.leases -> CAST(p.id AS text) ->> 0 AND p.lease_until = given.leases -> CAST(p.id AS text) ->> 1
FOR UPDATE OF p

-- name: enter_worker
INSERT INTO propagation_workers (owner, kinds, beat, at) VALUES (:owner, :kinds, 0, :at)
ON CONFLICT (owner) DO UPDATE SET beat = propagation_workers.beat + 1, at = excluded.at

-- name: leave_worker
DELETE FROM propagation_workers WHERE owner = :owner

-- name: leave_all_workers
DELETE FROM propagation_workers

-- name: workers
SELECT owner, kinds, beat, at FROM propagation_workers ORDER BY owner

-- Every kind that has a row to do, one step of the index for each.
-- name: kinds_owed
WITH RECURSIVE fresh (kind) AS (
    SELECT (SELECT min(kind) FROM propagations
            WHERE claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts = 0)
    UNION ALL
    SELECT (SELECT min(p.kind) FROM propagations p
            WHERE p.claim IS NULL AND p.behind IS NULL AND p.state <> 'dead' AND p.starts = 0 AND p.kind > fresh.kind)
    FROM fresh WHERE fresh.kind IS NOT NULL
), suspect (kind) AS (
    SELECT (SELECT min(kind) FROM propagations
            WHERE claim IS NULL AND behind IS NULL AND state <> 'dead' AND starts > 0)
    UNION ALL
    SELECT (SELECT min(p.kind) FROM propagations p
            WHERE p.claim IS NULL AND p.behind IS NULL AND p.state <> 'dead' AND p.starts > 0 AND p.kind > suspect.kind)
    FROM suspect WHERE suspect.kind IS NOT NULL
)
SELECT kind FROM fresh WHERE kind IS NOT NULL UNION SELECT kind FROM suspect WHERE kind IS NOT NULL

-- name: due_of_unknown [sqlite]
SELECT * FROM propagations
WHERE kind = :kind AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND next_attempt_at <= :now
ORDER BY id LIMIT :limit
-- name: due_of_unknown [postgres]
SELECT * FROM propagations
WHERE kind = :kind AND claim IS NULL AND behind IS NULL AND state <> 'dead' AND next_attempt_at <= :now
ORDER BY id LIMIT :limit
FOR UPDATE SKIP LOCKED

-- name: count_strange
UPDATE propagations SET strange = strange + 1 WHERE id = :id

-- Rows that were put off because nobody knew their kind, when somebody does.
-- name: known_again
UPDATE propagations SET strange = 0, reason = NULL, next_attempt_at = :now, decided_at = :now
WHERE id IN (
    SELECT id FROM propagations
    WHERE kind = :kind AND reason = 'unknown_kind' AND state = 'pending' AND claim IS NULL LIMIT :limit)

-- A row put off by a clock that has been put back since, unless somebody has decided anew meanwhile.
-- name: put_off
UPDATE propagations SET next_attempt_at = :next_attempt_at, decided_at = :now
WHERE id = :id AND decided_at = :decided_at AND claim IS NULL
