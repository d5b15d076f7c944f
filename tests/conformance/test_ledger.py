"""The ledger on both engines: thinned out by age and by count, and nothing else with it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from holdfast.core.pack import Means
from holdfast.core.propagation import upkeep
from holdfast.core.propagation.backfill import BACKFILL
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.ledger import HOURLY, PRUNE, Keep, Prune, pruner
from holdfast.core.propagation.outcome import Done
from holdfast.core.propagation.queue import Enqueued, enqueue
from holdfast.core.propagation.recurring import Recurrences
from holdfast.core.propagation.schedule import STANDARD
from holdfast.core.store.sql import query
from holdfast.settings import Settings
from manual_clock import ManualClock
from testpack import ACT
from upkept import HOT, PACKS, finished, hot, ledger, opened, running, when

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Store

DAY = 86_400.0
CHANGES = query(
    "changes", sqlite="SELECT entity_id, event, cause FROM change_log WHERE entity = 'propagation' ORDER BY seq"
)


class Note(msgspec.Struct, frozen=True):
    """What the effects of these tests are about."""

    n: int = 0


def kind(name: str, **declared: Any) -> Kind[Note]:
    return Kind(name=name, doc="A note.", payload=Note, schedule=STANDARD, **declared)


NOTE, ONCE = kind("test.note", batch=50), kind("test.once", unique="forever")
DIES, WAITS = kind("test.dies", max_attempts=1), kind("test.waits")


async def done(_: Job[Note]) -> Done:
    return Done()


async def fails(_: Job[Note]) -> Done:
    raise LookupError("on purpose")


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await opened(make_store, clock)


async def finish(store: Store, clock: ManualClock, first: int, last: int) -> None:
    """Effects that are done now, with these numbers as keys."""
    before = len(await ledger(store))

    def work(unit: Any) -> None:
        for number in range(first, last + 1):
            enqueue(unit, NOTE, Note(number), key=str(number))

    await store.unit(ACT, work)
    async with running(store, clock, {NOTE: done}):
        await when(store, finished(before + last - first + 1))


async def prune(store: Store, clock: ManualClock, keep: Keep, timer: ManualClock | None = None) -> list[Any]:
    """What the pruner's calls came to until it was done."""
    outcomes: list[Any] = []
    over = asyncio.Event()
    handler = pruner(keep, store, timer or clock)

    async def watched(job: Job[Prune]) -> Any:
        outcomes.append(outcome := await handler(job))
        if isinstance(outcome, Done):
            over.set()
        return outcome

    await store.unit(ACT, lambda unit: enqueue(unit, PRUNE, Prune(), key=HOURLY.name))
    async with running(store, clock, {PRUNE: watched}):
        await asyncio.wait_for(over.wait(), 30)
    return outcomes


async def notes(store: Store) -> list[int]:
    return [int(row["key"]) for row in await ledger(store) if row["kind"] == NOTE.name]


@pytest.mark.guards(
    "Finished effects are kept for as long as the settings say and no longer.",
    against="A ledger that grows for ever, or one whose last hour is gone when somebody asks what happened.",
    breaks=("ledger-keeps-the-old", "ledger-removes-the-young"),
)
async def test_what_is_too_old_goes_and_the_rest_stays(store: Store, clock: ManualClock) -> None:
    await finish(store, clock, 1, 7)
    clock.advance(DAY)
    await finish(store, clock, 8, 9)
    await prune(store, clock, Keep(age=timedelta(days=1)))
    assert await notes(store) == [1, 2, 3, 4, 5, 6, 7, 8, 9], "a day old is not older than a day"
    clock.advance(1)
    await prune(store, clock, Keep(age=timedelta(days=1)))
    assert await notes(store) == [8, 9]


@pytest.mark.guards(
    "No more finished effects are kept than the settings say, the newest of them.",
    against="A busy day fills the disk long before it is thirty days old.",
    breaks=("ledger-does-not-count",),
)
async def test_what_is_beyond_the_count_goes_though_it_is_young(store: Store, clock: ManualClock) -> None:
    await finish(store, clock, 1, 4)
    clock.advance(60)
    await finish(store, clock, 5, 9)
    await prune(store, clock, Keep(rows=6))
    assert await notes(store) == [4, 5, 6, 7, 8, 9]
    await prune(store, clock, Keep(rows=7))
    assert await notes(store) == [4, 5, 6, 7, 8, 9], "with the pruner's own row these are seven"


@pytest.mark.guards(
    "The ledger is thinned out in many small units, and within half of the time of its kind.",
    against="One delete of a million rows, behind which every other unit of work waits until it is refused.",
    breaks=("ledger-removes-all-at-once", "ledger-never-yields"),
)
async def test_it_goes_in_chunks_and_gives_its_place_back_when_half_of_its_time_is_over(
    store: Store, clock: ManualClock
) -> None:
    class Hasty(ManualClock):
        def monotonic(self) -> float:
            self._steady += 6.0
            return self._steady

    await finish(store, clock, 1, 40)
    clock.advance(31 * DAY)
    outcomes = await prune(store, clock, Keep(chunk=7), Hasty(clock.now()))
    assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["more", "more", "more", None]
    assert await notes(store) == []
    events = await store.read(lambda reader: reader.all(CHANGES))
    removed = [event for event in events if event["event"] == "propagation_removed"]
    assert len(removed) == 40
    assert {event["cause"] for event in removed} == {"propagation:41"}


@pytest.mark.guards(
    "A key that is unique for ever is so after the ledger was pruned.",
    against="A welcome that is sent once more, a month later, because the row that knew of the first one is gone.",
    breaks=("ledger-forgets-keys",),
)
async def test_unique_for_ever_holds_after_the_ledger_was_pruned(
    store: Store, make_store: StoreMaker, clock: ManualClock
) -> None:
    def once(unit: Any) -> Enqueued:
        return enqueue(unit, ONCE, Note(), key="welcome")

    first = await store.unit(ACT, once)
    assert first.new
    async with running(store, clock, {ONCE: done}):
        await when(store, finished(1))
    clock.advance(400 * DAY)
    await prune(store, clock, Keep())
    assert [row["kind"] for row in await ledger(store)] == [PRUNE.name], "nothing is left of it but its key"
    place = make_store.place_of(store)
    await store.close()
    store = await opened(make_store, clock, place)
    assert await store.unit(ACT, once) == Enqueued(first.id, new=False)
    assert await hot(store) == []


@pytest.mark.guards(
    "What is owed, waits or is dead is never removed by age or by count.",
    against="Effects that failed for good and that nobody ever hears of.",
    breaks=("ledger-removes-the-dead",),
)
async def test_what_is_dead_or_still_owed_stays_however_old_it_is(store: Store, clock: ManualClock) -> None:
    for each in (DIES, WAITS):
        await store.unit(ACT, lambda unit, each=each: enqueue(unit, each, Note()))
    async with running(store, clock, {DIES: fails}):
        await when(store, lambda reader: any(row["state"] == "dead" for row in reader.all(HOT)))
    clock.advance(4_000 * DAY)
    await prune(store, clock, Keep(rows=0))
    assert [(row["kind"], row["state"]) for row in await hot(store)] == [
        ("test.dies", "dead"),
        ("test.waits", "pending"),
    ]


async def test_the_settings_say_how_much_is_kept(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    env = {"HOLDFAST_PROPAGATION_KEEP_DAYS": "0.5", "HOLDFAST_PROPAGATION_KEEP_ROWS": "1000"}
    means = Means(store, clock, Settings.load(tmp_path, env=env), PACKS)
    await finish(store, clock, 1, 3)
    clock.advance(DAY / 2 + 1)
    await finish(store, clock, 4, 1_010)
    handlers = upkeep.handlers(means)
    assert set(handlers) == set(upkeep.KINDS) == {BACKFILL, PRUNE}
    await Recurrences(store, upkeep.RECURRING, clock).keep_up()
    async with running(store, clock, handlers):
        await when(store, lambda reader: not reader.all(HOT))
    assert await notes(store) == list(range(11, 1_011))
    (own,) = [row for row in await ledger(store) if row["kind"] == PRUNE.name]
    assert (own["key"], json.loads(own["payload"]), own["state"]) == ("core.prune", {}, "done")
