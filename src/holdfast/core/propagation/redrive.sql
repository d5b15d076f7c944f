-- What people do: start the dead afresh, take back what is owed, release what is held after a restore.
-- PostgreSQL keeps every row that is looked at where it is until the commit: the runner's units change rows meanwhile.

-- name: row [sqlite]
SELECT * FROM propagations WHERE id = :id
-- name: row [postgres]
SELECT * FROM propagations WHERE id = :id FOR UPDATE

-- name: over
SELECT id, kind, state, finished_at FROM propagation_ledger WHERE id = :id

-- Another one under the same key that is not dead.
-- name: twin [sqlite]
SELECT id, claim, lease_until FROM propagations
WHERE kind = :kind AND key = :key AND pending_key = :key AND state <> 'dead' AND id <> :id
ORDER BY id LIMIT 1
-- name: twin [postgres]
SELECT id, claim, lease_until FROM propagations
WHERE kind = :kind AND key = :key AND pending_key = :key AND state <> 'dead' AND id <> :id
ORDER BY id LIMIT 1
FOR UPDATE

-- Whoever has its turn in a lane, or a dead row in front where those keep the others waiting.
-- name: in_front [sqlite]
SELECT id FROM propagations
WHERE kind = :kind AND lane = :lane AND id <> :id
  AND ((state <> 'dead' AND behind IS NULL) OR (:dead_blocks = 1 AND state = 'dead' AND id < :id))
ORDER BY id LIMIT 1
-- name: in_front [postgres]
SELECT id FROM propagations
WHERE kind = :kind AND lane = :lane AND id <> :id
  AND ((state <> 'dead' AND behind IS NULL) OR (:dead_blocks = 1 AND state = 'dead' AND id < :id))
ORDER BY id LIMIT 1
FOR UPDATE

-- name: revive
UPDATE propagations
SET state = 'pending', reason = :reason, error = :error, attempts = 0, starts = 0, strange = 0, behind = :behind,
    next_attempt_at = :now, not_before = NULL, decided_at = :now
WHERE id = :id AND state = 'dead'

-- name: dead [sqlite]
SELECT * FROM propagations
WHERE state = 'dead' AND id > :after AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
  AND (CAST(:reason AS TEXT) IS NULL OR reason = :reason) AND (CAST(:before AS TEXT) IS NULL OR decided_at < :before)
ORDER BY id LIMIT :limit
-- name: dead [postgres]
SELECT * FROM propagations
WHERE state = 'dead' AND id > :after AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
  AND (CAST(:reason AS TEXT) IS NULL OR reason = :reason) AND (CAST(:before AS TEXT) IS NULL OR decided_at < :before)
ORDER BY id LIMIT :limit
FOR UPDATE

-- name: release
DELETE FROM store_meta WHERE name = 'effects_held_at'
