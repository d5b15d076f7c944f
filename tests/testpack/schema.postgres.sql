CREATE TABLE things (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    title TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL,
    note TEXT COLLATE "C",
    body TEXT NOT NULL DEFAULT '{}'
);

CREATE TABLE parts (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    thing TEXT COLLATE "C" NOT NULL REFERENCES things (id),
    state TEXT COLLATE "C" NOT NULL
);

CREATE INDEX parts_thing ON parts (thing);
