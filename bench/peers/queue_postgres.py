"""The floor of a durable queue on PostgreSQL: a bare psycopg loop on one connection, the same as the one on SQLite.

`FOR UPDATE SKIP LOCKED`, one statement and so one transaction and one round trip to claim a row, and one to complete
it; psycopg prepares both. `synchronous_commit` is the server's. No lease, no retry, no ceiling, no ledger, no event.
A waiting loop is woken by `NOTIFY`. Nobody else knows of a row that a killed loop had claimed: it stays claimed.
"""

from __future__ import annotations

import argparse
import threading
from typing import Any

import psycopg

from bench.peers.jobs import Background, Queue, serve

TABLES = """
CREATE TABLE IF NOT EXISTS job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, payload text NOT NULL, state text NOT NULL,
    due timestamptz NOT NULL, claim text
);
CREATE INDEX IF NOT EXISTS job_due ON job (due, id) WHERE state = 'due';
CREATE TABLE IF NOT EXISTS done (id bigint PRIMARY KEY, kind text NOT NULL, finished timestamptz NOT NULL);
"""
FILL = """
INSERT INTO job (kind, payload, state, due)
SELECT 'noop', number::text, 'due', clock_timestamp() FROM generate_series(0, %s - 1) AS number
"""
ENQUEUE = """
WITH added AS (INSERT INTO job (kind, payload, state, due) VALUES ('noop', %s, 'due', clock_timestamp()))
SELECT pg_notify('job', '')
"""
CLAIM = """
UPDATE job SET state = 'claimed', claim = %s WHERE id = (
    SELECT id FROM job WHERE state = 'due' AND due <= clock_timestamp() ORDER BY due, id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, payload
"""
COMPLETE = """
WITH gone AS (DELETE FROM job WHERE id = %s AND claim = %s RETURNING id, kind)
INSERT INTO done (id, kind, finished) SELECT id, kind, clock_timestamp() FROM gone
"""
STATES = "SELECT state, count(*) FROM job GROUP BY state"


class Floor(Queue):
    """The loop has a connection, and the thread that asks has another one."""

    packages = ("psycopg",)

    def __init__(self, url: str) -> None:
        super().__init__()
        self.loop, self.other = (psycopg.connect(url, autocommit=True) for _ in range(2))
        self.other.execute(TABLES)
        self.loop.execute("LISTEN job")
        self.ending = threading.Event()
        self.worker: Background | None = None

    def facts(self) -> dict[str, Any]:
        return {"postgresql": self.other.info.parameter_status("server_version")}

    def fill(self, count: int) -> None:
        self.other.execute(FILL, (count,))
        self.other.execute("VACUUM ANALYZE job")

    def enqueue(self, number: int) -> None:
        self.other.execute(ENQUEUE, (str(number),))

    def start(self) -> None:
        self.ending.clear()
        self.worker = Background(self._work)

    def stop(self) -> None:
        self.ending.set()
        self.other.execute("NOTIFY job")
        assert self.worker is not None
        self.worker.join()

    def states(self) -> dict[str, int]:
        return dict(self.other.execute(STATES).fetchall())

    def _work(self) -> None:
        claim = "me"
        while not self.ending.is_set():
            while row := self.loop.execute(CLAIM, (claim,)).fetchone():
                ident, payload = row
                self.effect(int(payload))
                self.loop.execute(COMPLETE, (ident, claim))
            for _notice in self.loop.notifies(stop_after=1):
                pass


def main() -> None:
    """Answer the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    serve(Floor(parser.parse_args().url))


if __name__ == "__main__":
    main()
