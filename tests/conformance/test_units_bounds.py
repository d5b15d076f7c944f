"""The bounds of units and reads, on both engines: how many may wait, how long one may take, and what a close does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core.clock import SystemClock
from holdfast.core.errors import (
    DuplicateRow,
    StoreBusy,
    StoreClosed,
    UnitTooLong,
)
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Store, Unit
from holdfast.core.store.sql import query
from holding import HELD, LIMIT, Held, adds, log, names
from testpack import ACT, SQL

if TYPE_CHECKING:
    from conftest import StoreMaker

ENDLESS = query(
    "endless", sqlite="WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS count FROM n"
)
NO_TABLE = query("no_table", sqlite="INSERT INTO nowhere (id) VALUES (:id)")
UNTITLED = query("untitled", sqlite="INSERT INTO things (id, title, size) VALUES (:id, NULL, 1)")
ADD_AND_TELL = query(
    "add_and_tell", sqlite="INSERT INTO things (id, title, size) VALUES (:id, 'told', 1) RETURNING id, title, size"
)


@pytest.mark.guards(
    "what waits for the store is bounded: one more is told that the store is busy, and nothing of it is written",
    against="a queue without an end eats the memory of a daemon whose disk is slow",
    breaks=("sqlite-endless-queue",),
)
async def test_a_full_queue_says_busy(make_store: StoreMaker) -> None:
    store = await make_store(options=StoreOptions(writers=1, queue=5, unit_seconds=LIMIT))
    async with Held(store, 1):
        asked = [asyncio.ensure_future(store.unit(ACT, adds(f"u{n:02}"))) for n in range(20)]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, StoreBusy)]
    taken = [f"u{n:02}" for n, outcome in enumerate(outcomes) if outcome == 1]
    assert 4 <= len(taken) <= 6
    assert len(refused) == 20 - len(taken)
    assert await names(store) == taken
    await store.unit(ACT, adds("later"))


class Pushed(SystemClock):
    """The machine's clock, which a test can push forward from any thread."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@pytest.mark.guards(
    "a unit of work that takes too long is stopped and undone, and its neighbours commit",
    against="one endless statement holds every writer of the daemon",
    breaks=("sqlite-endless-unit",),
)
@pytest.mark.parametrize("wrote", [False, True])
async def test_an_endless_unit_is_stopped(make_store: StoreMaker, wrote: bool) -> None:
    store = await make_store(options=StoreOptions(writers=1, unit_seconds=0.3))

    def endless(unit: Unit) -> None:
        if wrote:
            adds("gone")(unit)
        unit.all(ENDLESS)

    asked = [asyncio.ensure_future(store.unit(ACT, work)) for work in (adds("a"), endless, adds("b"))]
    outcomes = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 6.0)
    assert isinstance(outcomes[1], UnitTooLong)
    assert [outcomes[0], outcomes[2]] == [1, 1]
    assert await names(store) == ["a", "b"]


@pytest.mark.guards(
    "a unit that dawdles outside the store past its time is undone, and its neighbours commit",
    against="a unit that computes for a minute holds its group's commit and is acknowledged all the same",
    breaks=("sqlite-dawdling-unit-commits",),
)
async def test_a_unit_that_dawdles_in_python_is_undone_too(make_store: StoreMaker) -> None:
    clock = Pushed()
    store = await make_store(clock=clock, options=StoreOptions(writers=1, unit_seconds=60.0))

    def dawdling(unit: Unit) -> None:
        adds("gone")(unit)
        clock.ahead += 61.0

    asked = [asyncio.ensure_future(store.unit(ACT, work)) for work in (adds("a"), dawdling, adds("b"))]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(outcomes[1], UnitTooLong)
    assert await names(store) == ["a", "b"]


async def test_an_endless_read_is_stopped(make_store: StoreMaker) -> None:
    store = await make_store(options=StoreOptions(readers=1, read_seconds=0.3))
    with pytest.raises(UnitTooLong):
        await asyncio.wait_for(store.read(lambda reader: reader.all(ENDLESS)), LIMIT)
    assert await names(store) == []


async def test_listeners_hear_of_commits_that_wrote_and_of_no_others(store: Store) -> None:
    heard = asyncio.Event()
    store.on_commit(heard.set)
    with pytest.raises(DuplicateRow):
        await store.unit(ACT, adds("a", "a"))
    await store.unit(ACT, lambda unit: unit.all(SQL.things))
    await store.read(lambda reader: reader.all(SQL.things))
    await asyncio.sleep(0)
    assert not heard.is_set()
    await store.unit(ACT, adds("a"))
    await asyncio.wait_for(heard.wait(), LIMIT)


async def test_the_position_grows_with_every_write_and_survives_a_restart(make_store: StoreMaker) -> None:
    place = make_store.place()
    store: Any = await make_store(at=place)
    seen = [store.position()]
    for name in ("a", "b"):
        await store.unit(ACT, adds(name))
        seen.append(store.position())
    await store.unit(ACT, lambda unit: unit.all(SQL.things))
    assert store.position() == seen[2]
    assert seen[0].writes < seen[1].writes < seen[2].writes
    assert (await log(store))[-1]["seq"] == seen[2].seq
    await store.close()
    again: Any = await make_store(at=place)
    assert again.position().writes >= seen[2].writes
    assert again.position().seq >= seen[2].seq


@pytest.mark.guards(
    "closing finishes what was queued, refuses what comes after, and can be done twice",
    against="a daemon that stops drops the writes it had taken, or hangs on them",
    breaks=("sqlite-close-drops-the-queue",),
)
async def test_closing_finishes_what_was_queued(make_store: StoreMaker) -> None:
    place = make_store.place()
    store = await make_store(at=place, options=HELD)
    async with Held(store, 1) as held:
        asked = [asyncio.ensure_future(store.unit(ACT, adds(f"u{n}"))) for n in range(5)]
        await asyncio.sleep(0)
        closing = asyncio.gather(store.close(), store.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreClosed):
            await store.unit(ACT, adds("late"))
        with pytest.raises(StoreClosed):
            await store.read(lambda reader: reader.all(SQL.things))
        held.open()
        assert await asyncio.wait_for(asyncio.gather(*asked), 5.0) == [1] * 5
        await asyncio.wait_for(closing, LIMIT)
    await store.close()
    assert await names(await make_store(at=place)) == [f"u{n}" for n in range(5)]
