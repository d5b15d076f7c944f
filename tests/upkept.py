"""Stores with the tables of propagations, a clock that a test moves, and waiting for what a commit brings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from conftest import Place
from holdfast.core.propagation.kinds import Handler, Kind, Registry
from holdfast.core.propagation.pack import PROPAGATION
from holdfast.core.propagation.runner import Runner
from holdfast.core.store.pack import CORE
from holdfast.core.store.sql import query
from testpack import PACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from conftest import StoreMaker
    from holdfast.core.store.port import Reader, Row, Store
    from manual_clock import ManualClock

PACKS = (CORE, PROPAGATION, PACK)
LIMIT = 30.0
HOT = query("hot", sqlite="SELECT * FROM propagations ORDER BY id")
LEDGER = query("ledger", sqlite="SELECT * FROM propagation_ledger ORDER BY id")


async def opened(make_store: StoreMaker, clock: ManualClock, at: Place | None = None) -> Store:
    """An open store whose time is the test's."""
    return await make_store(at=at, packs=PACKS, clock=clock)


async def again(make_store: StoreMaker, clock: ManualClock, store: Store) -> Store:
    """The store after a restart."""
    place = make_store.place_of(store)
    await store.close()
    return await opened(make_store, clock, place)


async def beside(make_store: StoreMaker, clock: ManualClock, store: Store) -> Store:
    """Another process on the same PostgreSQL database."""
    return await opened(make_store, clock, Place(make_store.place().data, make_store.place_of(store).url))


async def hot(store: Store) -> list[Row]:
    """What is owed or dead."""
    return await store.read(lambda reader: reader.all(HOT))


async def ledger(store: Store) -> list[Row]:
    """What is done or cancelled."""
    return await store.read(lambda reader: reader.all(LEDGER))


async def when(store: Store, holds: Callable[[Reader], bool]) -> None:
    """Wait until something holds, looking after every commit of this process."""
    committed = asyncio.Event()
    store.on_commit(committed.set)
    async with asyncio.timeout(LIMIT):
        while not await store.read(holds):
            await committed.wait()
            committed.clear()


def nothing_owed(reader: Reader) -> bool:
    """Whether all is done, or dead."""
    return all(row["state"] == "dead" for row in reader.all(HOT))


def finished(count: int) -> Callable[[Reader], bool]:
    """Whether so many rows are in the ledger."""
    return lambda reader: len(reader.all(LEDGER)) >= count


@asynccontextmanager
async def running(
    store: Store, clock: ManualClock, handlers: Mapping[Kind[Any], Handler], drain: float = 20.0
) -> AsyncIterator[None]:
    """A runner that does these kinds. Its units are timed by the clock too: move that only while nothing runs."""
    runner = Runner(store, Registry(handlers.keys(), handlers), clock, drain_seconds=drain)
    await runner.start()
    yield
    await runner.stop()
