"""Kinds, rows and runners for tests of propagations: owes effects, and looks at what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from holdfast.core.propagation.kinds import Handler, Kind, Registry
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.propagation.pack import PROPAGATION
from holdfast.core.propagation.queue import TOPIC, enqueue
from holdfast.core.propagation.runner import Runner
from holdfast.core.propagation.schedule import Schedule
from holdfast.core.store.pack import CORE
from holdfast.core.store.port import Reader, Row, Store
from holdfast.core.store.sql import query
from manual_clock import ManualClock
from testpack import ACT, PACK

#: What a store needs whose runner is tested.
PACKS = (CORE, PROPAGATION, PACK)
LIMIT = 8.0
#: Seconds by which a clock is moved with each look at the store, and with each look at what is in memory: so few that
#: no unit of work runs past its time.
TICK, SPLIT = 0.05, 0.001
FAST = Schedule("fast", "For tests, which wait for nobody.", (0.01,) * 20)
ROWS = query("rows", sqlite="SELECT * FROM propagations ORDER BY id")
LEDGER = query("ledger", sqlite="SELECT * FROM propagation_ledger ORDER BY id")
OWED = query("owed", sqlite="SELECT count(*) AS n FROM propagations WHERE state <> 'dead'")


class Number(msgspec.Struct):
    """What the effects of tests are about."""

    n: int = 0


def kind(name: str = "test.one", **more: Any) -> Kind[Number]:
    more.setdefault("schedule", FAST)
    return Kind(name=name, doc="For a test.", payload=Number, **more)


async def owe(store: Store, what: Kind[Number], *numbers: int, keyed: bool = False) -> list[int]:
    """Owe one effect for each number, in one unit; the ids of the rows."""
    return await store.unit(
        ACT,
        lambda unit: [enqueue(unit, what, Number(n), key=f"key-{n}" if keyed else None).id for n in numbers],
    )


async def rows(store: Store) -> list[Row]:
    return await store.read(lambda reader: reader.all(ROWS))


async def row(store: Store, row_id: int) -> Row:
    return next(each for each in await rows(store) if each["id"] == row_id)


async def ledger(store: Store) -> list[Row]:
    return await store.read(lambda reader: reader.all(LEDGER))


def is_empty(reader: Reader) -> bool:
    """Nothing is owed any more; what is dead does not count."""
    return reader.one(OWED) == {"n": 0}


async def until(store: Store, so: Callable[[Reader], object], clock: ManualClock | None = None) -> None:
    """Look until it is so; a clock that is given moves on with each look."""
    async with asyncio.timeout(LIMIT):
        while not await store.read(so):
            if clock is not None:
                clock.advance(TICK)
            await asyncio.sleep(0)


async def all_done(store: Store, clock: ManualClock | None = None) -> list[Row]:
    """Until nothing is owed; what is in the ledger then."""
    await until(store, is_empty, clock)
    return await ledger(store)


async def soon(so: Callable[[], object], clock: ManualClock | None = None) -> None:
    """Look until it is so, giving way each time; a clock that is given moves on with each look."""
    async with asyncio.timeout(LIMIT):
        while not so():
            if clock is not None:
                clock.advance(SPLIT)
            await asyncio.sleep(0)


def wake(store: Store) -> Any:
    """A unit that owes nothing and wakes the runners."""
    return store.unit(ACT, lambda unit: unit.announce(TOPIC))


async def nothing(_: object) -> Outcome:
    """A handler that has nothing to do."""
    return Done()


class Tries:
    """A handler that tells who was tried and holds everybody at a gate."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.tried: list[int] = []
        self.cancelled: list[int] = []
        self.now: set[int] = set()
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()

    async def __call__(self, job: Any) -> Outcome:
        n = job.payload.n
        self.tried.append(n)
        self.now.add(n)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(n)
            raise
        finally:
            self.now.discard(n)
        return Done()


def registry(handlers: dict[Kind[Number], Handler], known: Iterable[Kind[Number]] = ()) -> Registry:
    return Registry([*handlers, *known], handlers)


@asynccontextmanager
async def running(
    store: Store, clock: Any, handlers: dict[Kind[Number], Handler], **more: Any
) -> AsyncIterator[Runner]:
    """A runner, started, and stopped in the end without waiting for anybody."""
    known = more.pop("known", ())
    more.setdefault("drain_seconds", 0.0)
    runner = Runner(store, registry(handlers, known), clock, **more)
    await runner.start()
    try:
        yield runner
    finally:
        await runner.stop()
