-- What is physically there, as rows of kind, name and definition; the same question to both engines.

-- name: objects [sqlite]
SELECT type AS kind, name, sql AS definition
FROM sqlite_schema
WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\'
UNION ALL
SELECT 'column', t.name || '.' || c.name,
       c.type || iif(c."notnull", ' NOT NULL', '') || coalesce(' DEFAULT ' || c.dflt_value, '')
       || iif(c.pk, ' PRIMARY KEY ' || c.pk, '') || iif(c.hidden, ' HIDDEN ' || c.hidden, '')
FROM sqlite_schema t, pragma_table_xinfo(t.name) c
WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\'

-- name: objects [postgres]
WITH home AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema()),
     alien AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
     relation AS (
         SELECT c.oid, c.relname::text AS name, c.relkind, c.relpersistence
         FROM pg_class c JOIN home ON c.relnamespace = home.oid
         WHERE NOT EXISTS (SELECT 1 FROM alien WHERE classid = 'pg_class'::regclass AND objid = c.oid)
     )
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'S' THEN 'sequence' ELSE 'view' END AS kind, name,
       relkind::text || relpersistence::text AS definition
FROM relation
WHERE relkind NOT IN ('i', 'I', 't', 'c')
UNION ALL
SELECT 'column', r.name || '.' || a.attname,
       format_type(a.atttypid, a.atttypmod)
       || coalesce((SELECT ' COLLATE ' || l.collname FROM pg_collation l
                    WHERE l.oid = a.attcollation AND l.collname <> 'default'), '')
       || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
       || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid, true), '')
       || CASE WHEN a.attidentity <> '' THEN ' IDENTITY ' || a.attidentity::text ELSE '' END
       || CASE WHEN a.attgenerated <> '' THEN ' GENERATED ' || a.attgenerated::text ELSE '' END
FROM relation r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p')
UNION ALL
SELECT 'constraint', r.name || '.' || k.conname, pg_get_constraintdef(k.oid, true)
FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
WHERE k.contype NOT IN ('n', 't')
UNION ALL
SELECT 'index', c.relname::text, pg_get_indexdef(i.indexrelid, 0, true) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
FROM relation r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class c ON c.oid = i.indexrelid
WHERE r.relkind IN ('r', 'p')
UNION ALL
SELECT 'trigger', t.tgname::text, pg_get_triggerdef(t.oid, true) || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' DISABLED' END
FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid
WHERE NOT t.tgisinternal
UNION ALL
SELECT 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.prosrc
FROM pg_proc p JOIN home ON p.pronamespace = home.oid
WHERE NOT EXISTS (SELECT 1 FROM alien WHERE classid = 'pg_proc'::regclass AND objid = p.oid)

-- name: drop_generated [sqlite]
SELECT 'DROP TRIGGER "' || name || '"' AS statement
FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'hf\_%' ESCAPE '\'

-- name: drop_generated [postgres]
SELECT statement FROM (
    SELECT 1 AS step, format('DROP TRIGGER %I ON %I', t.tgname, c.relname) AS statement
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
      AND NOT t.tgisinternal AND t.tgname LIKE 'hf\_%'
    UNION ALL
    SELECT 2, format('DROP FUNCTION %I(%s)', p.proname, pg_get_function_identity_arguments(p.oid))
    FROM pg_proc p
    WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND p.proname LIKE 'hf\_%'
) d ORDER BY step

-- name: dangling [sqlite]
SELECT "table" AS name, "parent" AS parent FROM pragma_foreign_key_check LIMIT 5

-- name: dangling [postgres]
SELECT '' AS name, '' AS parent WHERE false
