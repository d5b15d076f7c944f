"""The floor of a durable queue on SQLite: a bare `apsw` loop that claims a row, does nothing, and completes the row.

WAL and `synchronous=FULL`, SQLite's own automatic checkpoint. One transaction claims the oldest due row, another one
deletes it and notes it as done. No lease, no retry, no ceiling, no ledger, no event. In the same process a waiting loop
is woken by a flag. Nobody else knows of a row that a killed loop had claimed: it stays claimed.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path
from typing import Any

import apsw

from bench.peers.jobs import Background, Queue, serve

TABLES = """
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL,
    due REAL NOT NULL, claim TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS job_due ON job (due, id) WHERE state = 'due';
CREATE TABLE IF NOT EXISTS done (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, finished REAL NOT NULL) STRICT;
"""
INSERT = "INSERT INTO job (kind, payload, state, due) VALUES ('noop', ?, 'due', ?)"
CLAIM = """
UPDATE job SET state = 'claimed', claim = ? WHERE id = (
    SELECT id FROM job WHERE state = 'due' AND due <= ? ORDER BY due, id LIMIT 1
) RETURNING id, kind, payload
"""
DELETE = "DELETE FROM job WHERE id = ? AND claim = ?"
DONE = "INSERT INTO done (id, kind, finished) VALUES (?, ?, ?)"
STATES = "SELECT state, count(*) FROM job GROUP BY state"


def connected(file: Path) -> apsw.Connection:
    """A connection set up like every other one."""
    connection = apsw.Connection(str(file))
    connection.set_busy_timeout(10_000)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"):
        connection.execute(statement).fetchall()
    return connection


class Floor(Queue):
    """The loop has a connection, and the thread that asks has another one."""

    packages = ("apsw",)

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loop, self.other = connected(file), connected(file)
        self.other.execute(TABLES)
        self.wake, self.ending = threading.Event(), threading.Event()
        self.worker: Background | None = None

    def facts(self) -> dict[str, Any]:
        return {"sqlite": apsw.sqlite_lib_version()}

    def fill(self, count: int) -> None:
        with self.other:
            self.other.executemany(INSERT, [(str(number), time.time()) for number in range(count)])
        self.other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def enqueue(self, number: int) -> None:
        self.other.execute(INSERT, (str(number), time.time()))
        self.wake.set()

    def start(self) -> None:
        self.ending.clear()
        self.wake.clear()
        self.worker = Background(self._work)

    def stop(self) -> None:
        self.ending.set()
        self.wake.set()
        assert self.worker is not None
        self.worker.join()

    def states(self) -> dict[str, int]:
        return dict(self.other.execute(STATES).fetchall())

    def _work(self) -> None:
        execute, claim = self.loop.execute, "me"
        while not self.ending.is_set():
            while row := execute(CLAIM, (claim, time.time())).fetchone():
                ident, kind, payload = row
                self.effect(int(payload))
                execute("BEGIN IMMEDIATE")
                execute(DELETE, (ident, claim))
                execute(DONE, (ident, kind, time.time()))
                execute("COMMIT")
            self.wake.wait()
            self.wake.clear()


def main() -> None:
    """Answer the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    serve(Floor(parser.parse_args().file))


if __name__ == "__main__":
    main()
