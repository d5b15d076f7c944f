"""The runner: claims what is due, loses no wake-up and no outcome, and lets what is under way end when it stops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from crash.propagating.owing import (
    LIMIT,
    PACKS,
    Tries,
    all_done,
    kind,
    ledger,
    nothing,
    owe,
    registry,
    row,
    rows,
    running,
    soon,
    until,
    wake,
)
from holdfast.core.propagation.kinds import Condition, Timeouts
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.propagation.queue import TOPIC
from holdfast.core.propagation.runner import Runner
from holdfast.core.store.port import Act, Reader, Store, Unit
from holdfast.core.store.sql import query
from manual_clock import ManualClock
from testpack import ACT

if TYPE_CHECKING:
    from conftest import StoreMaker

ONE = kind()
OTHER = kind("test.other")


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await make_store(packs=PACKS, clock=clock)


class Staged:
    """A store that lets a test do something at each stage of a unit that the runner asks for."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.stage = ""
        self.then: Callable[[], Any] | None = None
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def unit(self, act: Act, work: Callable[[Unit], Any], *, guarded: bool = False) -> Any:
        def staged(unit: Unit) -> Any:
            self._on_thread("within")
            result = work(unit)
            self._on_thread("after the fetch")
            return result

        await self._on_loop("before")
        result = await self.inner.unit(act, staged, guarded=guarded)
        await self._on_loop("before it is told")
        return result

    async def _on_loop(self, stage: str) -> None:
        if stage == self.stage and self.then is not None:
            then, self.then = self.then, None
            await then()

    def _on_thread(self, stage: str) -> None:
        if stage != self.stage or self.then is None:
            return
        then, self.then = self.then, None
        begun = threading.Event()

        def begin() -> None:
            task = asyncio.ensure_future(then())
            if self.inner.dialect == "postgres":
                task.add_done_callback(lambda _: begun.set())
            else:  # one writer: it can only queue up behind this unit
                self._loop.call_soon(begun.set)

        self._loop.call_soon_threadsafe(begin)
        assert begun.wait(LIMIT)


@pytest.mark.guards(
    "What is enqueued while the runner asks is picked up, at whatever moment it comes, without anybody polling.",
    against="A wake-up that is cleared after the fetch, and with it the word of what came in between.",
    breaks=("propagation-fetches-then-clears",),
)
@pytest.mark.parametrize("stage", ["before", "within", "after the fetch", "before it is told"])
async def test_what_comes_while_the_runner_asks_is_picked_up(store: Store, clock: ManualClock, stage: str) -> None:
    tries = Tries(is_open=True)
    staged, heard = Staged(store), asyncio.Event()
    store.on_topic(TOPIC, heard.set)

    async def owe_and_hear(n: int) -> None:
        heard.clear()
        await owe(store, ONE, n)
        await asyncio.wait_for(heard.wait(), LIMIT)

    async with running(staged, clock, {ONE: tries}):  # the clock stands still: nobody polls
        for n in range(20):
            await all_done(store)
            staged.stage, staged.then = stage, lambda n=n: owe_and_hear(n)
            await wake(store)
            await soon(lambda n=n: n in tries.tried)
    assert tries.tried == list(range(20))


async def test_a_thousand_enqueues_one_after_the_other_are_all_picked_up(store: Store, clock: ManualClock) -> None:
    tries = Tries(is_open=True)
    async with running(store, clock, {ONE: tries}):
        for n in range(1_000):
            await owe(store, ONE, n)
            if n % 3:
                await asyncio.wait_for(soon(lambda n=n: len(tries.tried) > n), LIMIT)
        assert len(await all_done(store)) == 1_000
    assert sorted(tries.tried) == list(range(1_000))


# --- tries that fail to end ------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A handler that hangs is cancelled when its time is over, and that counts as a failure.",
    against="One call that never returns keeps a place of its kind for ever.",
    breaks=("propagation-hangs-for-ever",),
)
async def test_a_handler_that_hangs_is_cancelled_at_its_time(store: Store, clock: ManualClock) -> None:
    tries, one = Tries(), kind(timeouts=Timeouts(call=0.01, item=0.02))
    [hangs] = await owe(store, one, 1)
    async with running(store, clock, {one: tries}):
        await until(store, lambda reader: reader.one(ATTEMPTED))
    assert tries.cancelled == [1]
    found = await row(store, hangs)
    assert (found["state"], found["reason"], found["attempts"], found["starts"]) == ("pending", "failed", 1, 0)
    assert found["error"] == "no outcome within 0.02 s"


ATTEMPTED = query("attempted", sqlite="SELECT id FROM propagations WHERE attempts > 0")


async def test_a_timeout_of_the_handlers_own_is_not_taken_for_its_end(store: Store, clock: ManualClock) -> None:
    async def calls(_: object) -> Outcome:
        raise TimeoutError("the other side does not answer")

    [fails] = await owe(store, ONE, 1)
    async with running(store, clock, {ONE: calls}):
        await until(store, lambda reader: reader.one(ATTEMPTED))
    assert (await row(store, fails))["error"] == "TimeoutError: the other side does not answer"


# --- suspects --------------------------------------------------------------------------------------------------------

SUSPECT = query("suspect", sqlite="UPDATE propagations SET starts = 1")


@pytest.mark.guards(
    "Rows of which an earlier start came to no outcome are tried one at a time; what is fresh goes on beside them.",
    against="Rows that were beside the one that kills the process are started beside it again, and buried with it.",
    breaks=("propagation-suspects-run-together",),
)
@pytest.mark.parametrize("batch", [1, 10])
async def test_suspects_are_tried_one_at_a_time(store: Store, clock: ManualClock, batch: int) -> None:
    suspect = kind(concurrency=8, batch=batch)
    ours, others = Tries(), Tries(is_open=True)
    await owe(store, suspect, 1, 2, 3)
    await owe(store, OTHER, 4)
    await store.unit(ACT, lambda unit: unit.run(SUSPECT))
    async with running(store, clock, {suspect: ours, OTHER: others}):
        await soon(lambda: ours.tried)
        for n in range(5, 8):  # turns in which more suspects could be claimed
            await owe(store, OTHER, n)
            await soon(lambda n=n: n in others.tried, clock)
        assert ours.tried == [1]
        ours.gate.set()
        done = await all_done(store, clock)
    assert sorted(ours.tried) == [1, 2, 3]
    assert others.tried == [5, 6, 7, 4]
    assert {each["starts"] for each in done if each["id"] < 5} == {1}


# --- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A runner that stops lets what is under way come to its outcome, and claims nothing more.",
    against="A restart that breaks off effects half-way, or begins new ones on its way down.",
    breaks=("propagation-stop-goes-on-claiming", "propagation-stop-breaks-off"),
)
async def test_a_stop_lets_what_is_under_way_end_and_begins_nothing(store: Store, clock: ManualClock) -> None:
    tries, one = Tries(), kind(concurrency=2)
    await owe(store, one, 1, 2, 3, 4)
    runner = Runner(store, registry({one: tries}), clock, drain_seconds=LIMIT)
    await runner.start()
    await soon(lambda: len(tries.tried) == 2)
    stopping = asyncio.ensure_future(runner.stop())
    for _ in range(50):  # one that does not wait for them has broken them off by now
        await asyncio.sleep(0)
    tries.gate.set()
    await asyncio.wait_for(stopping, LIMIT)
    assert tries.tried == [1, 2]
    assert tries.cancelled == []
    assert [each["state"] for each in await ledger(store)] == ["done", "done"]
    assert [(each["claim"], each["starts"]) for each in await rows(store)] == [(None, 0)] * 2
    await runner.start()  # and again
    assert len(await all_done(store)) == 4
    await runner.stop()


async def test_a_stop_ends_within_its_bounds_whatever_a_handler_does(store: Store, clock: ManualClock) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def stubborn(_: object) -> Outcome:
        begun.set()
        while not end.is_set():
            try:
                await asyncio.wait_for(end.wait(), 2 * LIMIT)
            except asyncio.CancelledError:
                continue
        return Done()

    await owe(store, ONE, 1)
    runner = Runner(store, registry({ONE: stubborn}), clock, drain_seconds=0.05)
    await runner.start()
    await begun.wait()
    await asyncio.wait_for(runner.stop(), LIMIT)
    [left] = await rows(store)
    found = [left[name] for name in ("claim", "reason", "attempts", "starts")]
    assert found == [None, "stopped", 0, 0], "nobody has crashed"
    end.set()
    async with running(store, clock, {}):  # stopping twice, and one that has nothing to do, are fine
        await runner.stop()


# --- what is not started ---------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A kind whose condition is not met is not started, says why, and is looked at again; the others go on.",
    against="Effects that are tried and fail, and die, for something that everybody knows is missing.",
    breaks=("propagation-ignores-conditions",),
)
async def test_a_condition_that_is_not_met_keeps_its_kind_waiting(store: Store, clock: ManualClock) -> None:
    missing: list[str] = ["there is no agent to do it"]
    asked: list[object] = []

    def unmet(reader: Reader) -> str | None:
        asked.append(reader)
        return missing[0] if missing else None

    condition = Condition("agent", "An agent is there.", unmet)
    blocked, ours, others = kind(conditions=(condition,)), Tries(is_open=True), Tries(is_open=True)
    await owe(store, blocked, 1)
    async with running(store, clock, {blocked: ours, OTHER: others}) as runner:
        await owe(store, OTHER, 2)
        await soon(lambda: others.tried == [2])
        await soon(lambda: runner.blocked)
        assert runner.blocked == {"test.one": "there is no agent to do it"}
        looked = len(asked)
        await soon(lambda: len(asked) > looked, clock)  # another look at it, some seconds later
        await owe(store, OTHER, 3)
        await soon(lambda: others.tried == [2, 3], clock)
        [waits] = [each for each in await rows(store) if each["kind"] == "test.one"]
        assert (waits["state"], waits["claim"], waits["attempts"], waits["starts"]) == ("pending", None, 0, 0)
        missing.clear()
        await soon(lambda: ours.tried, clock)
        await all_done(store, clock)
        assert runner.blocked == {}


HOLD = query("hold", sqlite="INSERT INTO store_meta (name, value) VALUES ('effects_held_at', '2026-01-01')")
RELEASE = query("release", sqlite="DELETE FROM store_meta WHERE name = 'effects_held_at'")


@pytest.mark.guards(
    "In a restored store no effect is started before somebody releases them; the store's own upkeep is.",
    against="A backup that is put back for a look does everything once more that has long been done.",
    breaks=("propagation-starts-what-is-held",),
)
async def test_held_effects_are_not_started_until_they_are_released(make_store: StoreMaker, clock: ManualClock) -> None:
    upkeep = kind("test.upkeep", held_after_restore=False)
    first = await make_store(packs=PACKS, clock=clock)
    place = make_store.place_of(first)
    await owe(first, ONE, 1)
    await first.unit(ACT, lambda unit: unit.run(HOLD))
    await first.close()
    store = await make_store(at=place, packs=PACKS, clock=clock)
    assert store.effects_held
    ours, others = Tries(is_open=True), Tries(is_open=True)
    async with running(store, clock, {ONE: ours, upkeep: others}):
        await owe(store, ONE, 2)
        await owe(store, upkeep, 3)
        await soon(lambda: others.tried == [3])
        await owe(store, upkeep, 4)
        await soon(lambda: others.tried == [3, 4], clock)
        assert ours.tried == []
        assert [each["claim"] for each in await rows(store) if each["kind"] == "test.one"] == [None, None]

        def release(unit: Unit) -> None:
            unit.run(RELEASE)
            unit.announce(TOPIC)

        await store.unit(ACT, release)
        await soon(lambda: sorted(ours.tried) == [1, 2])
        await all_done(store)
    assert not store.effects_held


@pytest.mark.guards(
    "A kind for which this process has no handler is left alone: it is another process's.",
    against="A worker of a certain role judges the work of the others.",
    breaks=("propagation-judges-what-it-lacks",),
)
async def test_a_kind_without_a_handler_here_is_left_alone(store: Store, clock: ManualClock) -> None:
    tries = Tries(is_open=True)
    [theirs] = await owe(store, OTHER, 1)
    before = await row(store, theirs)
    async with running(store, clock, {ONE: tries}, known=[OTHER]) as runner:
        for n in range(3):
            await owe(store, ONE, n)
            await soon(lambda n=n: n in tries.tried)
            await runner._keeper.sweep()
    assert await row(store, theirs) == before


async def test_nothing_is_left_that_the_test_owes(store: Store, clock: ManualClock) -> None:
    async with running(store, clock, {ONE: nothing}) as runner:
        await owe(store, ONE, *range(100))
        assert len(await all_done(store)) == 100
        await soon(lambda: not runner.under_way)
