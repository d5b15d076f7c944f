-- The dead of the queue beside what people are told of them. A key is dead-letter:<id>:<when it died>.

-- name: untold
SELECT p.id, p.kind, p.key, p.payload, p.reason, p.error FROM propagations p
WHERE p.state = 'dead' AND p.decided_at >= :since AND NOT EXISTS (
    SELECT 1 FROM notices n
    WHERE n.key >= 'dead-letter:' || p.id || ':' AND n.key < 'dead-letter:' || p.id || ';')
ORDER BY p.id LIMIT :limit

-- name: outlived
SELECT n.key FROM notices n
WHERE n.resolved_at IS NULL AND n.kind IN ('dead-letter', 'send-failed') AND NOT EXISTS (
    SELECT 1 FROM propagations p
    WHERE p.state = 'dead' AND n.key >= 'dead-letter:' || p.id || ':' AND n.key < 'dead-letter:' || p.id || ';')
ORDER BY n.id LIMIT :limit
