"""Starts worker processes, talks to them, and waits for their ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

import holdfast
from crash.propagating.owing import LEDGER, PACKS, ROWS
from crash.propagating.worker import Given, Outside
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Row

PROGRAM = Path(__file__).with_name("worker.py")
SECONDS = 60.0
KEPT = {"HOLDFAST_CRASH_ROUNDS"}
ONE = StoreOptions(readers=1, writers=1)


class Worker:
    """One process that does propagations."""

    def __init__(self, what: str, given: Given, faults: str = "") -> None:
        env = {name: value for name, value in os.environ.items() if name in KEPT or not name.startswith("HOLDFAST_")}
        env["PYTHONPATH"] = str(Path(holdfast.__file__).parents[1])
        env["HOLDFAST_FAULTS"] = faults
        words = [sys.executable, str(PROGRAM), what, msgspec.json.encode(given).decode()]
        self.process = subprocess.Popen(
            words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def says(self) -> str:
        """Its next line; what went wrong if there is none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, self.ended()
        return line

    def go(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def ended(self) -> tuple[int, str]:
        """Its exit status, and the end of what it complained of."""
        _, words = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, words[-3000:]

    def kill(self) -> None:
        """End it if it runs."""
        self.process.kill()
        self.process.communicate()


@dataclass
class Place:
    """Where the workers of one test live."""

    folder: Path
    url: str | None
    made: list[Worker] = field(default_factory=list)

    @property
    def outside(self) -> Outside:
        """What has happened in the world."""
        return Outside(self.folder / "outside")

    def worker(self, what: str, faults: str = "", number: int = 0, **given: int) -> Worker:
        """Start one; on PostgreSQL each has a data folder of its own."""
        data = self.folder / f"data-{number}"
        told = Given(data=str(data), outside=str(self.folder / "outside"), url=self.url, **given)
        self.made.append(Worker(what, told, faults))
        return self.made[-1]

    @contextmanager
    def ending(self) -> Iterator[Place]:
        """Leave no process behind."""
        try:
            yield self
        finally:
            for worker in self.made:
                worker.kill()

    async def left(self) -> tuple[list[Row], list[Row]]:
        """The rows of the hot table and of the ledger, when no worker runs."""
        data = self.folder / "data-0"
        with hold_data(data) as lock:
            store = await open_store(StoreConfig(data, PACKS, self.url, options=ONE), lock)
            try:
                return await store.read(lambda reader: (reader.all(ROWS), reader.all(LEDGER)))
            finally:
                await store.close()
