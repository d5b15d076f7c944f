-- Statements that open, create, migrate and back up a store, before the engine runs.

-- name: relations [sqlite]
SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name

-- name: relations [postgres]
SELECT c.relname::text AS name
FROM pg_class c
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname COLLATE "C"

-- name: server [sqlite]
SELECT 'main' AS schema, 'UTF8' AS encoding, sqlite_version() AS version, 'off' AS read_only

-- name: server [postgres]
SELECT current_schema()::text AS schema, current_setting('server_encoding') AS encoding,
       current_setting('server_version') AS version, current_setting('transaction_read_only') AS read_only

-- name: meta
SELECT name, value FROM store_meta

-- name: set_meta
INSERT INTO store_meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: drop_meta
DELETE FROM store_meta WHERE name = :name

-- name: applied
SELECT name, checksum FROM migrations ORDER BY name

-- name: record_migration
INSERT INTO migrations (name, checksum, applied_at) VALUES (:name, :checksum, :at)

-- name: position [sqlite]
SELECT position AS writes, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'change_log'), 0) AS seq FROM unit

-- name: position [postgres]
SELECT n AS writes, n AS seq FROM (SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS n FROM change_log_seq_seq) s

-- name: enter_unit [sqlite]
UPDATE unit SET actor = :actor, cause = :cause, at = :at, position = position + 1 WHERE id = 1

-- name: enter_unit [postgres]
SELECT set_config('holdfast.actor', :actor, true), set_config('holdfast.cause', :cause, true),
       set_config('holdfast.at', :at, true)

-- name: leave_unit [sqlite]
UPDATE unit SET actor = NULL, cause = NULL, at = NULL WHERE id = 1

-- name: leave_unit [postgres]
SELECT set_config('holdfast.actor', '', true), set_config('holdfast.cause', '', true), set_config('holdfast.at', '', true)

-- name: add_audit
INSERT INTO audit (id, kind, subject, detail, at) VALUES (:id, :kind, :subject, :detail, :at)

-- name: take_turn [sqlite]
SELECT 1

-- name: take_turn [postgres]
SELECT pg_advisory_lock(7236837018274623083)

-- name: wait_at_most [sqlite]
SELECT :milliseconds

-- name: wait_at_most [postgres]
SELECT set_config('lock_timeout', :milliseconds, false)

-- name: hush [sqlite]
SELECT 1

-- name: hush [postgres]
SELECT set_config('client_min_messages', 'warning', false)

-- name: make_scratch [sqlite]
SELECT 1

-- name: make_scratch [postgres]
CREATE SCHEMA hf_scratch

-- name: use_scratch [sqlite]
SELECT 1

-- name: use_scratch [postgres]
SELECT set_config('search_path', 'hf_scratch', true)
