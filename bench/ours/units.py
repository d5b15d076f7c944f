"""Ours for the store: many clients on one event loop, each awaiting its unit of work before it asks for the next."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from bench.pack import ACT, PACK, SQL
from bench.peers.answer import Answer, serve_async
from holdfast.core.changes.triggers import statements
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.pack import CORE
from holdfast.core.store.port import Store, Unit

Work = Callable[[int], Callable[[Unit], None]]


class Commits:
    """Counts commits by SQLite's own hook, so that the floor can commit groups of the size that ours really had."""

    count = 0

    def watch(self, connection: apsw.Connection) -> None:
        """Called for each new connection."""
        connection.set_commit_hook(self._one)

    def _one(self) -> bool:
        self.count += 1
        return False


def one(number: int) -> Callable[[Unit], None]:
    """A unit of one row."""

    def work(unit: Unit) -> None:
        unit.run(
            SQL.add_thing,
            id=f"thing-{number:09d}",
            title="a title of a usual length",
            size=number,
            note=None,
            body='{"kind":"bench"}',
        )

    return work


def _row(number: int) -> dict[str, str | int | None]:
    return {
        "id": f"thing-{number:09d}",
        "title": "a title of a usual length",
        "size": number,
        "note": None,
        "body": '{"kind":"bench"}',
    }


def runs(rows: int) -> Work:
    """Units of so many rows, a statement each."""

    def at(number: int) -> Callable[[Unit], None]:
        def work(unit: Unit) -> None:
            for index in range(rows):
                one(number + index)(unit)

        return work

    return at


def many(rows: int) -> Work:
    """Units of so many rows, in one call."""

    def at(number: int) -> Callable[[Unit], None]:
        def work(unit: Unit) -> None:
            unit.many(SQL.add_thing, [_row(number + index) for index in range(rows)])

        return work

    return at


class Clients:
    """Clients in a closed loop over one store."""

    def __init__(self, store: Store, commits: Commits) -> None:
        self.store = store
        self.commits = commits
        self.number = 0

    async def round(self, *, seconds: float, clients: int, rows: int, many_rows: bool = False) -> Answer:
        """Every client asks again and again until the time is up."""
        work = one if rows == 1 else many(rows) if many_rows else runs(rows)
        before, first, begin = self.commits.count, self.number, time.perf_counter()
        until = begin + seconds

        async def client() -> None:
            while time.perf_counter() < until:
                number = self.number
                self.number += rows
                await self.store.unit(ACT, work(number))

        await asyncio.gather(*(client() for _ in range(clients)))
        units = (self.number - first) // rows
        group = units / max(1, self.commits.count - before)
        return {"units": units, "seconds": time.perf_counter() - begin, "group": group}

    async def single(self, *, count: int) -> Answer:
        """One unit of one row at a time: from asking for it to knowing it durable."""
        taken = []
        for _ in range(count):
            begin = time.perf_counter()
            await self.store.unit(ACT, one(self.number))
            taken.append((time.perf_counter() - begin) * 1e3)
            self.number += 1
        return {"ms": taken}

    async def triggers(self) -> Answer:
        """What the triggers are today, to compare with the floor's copy."""
        return {"triggers": statements(PACK.watched, "sqlite")}


async def main(data: Path) -> None:
    """Answer the harness until it is done."""
    commits = Commits()
    apsw.connection_hooks.append(commits.watch)
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(data=data, packs=(CORE, PACK)), lock)
        clients = Clients(store, commits)
        await serve_async({"round": clients.round, "single": clients.single, "triggers": clients.triggers})
        await store.close()


if __name__ == "__main__":
    import uvloop

    # As the daemon sets it: a waiting writer thread gets the interpreter sooner.
    sys.setswitchinterval(0.0005)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    uvloop.run(main(folder))
