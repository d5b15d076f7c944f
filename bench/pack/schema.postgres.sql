CREATE TABLE things (
    id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    size  BIGINT NOT NULL,
    note  TEXT,
    body  TEXT NOT NULL
);
