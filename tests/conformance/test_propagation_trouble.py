"""Handlers and conditions that misbehave, facts that take too long: the runner lives through them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from conformance.test_propagation_order import WallOf
from crash.propagating.owing import (
    LIMIT,
    PACKS,
    Tries,
    all_done,
    kind,
    owe,
    row,
    rows,
    running,
    soon,
    until,
)
from holdfast.core.propagation.claims import SQL as CLAIMS
from holdfast.core.propagation.kinds import Condition
from holdfast.core.propagation.outcome import Done, Outcome, Retry, Wait
from holdfast.core.propagation.schedule import STANDARD
from holdfast.core.store.options import StoreOptions
from holdfast.core.store.port import Act, Reader, Store, Unit
from holdfast.core.store.sql import query
from holding import adds, names
from manual_clock import ManualClock
from testpack import ACT

if TYPE_CHECKING:
    from conftest import StoreMaker

ONE = kind(schedule=STANDARD)
OTHER = kind("test.other")
ATTEMPTED = query("attempted", sqlite="SELECT id FROM propagations WHERE attempts > 0")
DEAD = query("dead", sqlite="SELECT id FROM propagations WHERE state = 'dead'")


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await make_store(packs=PACKS, clock=clock)


# --- heartbeats ------------------------------------------------------------------------------------------------------


class HeldBack:
    """A store whose units of one cause wait, when a test says so, before they are asked for."""

    def __init__(self, inner: Store, cause: str) -> None:
        self.inner, self.cause = inner, cause
        self.go, self.waits = asyncio.Event(), asyncio.Event()
        self.go.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def unit(self, act: Act, work: Callable[[Unit], Any], *, guarded: bool = False) -> Any:
        if act.cause == self.cause and not self.go.is_set():
            self.waits.set()
            await self.go.wait()
        return await self.inner.unit(act, work, guarded=guarded)


@pytest.mark.guards(
    "A heartbeat that was on its way while its row was settled and claimed again leaves the new try alone.",
    against="Work in small steps that is broken off by its own heartbeat, and whose row this process then forgets.",
    breaks=("propagation-heart-breaks-off-the-next-try",),
)
async def test_a_heartbeat_of_an_earlier_claim_does_not_break_off_the_new_try(store: Store, clock: ManualClock) -> None:
    tries, held = Tries(), HeldBack(store, "propagation leases")

    async def in_two_steps(job: Any) -> Outcome:
        first = not tries.tried
        outcome = await tries(job)
        return Wait("more", after=0) if first else outcome

    await owe(store, ONE, 1)
    async with running(held, clock, {ONE: in_two_steps}) as runner:
        await soon(lambda: tries.tried == [1])
        held.go.clear()
        beat = asyncio.ensure_future(runner._keeper._beat())
        await asyncio.wait_for(held.waits.wait(), LIMIT)
        tries.gate.set()
        tries.gate = asyncio.Event()
        await soon(lambda: tries.tried == [1, 1])
        held.go.set()
        await asyncio.wait_for(beat, LIMIT)
        await asyncio.sleep(0)  # a try that was cancelled hears of it now
        assert (tries.cancelled, runner.under_way) == ([], 1)
        tries.gate.set()
        [done] = await all_done(store)
        assert runner.late == 0
    assert (done["state"], done["attempts"], done["starts"]) == ("done", 0, 0)


# --- facts -----------------------------------------------------------------------------------------------------------


class Pushed(WallOf):
    """The clock of a store whose units a test can make run past their time, from any thread."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class TooSlow:
    """Facts that take longer than a unit of work may."""

    def __init__(self, clock: Pushed) -> None:
        self.clock = clock
        self.written = 0

    def __call__(self, unit: Unit, _: object = None) -> None:
        self.written += 1
        self.clock.ahead += 1.5
        adds("fact")(unit)


@pytest.fixture
def pushed(clock: ManualClock) -> Pushed:
    return Pushed(clock)


@pytest.fixture
async def hurried(make_store: StoreMaker, pushed: Pushed) -> Store:
    """A store whose units may take a second."""
    return await make_store(packs=PACKS, clock=pushed, options=StoreOptions(unit_seconds=1.0))


@pytest.mark.guards(
    "Facts that run past the time of a unit are refused after 3 times, and the try has failed.",
    against="An outcome that is written, undone and written again for as long as the process lives.",
    breaks=("propagation-slow-facts-are-tried-for-ever",),
)
async def test_facts_that_are_too_slow_are_refused(hurried: Store, clock: ManualClock, pushed: Pushed) -> None:
    slow = TooSlow(pushed)

    async def handler(_: object) -> Outcome:
        return Done(slow)

    [fails] = await owe(hurried, ONE, 1)
    async with running(hurried, clock, {ONE: handler}):
        await until(hurried, lambda reader: reader.one(ATTEMPTED), Steps(clock, 0.001))
    found = await row(hurried, fails)
    assert (found["state"], found["reason"], found["attempts"], found["starts"]) == ("pending", "failed", 1, 0)
    assert found["error"].startswith("its facts were refused: UnitTooLong: ")
    assert (slow.written, await names(hurried)) == (3, [])


@pytest.mark.guards(
    "A death whose facts are too slow is a death all the same, at its try as at a rescue from a process that is gone.",
    against="A daemon that cannot start any more, because of what comes with one death.",
    breaks=("propagation-slow-burials-stop-the-start", "propagation-slow-facts-are-tried-for-ever"),
)
@pytest.mark.parametrize("reason", ["max_starts", "max_attempts"])
async def test_a_death_whose_facts_are_too_slow_is_a_death(
    hurried: Store, clock: ManualClock, pushed: Pushed, reason: str
) -> None:
    slow = TooSlow(pushed)
    mortal = kind(max_attempts=1, max_starts=2, buried=slow)

    async def fails(_: object) -> Outcome:
        return Retry(why="no")

    [dies] = await owe(hurried, mortal, 1)
    if reason == "max_starts":
        await hurried.unit(ACT, lambda unit: unit.run(LEFT_BEHIND, starts=2, claim="run_gone.1"))
    async with running(hurried, clock, {mortal: fails, OTHER: Tries(is_open=True)}):
        await until(hurried, lambda reader: reader.one(DEAD), Steps(clock))
        await owe(hurried, OTHER, 2)  # and the others go on
        assert [each["kind"] for each in await all_done(hurried, clock)] == [OTHER.name]
    found = await row(hurried, dies)
    assert (found["state"], found["reason"], found["claim"]) == ("dead", reason, None)
    assert slow.written > 0
    assert await names(hurried) == []


LEFT_BEHIND = query(
    "left_behind",
    sqlite="UPDATE propagations SET claim = :claim, starts = :starts, lease_until = '2026-01-02T03:04:35.000000Z'",
)


class Steps:
    """Moves a clock so far at a time: little where only a pause is to end, more to come to the end of a lease."""

    def __init__(self, clock: ManualClock, length: float = 0.1) -> None:
        self._clock = clock
        self._length = length

    def advance(self, _: float) -> None:
        self._clock.advance(self._length)


@pytest.mark.guards(
    "Facts that use a unit which is over are refused, as any facts with a bug are.",
    against="A bug in one handler that is taken for the end of the daemon: its row is held and never done.",
    breaks=("propagation-facts-end-the-daemon",),
)
async def test_facts_that_find_a_closed_unit_are_refused(store: Store, clock: ManualClock) -> None:
    async def handler(job: Any) -> Outcome:
        kept: list[Unit] = []
        await job.unit(kept.append)
        return Done(lambda _: kept[0].run(CLAIMS.progress, id=job.id, progress="{}"))

    [fails] = await owe(store, ONE, 1)
    async with running(store, clock, {ONE: handler}) as runner:
        await until(store, lambda reader: reader.one(ATTEMPTED))
        await soon(lambda: not runner.under_way)
    found = await row(store, fails)
    assert (found["state"], found["reason"], found["attempts"], found["starts"]) == ("pending", "failed", 1, 0)
    assert found["error"].startswith("its facts were refused: StoreClosed: ")


# --- what a handler says and does ------------------------------------------------------------------------------------

BROKEN = b"caf\xe9".decode("utf-8", "surrogateescape")


class Unspeakable(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise LookupError("no words")


def raises(error: BaseException) -> Callable[[], Outcome]:
    def raising() -> Outcome:
        raise error

    return raising


SAID: dict[str, tuple[Callable[[], Outcome], str]] = {
    "surrogates in an exception": (raises(OSError(f"no file {BROKEN}")), "OSError: no file caf?"),
    "surrogates in a retry": (lambda: Retry(why=BROKEN), "caf?"),
    "no words": (raises(Unspeakable()), "Unspeakable, which cannot be put into words"),
    "no text": (lambda: Retry(why=ValueError("no")), "TypeError: ValueError is no text: say in words why"),  # type: ignore[arg-type]
    "the end": (raises(SystemExit(3)), "SystemExit: 3"),
    "no end": (raises(KeyboardInterrupt()), "KeyboardInterrupt: "),
}


@pytest.mark.parametrize("case", SAID)
@pytest.mark.guards(
    "Whatever a handler raises or says is a failed try that is written at once, in words that any store takes.",
    against="One handler's text, or its exit, takes the runner down with everybody else's outcomes.",
    breaks=(
        "propagation-writes-what-no-store-takes",
        "propagation-asks-every-error-for-words",
        "outcomes-take-any-text",
        "propagation-leaves-with-its-handler",
    ),
)
async def test_whatever_a_handler_says_is_a_failed_try(store: Store, clock: ManualClock, case: str) -> None:
    said, told = SAID[case]

    async def handler(job: Any) -> Outcome:
        return said() if job.payload.n == 1 else Done()

    [fails] = await owe(store, ONE, 1)
    async with running(store, clock, {ONE: handler}):
        await until(store, lambda reader: reader.one(ATTEMPTED))  # the clock stands still, and nobody wakes the runner
        found = await row(store, fails)
        await owe(store, ONE, 2)
        await until(store, lambda reader: reader.one(OVER))
    assert (found["state"], found["reason"], found["error"]) == ("pending", "failed", told)
    assert (found["attempts"], found["starts"], found["claim"]) == (1, 0, None)


OVER = query("over", sqlite="SELECT id FROM propagation_ledger WHERE state = 'done'")


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


@pytest.mark.guards(
    "A handler that cancels its own task has failed, and that is written at once.",
    against="A row that this process holds and never does, because its handler ended in a way of its own.",
    breaks=("propagation-takes-any-end-for-its-own",),
)
async def test_a_handler_that_cancels_its_own_task_has_failed(store: Store, clock: ManualClock) -> None:
    async def handler(job: Any) -> Outcome:
        if job.payload.n == 1:
            await cancels_itself()
            await asyncio.Event().wait()
        return Done()

    [fails] = await owe(store, ONE, 1)
    async with running(store, clock, {ONE: handler}) as runner:
        await until(store, lambda reader: reader.one(ATTEMPTED))
        found = await row(store, fails)
        await owe(store, ONE, 2)
        await until(store, lambda reader: reader.one(OVER))
        await soon(lambda: not runner.under_way)
    assert (found["state"], found["error"], found["claim"]) == ("pending", "the handler cancelled itself", None)
    assert (found["attempts"], found["starts"]) == (1, 0)


async def test_a_handler_that_cancels_its_task_and_brings_facts_is_done_with(store: Store, clock: ManualClock) -> None:
    async def handler(_: object) -> Outcome:
        await cancels_itself()
        return Done(adds("fact"))

    await owe(store, ONE, 1)
    async with running(store, clock, {ONE: handler}) as runner:
        await until(store, lambda reader: reader.one(OVER) or reader.one(ATTEMPTED))
        await soon(lambda: not runner.under_way)


@pytest.mark.guards(
    "A handler that cancels its own task fails the row that it was called for, and no other.",
    against="An innocent row of a batch fails in the place of the one before it, or an outcome is never written.",
    breaks=("propagation-cancellations-strike-later",),
)
async def test_a_cancellation_of_its_own_does_not_reach_the_next_row_of_a_batch(
    store: Store, clock: ManualClock
) -> None:
    batch = kind(batch=2, concurrency=1)

    async def handler(job: Any) -> Outcome:
        if job.payload.n == 1:
            await cancels_itself()
        else:
            await job.unit(lambda _: None)
        return Done()

    await owe(store, batch, 1, 2)
    async with running(store, clock, {batch: handler}):
        done = await all_done(store, clock)
    assert [each["attempts"] for each in done if each["id"] == 2] == [0]


# --- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A condition that cannot be looked at blocks its kind, says so, and is looked at again; the other kinds go on.",
    against="A bug in one condition ends the runner, or keeps everybody from being started.",
    breaks=("propagation-conditions-end-the-runner", "propagation-failed-conditions-are-in-everybodys-way"),
)
async def test_a_condition_that_raises_blocks_its_kind_and_no_other(store: Store, clock: ManualClock) -> None:
    wrong = ["agent"]
    looks: list[int] = []

    def unmet(_: Reader) -> str | None:
        looks.append(len(looks))
        if wrong:
            raise KeyError(wrong[0])
        return None

    blocked = kind(conditions=(Condition("agent", "An agent is there.", unmet),))
    ours, others = Tries(is_open=True), Tries(is_open=True)
    await owe(store, blocked, 1)
    async with running(store, clock, {blocked: ours, OTHER: others}) as runner:
        await soon(lambda: runner.blocked)
        assert runner.blocked == {blocked.name: "its condition 'agent' failed; see the daemon's log"}
        await owe(store, OTHER, 2)
        await soon(lambda: others.tried == [2])
        looked = len(looks)
        await soon(lambda: len(looks) > looked, clock)  # another look at it, some seconds later
        await owe(store, OTHER, 3)
        await soon(lambda: others.tried == [2, 3])
        [waits] = [each for each in await rows(store) if each["kind"] == blocked.name]
        assert (waits["state"], waits["claim"], waits["attempts"], waits["starts"]) == ("pending", None, 0, 0)
        wrong.clear()
        await soon(lambda: ours.tried == [1], clock)
        await all_done(store, clock)
        assert runner.blocked == {}
