"""Recurring work on both engines: owed once in every window, by however many processes, across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import apsw
import msgspec
import pytest

from holdfast.core import faults
from holdfast.core.errors import StoreBusy
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.outcome import Done
from holdfast.core.propagation.queue import ENQUEUED
from holdfast.core.propagation.recurring import LONGEST_SLEEP, Recurrences, Recurring
from holdfast.core.propagation.schedule import STANDARD
from holdfast.core.store.sql import query
from manual_clock import ManualClock
from opened import postgres_only, sqlite_only
from testpack import ACT
from upkept import LIMIT, again, beside, finished, hot, opened, running, when

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Store

HOUR, DAY = 3_600, 86_400
HOLD = query("hold", sqlite="INSERT INTO store_meta (name, value) VALUES ('effects_held_at', :at)")


class Sweep(msgspec.Struct, frozen=True):
    """What the recurring work of these tests is about."""

    room: str = "hall"


def kind(**declared: Any) -> Kind[Sweep]:
    return Kind(**{"name": "test.sweep", "doc": "Sweeps.", "payload": Sweep, "schedule": STANDARD, **declared})


KIND = kind()
HOURLY = Recurring("sweeping", "Sweeps the hall.", HOUR, KIND, Sweep())


class WallClock(ManualClock):
    """A manual clock whose wall clock can be moved alone."""

    def jump(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> WallClock:
    return WallClock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.fixture
async def store(make_store: StoreMaker, clock: WallClock) -> Store:
    return await opened(make_store, clock)


def window(clock: ManualClock, interval: int = HOUR) -> int:
    return int(clock.now().timestamp() // interval)


async def keys(store: Store) -> list[str]:
    return [row["key"] for row in await hot(store)]


async def asleep(clock: ManualClock) -> None:
    """Until the service has nothing to do."""
    async with asyncio.timeout(LIMIT):
        while not clock.sleeping:
            await asyncio.sleep(0)


@asynccontextmanager
async def started(store: Store, clock: ManualClock, *recurring: Recurring) -> AsyncIterator[Recurrences]:
    service = Recurrences(store, recurring or (HOURLY,), clock)
    await service.start()
    await service.start()
    await asleep(clock)
    yield service
    await service.stop()
    await service.stop()


async def test_every_window_owes_its_effect_once_however_often_it_is_looked_at(store: Store, clock: WallClock) -> None:
    first = window(clock)
    async with started(store, clock):
        for _ in range(2 * HOUR // 60):
            clock.advance(60)
            await asleep(clock)
    assert await keys(store) == [f"sweeping:{first + number}" for number in range(3)]
    assert [row["payload"] for row in await hot(store)] == ['{"room":"hall"}'] * 3


@pytest.mark.guards(
    "A restart in a window in which recurring work was owed does not owe it again.",
    against="A daemon that is restarted ten times in an hour does its hourly work ten times.",
    breaks=("recurring-windows-run-again", "recurring-forgets-what-ran"),
)
async def test_a_restart_in_the_same_window_owes_nothing_and_in_the_next_one_it_does(
    store: Store, make_store: StoreMaker, clock: WallClock
) -> None:
    first = window(clock)
    for _ in range(3):
        async with started(store, clock):
            pass
        store = await again(make_store, clock, store)
    assert await keys(store) == [f"sweeping:{first}"]
    clock.advance(HOUR)
    async with started(store, clock):
        pass
    assert await keys(store) == [f"sweeping:{first}", f"sweeping:{first + 1}"]


async def test_windows_that_nobody_was_there_for_are_not_made_up_for(store: Store, clock: WallClock) -> None:
    first = window(clock)
    async with started(store, clock):
        pass
    clock.advance(30 * DAY)
    async with started(store, clock):
        pass
    assert await keys(store) == [f"sweeping:{first}", f"sweeping:{first + 30 * 24}"]


@postgres_only
@pytest.mark.guards(
    "Two processes that find the same window at the same time owe its effect once.",
    against="Every report is sent once by each worker.",
    breaks=("recurring-is-not-serialised",),
)
async def test_two_processes_that_find_the_same_window_at_once_owe_it_once(
    store: Store, make_store: StoreMaker, clock: WallClock
) -> None:
    other = await beside(make_store, clock, store)
    one, two = (Recurrences(each, [HOURLY], clock) for each in (store, other))
    gate = faults.Gate()
    with faults.armed(ENQUEUED, gate):
        slow = asyncio.ensure_future(one.keep_up())
        assert await asyncio.to_thread(gate.reached.wait, LIMIT)
        await two.keep_up()
        gate.open()
        await slow
    assert await keys(store) == [f"sweeping:{window(clock)}"]


@postgres_only
async def test_two_processes_share_the_windows_of_a_day(store: Store, make_store: StoreMaker, clock: WallClock) -> None:
    other = await beside(make_store, clock, store)
    services = [Recurrences(each, [HOURLY], clock) for each in (store, other)]
    first = window(clock)
    for _ in range(24):
        await asyncio.gather(*(service.keep_up() for service in services))
        clock.advance(HOUR)
    assert await keys(store) == [f"sweeping:{first + number}" for number in range(24)]


@pytest.mark.guards(
    "A wall clock that jumps a day forward and back makes recurring work neither storm nor stall.",
    against="24 effects at once, or none until the clock is again where it was.",
    breaks=("recurring-stalls-when-put-back", "recurring-makes-up-for-what-was-missed"),
)
async def test_a_day_forward_and_a_day_back_make_neither_storm_nor_stall(store: Store, clock: WallClock) -> None:
    twice = replace(HOURLY, interval_seconds=2 * HOUR)
    first = window(clock, 2 * HOUR)
    async with started(store, clock, twice):
        for _ in range(14):
            clock.jump(2 * HOUR)
            clock.advance(60)
            await asleep(clock)
        assert len(await keys(store)) == 15
        clock.jump(DAY)
        clock.advance(60)
        await asleep(clock)
        assert len(await keys(store)) == 16, "one for the window that it is now"
        clock.jump(-2 * DAY)
        clock.advance(60)
        await asleep(clock)
        before = len(await keys(store))
        for _ in range(4):
            clock.jump(2 * HOUR)
            clock.advance(60)
            await asleep(clock)
    found = await keys(store)
    assert found[0] == f"sweeping:{first}"
    assert len(found) - before >= 3, "it goes on although these windows have been there before"


@pytest.mark.guards(
    "Recurring work asks the store only when a window has begun.",
    against="An idle daemon on SQLite that keeps the disk awake for every recurring thing.",
    breaks=("recurring-asks-all-the-time",),
)
@sqlite_only
async def test_between_windows_no_statement_is_executed(
    statements: list[str], make_store: StoreMaker, clock: WallClock
) -> None:
    store = await opened(make_store, clock)
    async with started(store, clock):
        assert any("propagations" in statement for statement in statements), "what is executed is seen"
        statements.clear()
        for _ in range(54):  # minutes; the window ends after 55 of them
            clock.advance(60)
            await asleep(clock)
        assert statements == []
        clock.advance(120)
        await asleep(clock)
        assert len(await keys(store)) == 2


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement about propagations or recurring work of connections opened from now on."""
    found: list[str] = []

    def traced(event: dict[str, Any]) -> None:
        if "recurring" in event["sql"] or "propagation" in event["sql"]:
            found.append(event["sql"])

    def watch(connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, traced)

    apsw.connection_hooks.append(watch)
    yield found
    apsw.connection_hooks.remove(watch)


async def test_it_wakes_when_the_window_begins_and_looks_at_the_clock_every_minute(
    store: Store, clock: WallClock
) -> None:
    service = Recurrences(store, [HOURLY], clock)
    assert await service.keep_up() == LONGEST_SLEEP
    clock.advance(55 * 60)  # 03:59:05
    assert await service.keep_up() == 55
    assert await Recurrences(store, [], clock).keep_up() == LONGEST_SLEEP


async def test_work_that_is_unique_while_pending_never_piles_up(store: Store, clock: WallClock) -> None:
    lone = kind(unique="pending")
    recurring = replace(HOURLY, kind=lone)
    service = Recurrences(store, [recurring], clock)

    async def windows(count: int) -> None:
        for _ in range(count):
            await service.keep_up()
            clock.advance(HOUR)

    await windows(3)
    assert await keys(store) == ["sweeping"], "the one that waits stands for the windows after it"
    begun, go = asyncio.Event(), asyncio.Event()

    async def sweep(_: Job[Sweep]) -> Done:
        begun.set()
        await go.wait()
        return Done()

    async with running(store, clock, {lone: sweep}):
        await asyncio.wait_for(begun.wait(), LIMIT)
        service = Recurrences(store, [recurring], ManualClock(clock.now()))
        await service.keep_up()
        assert await keys(store) == ["sweeping", "sweeping"], "behind the one that is under way waits one"
        await Recurrences(store, [recurring], ManualClock(clock.now() + timedelta(hours=1))).keep_up()
        assert await keys(store) == ["sweeping", "sweeping"], "and never two"
        go.set()
        await when(store, finished(2))


@pytest.mark.guards(
    "While the effects of a restored store are held, recurring effects that are held too do not pile up.",
    against="A store that was restored a week ago and released today, and 168 hourly effects that start at once.",
    breaks=("recurring-piles-up-while-held",),
)
async def test_what_is_held_after_a_restore_is_not_owed_until_it_is_released(
    store: Store, make_store: StoreMaker, clock: WallClock
) -> None:
    await store.unit(ACT, lambda unit: unit.run(HOLD, at=unit.at))
    store = await again(make_store, clock, store)
    assert store.effects_held
    own = replace(HOURLY, name="upkeep", kind=kind(name="test.upkeep", held_after_restore=False))
    async with started(store, clock, HOURLY, own):
        assert await keys(store) == [f"upkeep:{window(clock)}"]
        store.effects_released()
        clock.advance(60)
        await asleep(clock)
        assert await keys(store) == [f"upkeep:{window(clock)}", f"sweeping:{window(clock)}"]


async def test_a_store_that_cannot_answer_just_now_is_asked_again(store: Store, clock: WallClock) -> None:
    service = Recurrences(store, [HOURLY], clock)
    with faults.armed(ENQUEUED, faults.raising(StoreBusy("too much is waiting"))):
        await service.start()
        await asleep(clock)
        assert await keys(store) == []
        clock.advance(5)
        await asleep(clock)
    assert await keys(store) == [f"sweeping:{window(clock)}"]
    await service.stop()


async def test_an_interval_that_a_new_version_has_changed_takes_effect_at_once(store: Store, clock: WallClock) -> None:
    for interval in (HOUR, 60, DAY):
        await Recurrences(store, [replace(HOURLY, interval_seconds=interval)], clock).keep_up()
    assert await keys(store) == [f"sweeping:{window(clock, interval)}" for interval in (HOUR, 60, DAY)]


async def test_the_effect_and_the_note_of_its_window_commit_together_or_not_at_all(
    store: Store, clock: WallClock
) -> None:
    service = Recurrences(store, [HOURLY], clock)
    with faults.armed(ENQUEUED, faults.raising(LookupError("on purpose"))), pytest.raises(LookupError):
        await service.keep_up()
    assert await keys(store) == []
    await service.keep_up()
    assert await keys(store) == [f"sweeping:{window(clock)}"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "Sweeping"}, "its name is not made of words"),
        ({"name": "a" * 151}, "its name is not made of words"),
        ({"doc": " "}, "it has no doc line"),
        ({"interval_seconds": 0}, "must be 1 s at least"),
        ({"kind": kind(unique="forever")}, "keeps its keys for ever"),
        ({"payload": "dust"}, "takes a Sweep, not a str"),
    ],
)
def test_a_declaration_that_could_not_be_kept_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(HOURLY, **wrong)


async def test_two_of_one_name_are_refused(store: Store, clock: WallClock) -> None:
    with pytest.raises(ValueError, match="registered twice: sweeping"):
        Recurrences(store, [HOURLY, HOURLY], clock)
