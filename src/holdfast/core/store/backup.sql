-- Statements of backups of PostgreSQL; SQLite is copied page by page and needs none.

-- name: copies [sqlite]
SELECT name, '' AS take, '' AS give, '' AS clear FROM sqlite_schema WHERE false

-- name: copies [postgres]
SELECT c.relname::text AS name,
       format('COPY %I (%s) TO STDOUT', c.relname, k.columns) AS take,
       format('COPY %I (%s) FROM STDIN', c.relname, k.columns) AS give,
       format('TRUNCATE %I CASCADE', c.relname) AS clear
FROM pg_class c
CROSS JOIN LATERAL (
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attname) AS columns
    FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
) k
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relkind IN ('r', 'p')
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.relname COLLATE "C"

-- name: references [sqlite]
SELECT '' AS child, '' AS parent WHERE false

-- name: references [postgres]
SELECT child.relname::text AS child, parent.relname::text AS parent
FROM pg_constraint k
JOIN pg_class child ON child.oid = k.conrelid
JOIN pg_class parent ON parent.oid = k.confrelid
WHERE k.contype = 'f' AND child.oid <> parent.oid
  AND child.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())

-- name: sequences [sqlite]
SELECT '' AS name, 0 AS last WHERE false

-- name: sequences [postgres]
SELECT sequencename::text AS name, last_value AS last
FROM pg_sequences WHERE schemaname = current_schema() AND last_value IS NOT NULL ORDER BY sequencename COLLATE "C"

-- name: set_sequence [sqlite]
SELECT :name, :last

-- name: set_sequence [postgres]
SELECT setval(quote_ident(:name)::regclass, :last)
