"""Backfills on both engines: in chunks, each of them once, going on where the last commit was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from holdfast.core import faults
from holdfast.core.errors import UnitTooLong
from holdfast.core.pack import Pack
from holdfast.core.propagation.backfill import BACKFILL, FILLED, Backfill, Chunk, by_name, filler, owe_backfills
from holdfast.core.store.sql import query
from manual_clock import ManualClock
from opened import postgres_only, sqlite_only
from testpack import ACT, SQL
from upkept import HOT, LIMIT, again, finished, hot, ledger, nothing_owed, opened, running, when

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.kinds import Handler
    from holdfast.core.propagation.outcome import Outcome
    from holdfast.core.store.port import Reader, Store, Unit

ROWS, CHUNK = 10_000, 500
AFTER = query("after", sqlite="SELECT id FROM things WHERE id > :after ORDER BY id LIMIT :limit")
GROW = query("grow", sqlite="UPDATE things SET size = size + 1 WHERE id > :after AND id <= :last")
SIZES = query("sizes", sqlite="SELECT size, count(*) AS rows FROM things GROUP BY size")
CHANGES = query("changes", sqlite="SELECT payload FROM change_log WHERE entity = 'propagation' ORDER BY seq")
MINUTES = 300.0


def grow(unit: Unit, cursor: str | None, limit: int) -> Chunk:
    """Adds one to the size of so many things."""
    ids = [row["id"] for row in unit.all(AFTER, after=cursor or "", limit=limit)]
    if not ids:
        return Chunk(None, 0)
    unit.run(GROW, after=cursor or "", last=ids[-1])
    return Chunk(ids[-1] if len(ids) == limit else None, len(ids))


def count(reader: Reader) -> int:
    row = reader.one(SQL.count_things)
    assert row is not None
    return int(row["count"])


GROWING = Backfill("things.grown", "Every thing is larger by one.", grow, total=count, rows_per_chunk=CHUNK)


def pack(*backfills: Backfill) -> tuple[Pack, ...]:
    return (Pack("filled", "testpack", backfills=backfills or (GROWING,)),)


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await opened(make_store, clock)


async def fill(store: Store, rows: int = ROWS) -> None:
    for start in range(0, rows, 1_000):
        things = [{"id": f"t{number:05}", "title": "a", "size": 0} for number in range(start, min(start + 1_000, rows))]
        await store.unit(ACT, lambda unit, things=things: unit.many(SQL.add_plain_thing, things))


async def owe(store: Store, packs: tuple[Pack, ...]) -> None:
    await store.unit(ACT, lambda unit: owe_backfills(unit, packs))


def doing(store: Store, clock: ManualClock, packs: tuple[Pack, ...]) -> dict[Any, Any]:
    return {BACKFILL: filler(by_name(packs), store, clock)}


async def sizes(store: Store) -> dict[int, int]:
    return {row["size"]: row["rows"] for row in await store.read(lambda reader: reader.all(SIZES))}


def state(wanted: str) -> Callable[[Reader], bool]:
    """Whether the one row is in this state, nobody doing it."""
    return lambda reader: [(row["state"], row["claim"]) for row in reader.all(HOT)] == [(wanted, None)]


def failed(reader: Reader) -> bool:
    return [row["attempts"] for row in reader.all(HOT) if row["claim"] is None] == [1]


async def test_ten_thousand_rows_are_done_once_each_in_chunks_that_people_see(store: Store, clock: ManualClock) -> None:
    await fill(store)
    await owe(store, pack())
    assert (await hot(store))[0]["progress"] is None
    async with running(store, clock, doing(store, clock, pack())):
        await when(store, finished(1))
    assert await sizes(store) == {1: ROWS}
    (row,) = await ledger(store)
    assert (row["kind"], row["key"], row["state"]) == ("core.backfill", "things.grown", "done")
    assert json.loads(row["progress"]) == {"cursor": None, "done": ROWS, "total": ROWS}
    told = [json.loads(change["payload"])["progress"] for change in await store.read(lambda r: r.all(CHANGES))]
    done = [progress["done"] for progress in told if progress is not None]
    assert sorted(set(done)) == list(range(CHUNK, ROWS + 1, CHUNK))


@pytest.mark.guards(
    "A backfill is done once in the life of a store, however often the daemon starts.",
    against="Every start does it all again.",
    breaks=("backfill-is-owed-at-every-start",),
)
async def test_it_is_owed_once_in_the_life_of_a_store(store: Store, make_store: StoreMaker, clock: ManualClock) -> None:
    await fill(store, 10)
    for _ in range(2):
        await owe(store, pack())
        await owe(store, pack())
        async with running(store, clock, doing(store, clock, pack())):
            await when(store, finished(1))
            await when(store, nothing_owed)
        store = await again(make_store, clock, store)
    assert await sizes(store) == {1: 10}
    assert len(await ledger(store)) == 1


@pytest.mark.guards(
    "A backfill that fails between two chunks goes on after the last chunk that was committed, and does none twice.",
    against="A backfill that begins anew after each failure: it never ends, and what it adds it adds again.",
    breaks=("backfill-forgets-how-far-it-came", "backfill-notes-afterwards", "backfill-begins-anew-at-its-end"),
)
@pytest.mark.parametrize("nth", [1, 7, 21])  # the last of them finds nothing more to do
async def test_a_failure_between_chunks_is_tried_again_from_the_last_commit(
    store: Store, clock: ManualClock, nth: int
) -> None:
    await fill(store)
    await owe(store, pack())
    async with running(store, clock, doing(store, clock, pack())):
        with faults.armed(FILLED, faults.raising(faults.FaultRaisedError("on purpose")), nth=nth):
            await when(store, failed)
        far = min(nth * CHUNK, ROWS)
        assert json.loads((await hot(store))[0]["progress"])["done"] == far
        assert await sizes(store) == {size: rows for size, rows in ((0, ROWS - far), (1, far)) if rows}
    clock.advance(MINUTES)
    async with running(store, clock, doing(store, clock, pack())):
        await when(store, finished(1))
    assert await sizes(store) == {1: ROWS}
    assert json.loads((await ledger(store))[0]["progress"])["done"] == ROWS


@pytest.mark.guards(
    "A chunk and the note of how far it came are one unit of work: a chunk that fails half-way leaves neither.",
    against="Rows that are done twice, or never, because the cursor and the rows do not agree.",
    breaks=("backfill-forgets-how-far-it-came",),
)
async def test_a_chunk_that_fails_half_way_leaves_nothing(store: Store, clock: ManualClock) -> None:
    calls: list[str | None] = []

    def fails_once(unit: Unit, cursor: str | None, limit: int) -> Chunk:
        chunk = grow(unit, cursor, limit)
        calls.append(cursor)
        if len(calls) == 3:
            raise LookupError("in the middle of a chunk")
        return chunk

    await fill(store, 2_000)
    packs = pack(replace(GROWING, chunk=fails_once))
    await owe(store, packs)
    async with running(store, clock, doing(store, clock, packs)):
        await when(store, failed)
        assert await sizes(store) == {0: 1_000, 1: 1_000}
        (row,) = await hot(store)
        assert json.loads(row["progress"]) == {"cursor": "t00999", "done": 1_000, "total": 2_000}
        assert "in the middle of a chunk" in row["error"]
    clock.advance(MINUTES)
    async with running(store, clock, doing(store, clock, packs)):
        await when(store, finished(1))
    assert await sizes(store) == {1: 2_000}
    assert calls[2] == calls[3] == "t00999"


@sqlite_only
async def test_a_process_that_ends_between_chunks_leaves_the_rest_to_the_next_one(
    store: Store, make_store: StoreMaker, clock: ManualClock
) -> None:
    reached = asyncio.Event()
    await fill(store, 4_000)
    await owe(store, pack())
    with faults.armed(FILLED, reached.set, nth=3):
        async with running(store, clock, doing(store, clock, pack()), drain=0.0):
            await asyncio.wait_for(reached.wait(), LIMIT)
    store = await again(make_store, clock, store)
    assert (await sizes(store))[1] in {1_500, 2_000}, "it was broken off, at most in the middle of the next chunk"
    async with running(store, clock, doing(store, clock, pack())):
        await when(store, finished(1))
    assert await sizes(store) == {1: 4_000}
    assert json.loads((await ledger(store))[0]["progress"]) == {"cursor": None, "done": 4_000, "total": 4_000}


class HastyClock(ManualClock):
    """A manual clock of which each look takes six seconds."""

    def monotonic(self) -> float:
        self._steady += 6.0
        return self._steady


@pytest.mark.guards(
    "A backfill gives its place back when half of its time is over, long before it would be cancelled.",
    against="A backfill of an hour that is cancelled for its length again and again until it is dead.",
    breaks=("backfill-never-yields",),
)
async def test_it_gives_its_place_back_when_half_of_its_time_is_over(store: Store, clock: ManualClock) -> None:
    await fill(store, 4_000)
    await owe(store, pack())
    calls: list[object] = []
    handler = filler(by_name(pack()), store, HastyClock())

    async def counted(job: Any) -> Any:
        calls.append(outcome := await handler(job))
        return outcome

    async with running(store, clock, {BACKFILL: counted}):
        await when(store, finished(1))
    assert [getattr(outcome, "reason", "") for outcome in calls] == ["more"] * 4 + [""], "two chunks a time"
    assert await sizes(store) == {1: 4_000}
    (row,) = await ledger(store)
    assert (row["attempts"], row["starts"]) == (0, 0)


async def test_one_that_this_version_does_not_have_waits_for_one_that_has_it(store: Store, clock: ManualClock) -> None:
    await fill(store, 10)
    await owe(store, pack())
    async with running(store, clock, doing(store, clock, ())):
        await when(store, state("waiting"))
    assert "this version has no backfill 'things.grown'" in (await hot(store))[0]["reason"]
    await owe(store, pack())
    async with running(store, clock, doing(store, clock, pack())):
        await when(store, finished(1))
    assert await sizes(store) == {1: 10}


async def test_one_that_does_not_get_on_is_a_failure_that_says_so(store: Store, clock: ManualClock) -> None:
    packs = pack(replace(GROWING, chunk=lambda *_: Chunk("here", 0)))
    await owe(store, packs)
    async with running(store, clock, doing(store, clock, packs)):
        await when(store, failed)
    assert "did not get past 'here'" in (await hot(store))[0]["error"]


async def test_a_total_that_takes_too_long_keeps_nobody_from_the_work(store: Store, clock: ManualClock) -> None:
    def endless(_: Reader) -> int:
        raise UnitTooLong("it ran past its time and was stopped")

    await fill(store, 10)
    packs = pack(replace(GROWING, total=endless), replace(GROWING, name="things.grown.again", total=None))
    await owe(store, packs)
    async with running(store, clock, doing(store, clock, packs)):
        await when(store, finished(2))
    assert await sizes(store) == {2: 10}
    progress = {"cursor": None, "done": 10, "total": None}
    assert [json.loads(row["progress"]) for row in await ledger(store)] == [progress] * 2


class Watched:
    """A handler that tells when it has ended, in whatever way."""

    def __init__(self, handler: Handler) -> None:
        self.ended = asyncio.Event()
        self._handler = handler

    async def __call__(self, job: Job[Any]) -> Outcome:
        try:
            return await self._handler(job)
        finally:
            self.ended.set()


@postgres_only
@pytest.mark.guards(
    "A chunk commits only while the lease is held.",
    against="A process that was stopped past its lease does a chunk that its successor has done.",
    breaks=("backfill-does-without-its-lease",),
)
async def test_a_process_that_lost_its_lease_between_chunks_does_no_more(
    store: Store, make_store: StoreMaker, clock: ManualClock
) -> None:
    doer = Watched(filler(by_name(pack()), store, clock))

    def take() -> None:
        with psycopg.connect(str(make_store.place_of(store).url), autocommit=True) as admin:
            admin.execute("UPDATE propagations SET claim = 'other.1' WHERE claim IS NOT NULL")

    await fill(store, 2_000)
    await owe(store, pack())
    with faults.armed(FILLED, take, nth=2):
        async with running(store, clock, {BACKFILL: doer}):
            await asyncio.wait_for(doer.ended.wait(), LIMIT)
    assert await sizes(store) == {0: 1_000, 1: 1_000}
    assert [row["claim"] for row in await hot(store)] == ["other.1"]


def test_declarations_that_could_not_be_kept_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a name of words"):
        replace(GROWING, name="Things grown")
    with pytest.raises(ValueError, match="must do 1 at least"):
        replace(GROWING, rows_per_chunk=0)
    with pytest.raises(ValueError, match="registered twice"):
        by_name((*pack(), *pack()))
