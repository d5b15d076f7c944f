-- name: add_thing
INSERT INTO things (id, title, size, note, body) VALUES (:id, :title, :size, :note, :body)

-- name: add_plain_thing
INSERT INTO things (id, title, size) VALUES (:id, :title, :size)

-- name: retitle_thing
UPDATE things SET title = :title WHERE id = :id

-- name: resize_thing
UPDATE things SET size = :size WHERE id = :id

-- name: grow_thing
UPDATE things SET size = size + :by WHERE id = :id

-- name: change_thing
UPDATE things SET title = :title, size = :size, note = :note, body = :body WHERE id = :id

-- name: rekey_thing
UPDATE things SET id = :to WHERE id = :id

-- name: remove_thing
DELETE FROM things WHERE id = :id

-- name: thing
SELECT id, title, size, note, body FROM things WHERE id = :id

-- name: things
SELECT id, title, size, note, body FROM things ORDER BY id

-- name: count_things
SELECT count(*) AS count FROM things

-- name: add_part
INSERT INTO parts (id, thing, state) VALUES (:id, :thing, :state)

-- name: move_part
UPDATE parts SET state = :state WHERE id = :id

-- name: remove_part
DELETE FROM parts WHERE id = :id

-- name: part
SELECT id, thing, state FROM parts WHERE id = :id

-- name: parts
SELECT id, thing, state FROM parts ORDER BY id

-- name: add_errand
INSERT INTO errands (id, title) VALUES (:id, :title)

-- name: finish_errand
INSERT INTO errands_done (id, title) SELECT id, title FROM errands WHERE id = :id

-- name: remove_errand
DELETE FROM errands WHERE id = :id

-- name: log
SELECT seq, scope, entity, entity_id, event, payload, actor, cause, at FROM change_log ORDER BY seq
