CREATE TABLE things (
    id TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    size INTEGER NOT NULL,
    note TEXT,
    body TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE parts (
    id TEXT NOT NULL PRIMARY KEY,
    thing TEXT NOT NULL REFERENCES things (id),
    state TEXT NOT NULL
) STRICT;

CREATE INDEX parts_thing ON parts (thing);

CREATE TABLE errands (
    id TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL
) STRICT;

CREATE TABLE errands_done (
    id TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL
) STRICT;
