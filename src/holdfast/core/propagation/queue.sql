-- What is owed: how rows come into the queue and how those who put them there take them back.

-- name: add
INSERT INTO propagations
    (kind, key, pending_key, lane, behind, payload, effect, state, attempts, starts, strange, next_attempt_at,
     not_before, created_at, decided_at)
VALUES
    (:kind, :key, :pending_key, :lane, :behind, :payload, :effect, 'pending', 0, 0, 0, :due,
     :not_before, :now, :now)
ON CONFLICT DO NOTHING
RETURNING id

-- A row that this unit leans on must not be started meanwhile: PostgreSQL keeps it where it is until the commit.
-- name: pending_of_key [sqlite]
SELECT id FROM propagations
WHERE kind = :kind AND pending_key = :key AND claim IS NULL AND state <> 'dead'
-- name: pending_of_key [postgres]
SELECT id FROM propagations
WHERE kind = :kind AND pending_key = :key AND claim IS NULL AND state <> 'dead'
FOR UPDATE

-- name: last_in_lane [sqlite]
SELECT id FROM propagations
WHERE kind = :kind AND lane = :lane AND (state <> 'dead' OR :dead_blocks = 1)
ORDER BY id DESC LIMIT 1
-- name: last_in_lane [postgres]
SELECT id FROM propagations
WHERE kind = :kind AND lane = :lane AND (state <> 'dead' OR :dead_blocks = 1)
ORDER BY id DESC LIMIT 1
FOR UPDATE

-- name: take_key
INSERT INTO propagation_keys (kind, key, propagation_id, at) VALUES (:kind, :key, 0, :at)
ON CONFLICT (kind, key) DO NOTHING

-- name: note_key
UPDATE propagation_keys SET propagation_id = :id WHERE kind = :kind AND key = :key

-- name: key_taken
SELECT propagation_id AS id FROM propagation_keys WHERE kind = :kind AND key = :key

-- name: unstarted_of_key [sqlite]
SELECT * FROM propagations WHERE kind = :kind AND key = :key AND claim IS NULL ORDER BY id
-- name: unstarted_of_key [postgres]
SELECT * FROM propagations WHERE kind = :kind AND key = :key AND claim IS NULL ORDER BY id FOR UPDATE

-- What waits is looked at now; what is under way, and may be about to wait, is looked at again.
-- name: resume
UPDATE propagations
SET resumed_at = CASE WHEN claim IS NULL THEN resumed_at ELSE :now END,
    next_attempt_at = CASE WHEN claim IS NULL THEN :now ELSE next_attempt_at END,
    decided_at = CASE WHEN claim IS NULL THEN :now ELSE decided_at END
WHERE kind = :kind AND key = :key AND (claim IS NOT NULL OR state = 'waiting')

-- Takes a row to the ledger: first there, then away, so that its leaving is no event of its own.
-- name: enter_in_ledger
INSERT INTO propagation_ledger
    (id, kind, key, lane, payload, effect, state, reason, error, progress, attempts, starts, created_at, finished_at)
SELECT id, kind, key, lane, payload, effect, :state, :reason, :error, progress, :attempts, :starts, created_at, :now
FROM propagations WHERE id = :id

-- name: remove
DELETE FROM propagations WHERE id = :id

-- The next one of a lane has its turn when nobody else has it.
-- name: turn
UPDATE propagations SET behind = NULL
WHERE behind IS NOT NULL AND id = (
    SELECT min(p.id) FROM propagations p
    WHERE p.kind = :kind AND p.lane = :lane AND (p.state <> 'dead' OR :dead_blocks = 1))
  AND NOT EXISTS (
    SELECT 1 FROM propagations h
    WHERE h.kind = :kind AND h.lane = :lane AND h.lane IS NOT NULL AND h.behind IS NULL AND h.state <> 'dead')
