-- Reading and thinning out the change log. Writing it is the business of the generated triggers alone.

-- name: page
SELECT seq, scope, entity, entity_id, event, payload, actor, cause, at
FROM change_log
WHERE seq > :after AND seq <= :upto
ORDER BY seq
LIMIT :limit

-- name: page_of_events [sqlite]
SELECT seq, scope, entity, entity_id, event, payload, actor, cause, at
FROM change_log
WHERE seq > :after AND seq <= :upto AND event IN (SELECT value FROM json_each(:events))
ORDER BY seq
LIMIT :limit
-- name: page_of_events [postgres]
SELECT seq, scope, entity, entity_id, event, payload, actor, cause, at
FROM change_log
WHERE seq > :after AND seq <= :upto AND event = ANY (ARRAY(SELECT jsonb_array_elements_text(:events::jsonb)))
ORDER BY seq
LIMIT :limit

-- `events` may be null: every event.
-- name: page_of_scopes [sqlite]
SELECT seq, scope, entity, entity_id, event, payload, actor, cause, at
FROM change_log
WHERE scope IN (SELECT value FROM json_each(:scopes)) AND seq > :after AND seq <= :upto
  AND (:events IS NULL OR event IN (SELECT value FROM json_each(:events)))
ORDER BY seq
LIMIT :limit
-- name: page_of_scopes [postgres]
SELECT seq, scope, entity, entity_id, event, payload, actor, cause, at
FROM change_log
WHERE scope = ANY (ARRAY(SELECT jsonb_array_elements_text(:scopes::jsonb))) AND seq > :after AND seq <= :upto
  AND (:events::jsonb IS NULL OR event = ANY (ARRAY(SELECT jsonb_array_elements_text(:events::jsonb))))
ORDER BY seq
LIMIT :limit

-- The first position that can still be read, and the newest row (or, where retention left none, what it removed last).
-- name: bounds
SELECT removed.seq + 1 AS oldest, coalesce((SELECT max(seq) FROM change_log), removed.seq) AS newest
FROM (
    SELECT coalesce((SELECT CAST(value AS BIGINT) FROM store_meta WHERE name = 'changes_removed_upto'), 0) AS seq
) AS removed

-- --- retention ---------------------------------------------------------------------------------------------------

-- The end of what may go in one chunk: the oldest rows of all, as many as are given.
-- name: chunk_end
SELECT max(seq) AS seq FROM (SELECT seq FROM change_log WHERE seq <= :upto ORDER BY seq LIMIT :limit) AS chunk

-- The last row that is older than this, in one step down the log from its old end.
-- name: first_kept
SELECT seq FROM change_log WHERE at >= :since ORDER BY seq LIMIT 1

-- name: nth_newest
SELECT seq FROM change_log ORDER BY seq DESC LIMIT 1 OFFSET :n

-- name: live_cursors
SELECT min(seq) AS seq FROM change_cursors WHERE updated_at >= :since

-- name: remove_upto
DELETE FROM change_log WHERE seq <= :seq

-- name: note_removed
INSERT INTO store_meta (name, value) VALUES ('changes_removed_upto', :seq)
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: move_cursor
INSERT INTO change_cursors (name, seq, updated_at) VALUES (:name, :seq, :at)
ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, updated_at = excluded.updated_at

-- name: cursor
SELECT seq FROM change_cursors WHERE name = :name

-- name: drop_cursor
DELETE FROM change_cursors WHERE name = :name

-- --- the feed on PostgreSQL; the twins for SQLite are never run ------------------------------------------------------

-- name: numbers
SELECT seq FROM change_log WHERE seq > :after ORDER BY seq LIMIT :limit

-- The last row before the first missing number above `after`.
-- name: before_first_gap
SELECT seq FROM (
    SELECT seq, lead(seq) OVER (ORDER BY seq) AS next FROM change_log WHERE seq > :after
) AS pairs
WHERE next IS NULL OR next <> seq + 1
ORDER BY seq
LIMIT 1

-- Every transaction below this one has ended, for the eyes of this snapshot.
-- name: horizon [sqlite]
SELECT 0 AS xid
-- name: horizon [postgres]
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid

-- The id of this very transaction: whoever has taken a number by now has a lower one. (The xmax of the snapshot will
-- not do: a transaction in progress may stand above it.)
-- name: transaction [sqlite]
SELECT 0 AS xid
-- name: transaction [postgres]
SELECT pg_current_xact_id()::text::bigint AS xid
