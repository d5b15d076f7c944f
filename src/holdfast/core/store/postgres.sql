-- Statements of the PostgreSQL engine itself; the [sqlite] twins only keep the two dialects listed side by side.

-- name: settings [sqlite]
SELECT 1 AS done
-- name: settings [postgres]
SELECT set_config('statement_timeout', :statement, false) AS statement,
       set_config('lock_timeout', :lock, false) AS lock,
       set_config('idle_in_transaction_session_timeout', :idle, false) AS idle,
       set_config('application_name', 'holdfast', false) AS name,
       set_config('default_transaction_deferrable', 'off', false) AS deferrable,
       set_config('synchronous_commit',
                  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                       ELSE current_setting('synchronous_commit') END, false) AS durable

-- name: uuid
SELECT value AS uuid FROM store_meta WHERE name = 'uuid'

-- name: context [sqlite]
SELECT 1 AS done
-- name: context [postgres]
SELECT set_config('holdfast.actor', :actor, true) AS actor,
       set_config('holdfast.cause', :cause, true) AS cause,
       set_config('holdfast.at', :at, true) AS at,
       set_config('enable_seqscan', :seqscan, true) AS seqscan,
       pg_current_xact_id()::text AS xid

-- name: position [sqlite]
SELECT seq AS writes FROM sqlite_sequence WHERE name = 'change_log'
-- name: position [postgres]
SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('change_log', 'seq')::regclass), 0) AS writes

-- name: outcome [sqlite]
SELECT 'committed' AS outcome
-- name: outcome [postgres]
SELECT pg_xact_status(:xid::xid8) AS outcome

-- name: commit
COMMIT

-- name: listen
LISTEN holdfast

-- name: announce [sqlite]
SELECT :payload AS payload
-- name: announce [postgres]
SELECT pg_notify('holdfast', :payload)
