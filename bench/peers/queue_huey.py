"""Huey on its SQLite storage, as its documentation says: `SqliteHuey`, a consumer with its one worker thread.

The consumer is made by `create_consumer` with every default: one thread, polling every 0.1 s and less often the longer
the queue is empty. No log handler is set up, so jobs are not logged. `--fsync` is `SqliteHuey(fsync=...)`;
left alone, it is SQLite's own default, and `whoami` says what that is.
"""

from __future__ import annotations

import argparse
from typing import Any

from huey import SqliteHuey

from bench.peers.jobs import Queue, serve

CHOICES = {"default": None, "on": True, "off": False}


class Huey(Queue):
    """The queue and its consumer."""

    packages = ("huey",)

    def __init__(self, file: str, *, fsync: bool | None) -> None:
        super().__init__()
        given = {} if fsync is None else {"fsync": fsync}
        self.huey = SqliteHuey("bench", filename=file, **given)
        self.task = self.huey.task(name="noop")(self._noop)
        self.consumer: Any = None

    def _noop(self, number: int) -> None:
        self.effect(number)

    def facts(self) -> dict[str, Any]:
        storage = self.huey.storage
        (version,), (synchronous,), (journal,) = (
            storage.sql(text, results=True)[0]
            for text in ("select sqlite_version()", "pragma synchronous", "pragma journal_mode")
        )
        levels = ("off", "normal", "full", "extra")
        return {"sqlite": version, "synchronous": levels[synchronous], "journal_mode": journal}

    def fill(self, count: int) -> None:
        huey, task = self.huey, self.task
        rows = [(huey.name, huey.serialize_task(task.s(number)), 0) for number in range(count)]
        with huey.storage.db(commit=True) as cursor:  # what `enqueue` writes, in one transaction
            cursor.executemany("insert into task (queue, data, priority) values (?, ?, ?)", rows)
        huey.storage.sql("pragma wal_checkpoint(truncate)", results=True)

    def enqueue(self, number: int) -> None:
        self.task(number)

    def start(self) -> None:
        self.consumer = self.huey.create_consumer()
        self.consumer.start()

    def stop(self) -> None:
        self.consumer.stop(graceful=True)

    def states(self) -> dict[str, int]:
        """A row is gone as soon as a worker took it, so there is one state."""
        queued = self.huey.storage.queue_size()
        return {"queued": queued} if queued else {}


def main() -> None:
    """Answer the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--fsync", choices=list(CHOICES), default="default")
    given = parser.parse_args()
    serve(Huey(given.file, fsync=CHOICES[given.fsync]))


if __name__ == "__main__":
    main()
