-- The triggers that Holdfast generates for the table `things` on SQLite, copied here as data: the floor pays for the same
-- change-log row as ours does. The harness says so when this copy is no longer what is generated.

CREATE TRIGGER hf_things_insert AFTER INSERT ON "things"
BEGIN
  INSERT INTO change_log(scope, entity, entity_id, event, payload, actor, cause, at)
  SELECT 'bench', 'thing', NEW."id", 'thing_created',
    json_object('id', NEW."id", 'title', NEW."title", 'size', NEW."size", 'note', NEW."note", 'body', json(NEW."body"), 'changed', json('["id","title","size","note","body"]')),
    coalesce(unit.actor, 'outside'), coalesce(unit.cause, ''), coalesce(unit.at, strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z')
  FROM (SELECT 1) LEFT JOIN unit ON unit.id = 1;
END;

CREATE TRIGGER hf_things_update AFTER UPDATE OF "id", "title", "size", "note", "body" ON "things"
WHEN NEW."id" IS NOT OLD."id" COLLATE BINARY OR NEW."title" IS NOT OLD."title" COLLATE BINARY OR NEW."size" IS NOT OLD."size" COLLATE BINARY OR NEW."note" IS NOT OLD."note" COLLATE BINARY OR NEW."body" IS NOT OLD."body" COLLATE BINARY
BEGIN
  INSERT INTO change_log(scope, entity, entity_id, event, payload, actor, cause, at)
  SELECT 'bench', 'thing', NEW."id", 'thing_updated',
    json_object('id', NEW."id", 'title', NEW."title", 'size', NEW."size", 'note', NEW."note", 'body', json(NEW."body"), 'changed', json('[' || substr(CASE WHEN NEW."id" IS NOT OLD."id" COLLATE BINARY THEN ',"id"' ELSE '' END || CASE WHEN NEW."title" IS NOT OLD."title" COLLATE BINARY THEN ',"title"' ELSE '' END || CASE WHEN NEW."size" IS NOT OLD."size" COLLATE BINARY THEN ',"size"' ELSE '' END || CASE WHEN NEW."note" IS NOT OLD."note" COLLATE BINARY THEN ',"note"' ELSE '' END || CASE WHEN NEW."body" IS NOT OLD."body" COLLATE BINARY THEN ',"body"' ELSE '' END, 2) || ']')),
    coalesce(unit.actor, 'outside'), coalesce(unit.cause, ''), coalesce(unit.at, strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z')
  FROM (SELECT 1) LEFT JOIN unit ON unit.id = 1;
END;

CREATE TRIGGER hf_things_delete AFTER DELETE ON "things"
BEGIN
  INSERT INTO change_log(scope, entity, entity_id, event, payload, actor, cause, at)
  SELECT 'bench', 'thing', OLD."id", 'thing_removed',
    json_object('id', OLD."id", 'title', OLD."title", 'size', OLD."size", 'note', OLD."note", 'body', json(OLD."body"), 'changed', json('[]')),
    coalesce(unit.actor, 'outside'), coalesce(unit.cause, ''), coalesce(unit.at, strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z')
  FROM (SELECT 1) LEFT JOIN unit ON unit.id = 1;
END;

CREATE TRIGGER hf_things_fixed BEFORE UPDATE OF "id" ON "things"
WHEN NEW."id" IS NOT OLD."id" COLLATE BINARY
BEGIN
  SELECT RAISE(ABORT, 'id of a row of things cannot change: remove the row and add another');
END;
