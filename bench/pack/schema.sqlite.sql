CREATE TABLE things (
    id    TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    size  INTEGER NOT NULL,
    note  TEXT,
    body  TEXT NOT NULL
) STRICT;
