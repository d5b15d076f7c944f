"""On SQLite an idle runner executes nothing, whatever is owed for later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import apsw
import pytest

from crash.propagating.owing import (
    PACKS,
    Tries,
    kind,
    owe,
    running,
    soon,
)
from holdfast.core.clock import SYSTEM
from holdfast.core.propagation.keeper import SWEEP_SECONDS
from holdfast.core.propagation.queue import enqueue
from holdfast.core.store.port import Store
from manual_clock import ManualClock
from testpack import ACT

if TYPE_CHECKING:
    from conftest import StoreMaker

ONE = kind()
sqlite_only = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
OTHER = kind("test.other")


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await make_store(packs=PACKS, clock=clock)


class Watch:
    """Sees every statement of every connection opened while it is on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.executed = asyncio.Event()
        self.statements: list[str] = []

    def __call__(self, connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, self.traced)

    def traced(self, event: dict[str, str]) -> None:
        self.statements.append(event["sql"])
        self.loop.call_soon_threadsafe(self.executed.set)


@pytest.fixture
async def watch() -> Iterator[Watch]:
    watch = Watch(asyncio.get_running_loop())
    apsw.connection_hooks.append(watch)
    yield watch
    apsw.connection_hooks.remove(watch)


@sqlite_only
@pytest.mark.slow
@pytest.mark.guards(
    "A runner on SQLite that has nothing to do executes no statement, also when something is due one day.",
    against="Polling that keeps a core and a disk awake.",
    breaks=("propagation-polls-while-idle",),
)
async def test_an_idle_runner_executes_no_statement(make_store: StoreMaker, watch: Watch) -> None:
    store = await make_store(packs=PACKS)
    far = SYSTEM.now() + timedelta(days=7)
    tries = Tries(is_open=True)
    async with running(store, SYSTEM, {ONE: tries}) as runner:
        await owe(store, ONE, 1)
        await soon(lambda: tries.tried)
        await store.unit(ACT, lambda unit: enqueue(unit, ONE, ONE.payload(2), at=far))
        await soon(lambda: not runner.under_way)
        await runner._keeper.sweep()
        quiet = False
        while not quiet:  # what the last write set off: half a second without a statement
            watch.executed.clear()
            watch.statements.clear()
            try:
                await asyncio.wait_for(watch.executed.wait(), 0.5)
            except TimeoutError:
                quiet = True
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.executed.wait(), SWEEP_SECONDS + 1.0)
        assert watch.statements == []
        await owe(store, ONE, 3)  # and it is awake at once
        await soon(lambda: tries.tried == [1, 3])
