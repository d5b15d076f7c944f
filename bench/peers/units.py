"""The floor of the store: a bare `apsw` loop on one thread that commits groups of a given size.

WAL and `synchronous=FULL` as ours, SQLite's own automatic checkpoint, statements cached by apsw, parameters as tuples.
With `--trigger` it has the same tables, index and trigger text as ours (`schema.sql`, `triggers.sql`), without it the
tables alone. No queue, no unit of work, no actor, no head file, no readers.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import apsw

from bench.peers.answer import Answer, serve

HERE = Path(__file__).parent
INSERT = "INSERT INTO things (id, title, size, note, body) VALUES (?, ?, ?, ?, ?)"
Row = tuple[str, str, int, None, str]


def row(number: int) -> Row:
    """A row like those that ours writes."""
    return (f"thing-{number:09d}", "a title of a usual length", number, None, '{"kind":"bench"}')


class Loop:
    """The connection and the loop over it."""

    def __init__(self, file: Path, *, trigger: bool) -> None:
        self.connection = apsw.Connection(str(file))
        schema = (HERE / "schema.sql").read_text()
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON", schema):
            self.connection.execute(statement).fetchall()
        if trigger:
            self.connection.execute((HERE / "triggers.sql").read_text())
        self.number = 0

    def group(self, units: int, rows: int, *, many: bool) -> None:
        """One transaction of `units` times `rows` rows."""
        execute, number = self.connection.execute, self.number
        execute("BEGIN IMMEDIATE")
        for _ in range(units):
            if many:
                self.connection.executemany(INSERT, [row(number + index) for index in range(rows)])
            else:
                for index in range(rows):
                    execute(INSERT, row(number + index))
            number += rows
        execute("COMMIT")
        self.number = number

    def round(self, *, seconds: float, group: int, rows: int, many: bool = False) -> Answer:
        """Groups until the time is up."""
        units, begin = 0, time.perf_counter()
        until = begin + seconds
        while time.perf_counter() < until:
            self.group(group, rows, many=many)
            units += group
        return {"units": units, "seconds": time.perf_counter() - begin, "group": group}

    def single(self, *, count: int) -> Answer:
        """One row, one commit with its fsync, again and again; how long each took."""
        taken = []
        for _ in range(count):
            begin = time.perf_counter()
            self.group(1, 1, many=False)
            taken.append((time.perf_counter() - begin) * 1e3)
        return {"ms": taken}


def main() -> None:
    """Answer the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--trigger", action="store_true")
    given = parser.parse_args()
    loop = Loop(given.file, trigger=given.trigger)
    serve({"round": loop.round, "single": loop.single})


if __name__ == "__main__":
    main()
