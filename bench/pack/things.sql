-- name: add_thing
INSERT INTO things (id, title, size, note, body) VALUES (:id, :title, :size, :note, :body)
