-- name: store
SELECT value, (SELECT MAX(seq) FROM change_log) AS newest FROM store_meta WHERE name = 'uuid'

-- name: try_to_write
UPDATE store_meta SET value = value WHERE name = 'uuid'
