-- Thinning out the ledger. Keys that are unique for ever have a table of their own, and what is dead is not in here.

-- name: nth_newest
SELECT finished_at, id FROM propagation_ledger ORDER BY finished_at DESC, id DESC LIMIT 1 OFFSET :n

-- Rows that finished before `at`, or then and have this id at most; the oldest have the lowest ids, so that looking for
-- some of them reads little more than those.
-- name: expired
SELECT id FROM propagation_ledger
WHERE finished_at <= :at AND (finished_at < :at OR id <= :id)
ORDER BY id LIMIT :limit

-- name: remove [sqlite]
DELETE FROM propagation_ledger WHERE id IN (SELECT value FROM json_each(:ids))
-- name: remove [postgres]
DELETE FROM propagation_ledger
WHERE id = ANY (ARRAY(SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:ids AS json)) AS j (value)))
