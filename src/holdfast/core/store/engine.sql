-- What the SQLite engine itself says to SQLite; no engine but that one loads this file.

-- name: journal
PRAGMA journal_mode = WAL

-- A commit is on disk before it is reported: without FULL a power cut takes acknowledged units with it.
-- name: durability
PRAGMA synchronous = FULL

-- name: references_checked
PRAGMA foreign_keys = ON

-- Savepoints journal in memory: their spill file costs more than the units do.
-- name: scratch
PRAGMA temp_store = MEMORY

-- Checkpoints run on a thread of their own.
-- name: no_checkpoints_here
PRAGMA wal_autocheckpoint = 0

-- name: reads_only
PRAGMA query_only = ON

-- name: begin
BEGIN IMMEDIATE

-- name: begin_read
BEGIN

-- name: commit
COMMIT

-- name: rollback
ROLLBACK

-- name: savepoint
SAVEPOINT unit_of_work

-- name: release
RELEASE unit_of_work

-- name: undo
ROLLBACK TO unit_of_work

-- Who acts (actor, cause, time), before the first write of a unit.
-- name: enter
UPDATE unit SET actor = ?, cause = ?, at = ?, position = position + 1 WHERE id = 1

-- Nobody acts any more, at the end of a group: what is written past the units is logged as from outside.
-- name: leave
UPDATE unit SET actor = NULL, cause = NULL, at = NULL WHERE id = 1
RETURNING position AS writes, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'change_log'), 0) AS seq

-- name: position
SELECT position AS writes, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'change_log'), 0) AS seq
FROM unit WHERE id = 1
