"""Retention on both engines: from the old end, by age and count, never past a live cursor."""

from __future__ import annotations

from datetime import timedelta

import pytest

from conftest import StoreMaker
from holdfast.core import faults
from holdfast.core.changes import log
from holdfast.core.changes.feed import Feed
from holdfast.core.changes.retention import CHUNK_REMOVED, Keep, Retention
from holdfast.core.store.port import Store
from manual_clock import ManualClock
from testpack import ACT, SQL

DAY = 86_400.0


async def grow(store: Store, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await store.unit(ACT, lambda u, n=number: u.run(SQL.add_plain_thing, id=f"t{n}", title="x", size=n))


async def left(store: Store) -> list[int]:
    page = await store.read(lambda r: log.page(r, after=0, upto=1 << 60, limit=10_000))
    return [change.seq for change in page]


async def begun(store: Store, clock: ManualClock, keep: Keep) -> Retention:
    feed = Feed(store, clock)
    await feed.start()
    newest = (await store.read(log.bounds)).newest
    assert await feed.advanced(newest - 1) == newest
    return Retention(store, feed, clock, keep)


async def test_what_is_too_old_goes_in_chunks_and_the_rest_stays(make_store: StoreMaker, clock: ManualClock) -> None:
    store = await make_store(clock=clock)
    await grow(store, 1, 7)
    clock.advance(2 * DAY)
    await grow(store, 8, 9)
    retention = await begun(store, clock, Keep(age=timedelta(days=1), chunk=3))
    chunks: list[int] = []
    with faults.armed(CHUNK_REMOVED, lambda: chunks.append(1), nth=3):
        assert await retention.thin_out() == 7
    assert chunks == [1], "seven rows are three chunks of three"
    assert await left(store) == [8, 9]
    assert await store.read(log.bounds) == (8, 9)
    assert retention._feed.oldest == 8
    assert await retention.thin_out() == 0
    await retention._feed.stop()


async def test_what_is_beyond_the_count_goes_though_it_is_young(make_store: StoreMaker, clock: ManualClock) -> None:
    store = await make_store(clock=clock)
    await grow(store, 1, 9)
    retention = await begun(store, clock, Keep(count=4))
    await retention.thin_out()
    assert await left(store) == [6, 7, 8, 9]
    await retention._feed.stop()


async def test_the_newest_change_stays_and_numbers_are_never_used_again(
    make_store: StoreMaker, clock: ManualClock
) -> None:
    store = await make_store(clock=clock)
    await grow(store, 1, 3)
    clock.advance(90 * DAY)
    retention = await begun(store, clock, Keep())
    await retention.thin_out()
    assert await left(store) == [3]
    await grow(store, 4, 4)
    assert await left(store) == [3, 4]
    await retention._feed.stop()


@pytest.mark.guards(
    "Retention never removes what a live cursor of ours still needs.",
    against="A consumer of ours that slept for a day and silently misses changes.",
    breaks=("retention-ignores-cursors",),
)
async def test_what_a_live_cursor_still_needs_stays_and_a_dead_one_holds_nothing(
    make_store: StoreMaker, clock: ManualClock
) -> None:
    store = await make_store(clock=clock)
    await grow(store, 1, 6)
    clock.advance(60 * DAY)
    await store.unit(ACT, lambda u: log.move_cursor(u, "runner", 2))
    await store.unit(ACT, lambda u: log.move_cursor(u, "mailer", 4))
    retention = await begun(store, clock, Keep())
    await retention.thin_out()
    assert await left(store) == [3, 4, 5, 6]
    await store.unit(ACT, lambda u: log.move_cursor(u, "runner", 5))
    await retention.thin_out()
    assert await left(store) == [5, 6]
    assert await store.read(lambda r: log.cursor(r, "runner")) == 5
    clock.advance(8 * DAY)
    await grow(store, 7, 7)
    assert await retention._store.read(lambda r: log.cursor(r, "mailer")) == 4
    clock.advance(60 * DAY)
    await retention._feed.advanced(6)
    await retention.thin_out()
    assert await left(store) == [7], "neither has moved for a week"
    await retention._feed.stop()


async def test_a_forgotten_cursor_holds_nothing(make_store: StoreMaker, clock: ManualClock) -> None:
    store = await make_store(clock=clock)
    await grow(store, 1, 5)
    await store.unit(ACT, lambda u: log.move_cursor(u, "runner", 1))
    retention = await begun(store, clock, Keep(count=2))
    await retention.thin_out()
    assert await left(store) == [2, 3, 4, 5]
    await store.unit(ACT, lambda u: log.drop_cursor(u, "runner"))
    await retention.thin_out()
    assert await left(store) == [4, 5]
    await retention._feed.stop()


async def test_the_service_thins_out_at_its_start_and_every_hour(make_store: StoreMaker, clock: ManualClock) -> None:
    store = await make_store(clock=clock)
    await grow(store, 1, 5)
    retention = await begun(store, clock, Keep(count=2, every_seconds=3600))
    await retention.start()
    await retention.start()
    await slept(retention, clock)
    assert await left(store) == [4, 5]
    await grow(store, 6, 6)
    await retention._feed.advanced(5)
    clock.advance(3600)
    await slept(retention, clock)
    assert await left(store) == [5, 6]
    await retention.stop()
    await retention.stop()
    await retention._feed.stop()


async def slept(retention: Retention, clock: ManualClock) -> None:
    """Until the service sleeps."""
    import asyncio

    async with asyncio.timeout(10):
        while not clock.sleeping:
            await asyncio.sleep(0)
