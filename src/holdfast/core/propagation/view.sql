-- What people see: pages over the queue and the ledger, newest first, and how deep the queue is.

-- name: queue_page
SELECT id, kind, key, CASE WHEN claim IS NULL THEN state ELSE 'leased' END AS state, reason, error, attempts,
       starts, next_attempt_at, lease_until, created_at, NULL AS finished_at
FROM propagations
WHERE id < :before AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
ORDER BY id DESC LIMIT :limit

-- Pending or waiting.
-- name: unclaimed_page
SELECT id, kind, key, state, reason, error, attempts,
       starts, next_attempt_at, lease_until, created_at, NULL AS finished_at
FROM propagations
WHERE state = :state AND claim IS NULL AND id < :before AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
ORDER BY id DESC LIMIT :limit

-- name: leased_page
SELECT id, kind, key, 'leased' AS state, reason, error, attempts,
       starts, next_attempt_at, lease_until, created_at, NULL AS finished_at
FROM propagations
WHERE claim IS NOT NULL AND id < :before AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
ORDER BY id DESC LIMIT :limit

-- name: dead_page
SELECT id, kind, key, state, reason, error, attempts,
       starts, NULL AS next_attempt_at, NULL AS lease_until, created_at, NULL AS finished_at
FROM propagations
WHERE state = 'dead' AND id < :before AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
ORDER BY id DESC LIMIT :limit

-- name: ledger_page
SELECT id, kind, key, state, reason, error, attempts,
       starts, NULL AS next_attempt_at, NULL AS lease_until, created_at, finished_at
FROM propagation_ledger
WHERE id < :before AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
  AND (CAST(:state AS TEXT) IS NULL OR state = :state)
ORDER BY id DESC LIMIT :limit

-- name: in_queue
SELECT id, kind, key, lane, behind, CASE WHEN claim IS NULL THEN state ELSE 'leased' END AS state, reason, error,
       attempts, starts, next_attempt_at, not_before, decided_at, claim, lease_until, created_at,
       NULL AS finished_at, effect, progress, payload
FROM propagations WHERE id = :id

-- name: in_ledger
SELECT id, kind, key, lane, NULL AS behind, state, reason, error,
       attempts, starts, NULL AS next_attempt_at, NULL AS not_before, NULL AS decided_at, NULL AS claim,
       NULL AS lease_until, created_at, finished_at, effect, progress, payload
FROM propagation_ledger WHERE id = :id

-- name: depths
SELECT kind, CASE WHEN claim IS NULL THEN state ELSE 'leased' END AS state, count(*) AS depth
FROM propagations GROUP BY 1, 2
