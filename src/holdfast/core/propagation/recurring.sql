-- Recurring work: the windows in which it was owed.

-- name: windows
SELECT windows FROM recurring WHERE name = :name

-- name: note
INSERT INTO recurring (name, windows, at) VALUES (:name, :windows, :at)
ON CONFLICT (name) DO UPDATE SET windows = excluded.windows, at = excluded.at
