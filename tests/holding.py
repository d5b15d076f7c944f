"""Ready-made work for units and what it left; a way to hold a store's writers, so that units queue up behind them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Self

from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Store, Unit
from testpack import ACT, SQL

LIMIT = 20.0


def adds(*names: str, size: int = 1) -> Callable[[Unit], int]:
    """Work that adds things."""

    def work(unit: Unit) -> int:
        return sum(unit.run(SQL.add_plain_thing, id=name, title="a thing", size=size) for name in names)

    return work


def grows(name: str = "a", by: int = 1) -> Callable[[Unit], int]:
    """Work that changes a thing."""
    return lambda unit: unit.run(SQL.grow_thing, id=name, by=by)


async def size_of(store: Store, name: str = "a") -> int | None:
    row = await store.read(lambda reader: reader.one(SQL.thing, id=name))
    return None if row is None else int(row["size"])


async def changes_in(store: Store) -> int:
    return len(await log(store))


async def names(store: Store) -> list[str]:
    return [row["id"] for row in await store.read(lambda reader: reader.all(SQL.things))]


async def log(store: Store) -> list[dict[str, Any]]:
    return await store.read(lambda reader: reader.all(SQL.log))


class Held:
    """Keeps a store's writers inside a unit each, so that what comes next queues up behind them together."""

    def __init__(self, store: Store, writers: int) -> None:
        self._store = store
        self._inside = [threading.Event() for _ in range(writers)]
        self._go = threading.Event()
        self._tasks: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Self:
        for inside in self._inside:
            self._tasks.append(asyncio.ensure_future(self._store.unit(ACT, self._wait(inside))))
            assert await asyncio.to_thread(inside.wait, LIMIT)
        return self

    def _wait(self, inside: threading.Event) -> Callable[[Unit], None]:
        def work(_: Unit) -> None:
            inside.set()
            assert self._go.wait(LIMIT)

        return work

    def open(self) -> None:
        """Let the writers go on."""
        self._go.set()

    async def __aexit__(self, *_: object) -> None:
        self.open()
        await asyncio.gather(*self._tasks)


ONE_WRITER = StoreOptions(writers=1, readers=1)
HELD = StoreOptions(writers=1, unit_seconds=LIMIT)
