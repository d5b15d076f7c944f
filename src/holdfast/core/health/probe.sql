-- name: store
SELECT value, (SELECT MAX(seq) FROM change_log) AS newest FROM store_meta WHERE name = 'uuid'
