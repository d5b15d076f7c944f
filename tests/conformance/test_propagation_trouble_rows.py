"""Rows in trouble: of kinds that nobody knows, of processes that are gone or out of sight, cut off, lost meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from conformance.test_propagation_trouble import LEFT_BEHIND, Steps
from conformance.test_propagation_trouble import store as store  # noqa: PLC0414 - a fixture
from crash.propagating.owing import (
    LIMIT,
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
from holdfast.core.instants import parse_stamp, seconds, stamp
from holdfast.core.propagation import claims, queue, rescue
from holdfast.core.propagation.keeper import SWEEP_SECONDS
from holdfast.core.propagation.kinds import Condition, Timeouts
from holdfast.core.propagation.outcome import Done, Outcome, Retry, Wait
from holdfast.core.propagation.rescue import CHUNK
from holdfast.core.propagation.runner import Runner
from holdfast.core.propagation.schedule import STANDARD, UNKNOWN
from holdfast.core.store.port import Act, Reader, Store, Unit
from holdfast.core.store.postgres import PostgresStore
from holdfast.core.store.sql import query
from manual_clock import ManualClock
from opened import postgres_only, sqlite_only
from testpack import ACT

if TYPE_CHECKING:
    from conftest import StoreMaker

ONE = kind(schedule=STANDARD)
OTHER = kind("test.other")
LEASE = Timeouts().lease
FREE = query("free", sqlite="SELECT id FROM propagations WHERE id = :id AND claim IS NULL AND reason IS NOT NULL")
STRANGE = query("strange", sqlite="SELECT count(*) AS n FROM propagations WHERE reason = 'unknown_kind'")


def judged(reader: Reader) -> bool:
    """Whether something has become of the rows: put off, or over."""
    return reader.one(STRANGE) != {"n": 0} or reader.one(OVER) is not None


OVER = query("over", sqlite="SELECT id FROM propagation_ledger")


# --- kinds that nobody knows -----------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A row of an unknown kind whose key is unique while pending is put off, as any other.",
    against="A pack that is taken out for a day loses what was owed: each row is replaced by itself.",
    breaks=("propagation-rows-are-their-own-successors",),
)
async def test_an_unknown_row_with_a_key_of_its_own_is_put_off(store: Store, clock: ManualClock) -> None:
    [stray] = await owe(store, kind("test.stray", unique="pending"), 1, keyed=True)
    async with running(store, clock, {ONE: nothing}):
        await until(store, judged, Steps(clock))
    assert await ledger(store) == []
    found = await row(store, stray)
    assert (found["state"], found["reason"], found["strange"]) == ("pending", "unknown_kind", 1)


COUNTED = query("counted", sqlite="UPDATE propagations SET attempts = :attempts, strange = :strange WHERE id = :id")


@pytest.mark.guards(
    "Looks at a row of an unknown kind use up none of its attempts, and its attempts none of the looks.",
    against="A row that had failed before its pack was taken out is dead at the first look; or as soon as it is back.",
    breaks=("propagation-attempts-use-up-looks", "propagation-looks-use-up-attempts"),
)
async def test_looks_and_attempts_have_bounds_of_their_own(store: Store, clock: ManualClock) -> None:
    failed = UNKNOWN.most_attempts - 1
    [stray] = await owe(store, ONE, 1)
    await store.unit(ACT, lambda unit: unit.run(COUNTED, id=stray, attempts=failed, strange=0))
    async with running(store, clock, {OTHER: nothing}):
        await until(store, judged, Steps(clock))
    found = await row(store, stray)
    assert (found["state"], found["strange"], found["attempts"], found["starts"]) == ("pending", 1, failed, 0)
    wait = parse_stamp(found["next_attempt_at"]) - parse_stamp(found["decided_at"])
    assert wait == UNKNOWN.delay(1)

    async def fails(_: object) -> Outcome:
        return Retry(why="no")

    await store.unit(ACT, lambda unit: unit.run(COUNTED, id=stray, attempts=failed, strange=failed))
    async with running(store, clock, {ONE: fails}):
        await until(store, lambda reader: reader.one(FAILED, id=stray))
    found = await row(store, stray)
    assert (found["state"], found["strange"], found["attempts"], found["starts"]) == ("pending", 0, failed + 1, 0)
    assert found["next_attempt_at"] == stamp(clock.now() + STANDARD.delay(failed + 1))


FAILED = query("failed", sqlite="SELECT id FROM propagations WHERE id = :id AND reason = 'failed'")


class Watching:
    """A store that counts, after each unit, how many rows are still put off because nobody knew their kind."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.left: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def unit(self, act: Act, work: Callable[[Unit], Any], *, guarded: bool = False) -> Any:
        result = await self.inner.unit(act, work, guarded=guarded)
        found = await self.inner.read(lambda reader: reader.one(STRANGE))
        assert found is not None
        self.left.append(found["n"])
        return result


PUT_OFF = query(
    "put_off",
    sqlite="UPDATE propagations SET reason = 'unknown_kind', strange = 1, next_attempt_at = '2026-02-01'",
)


@pytest.mark.guards(
    "Rows of a kind that is known again become due in many small units, and all of them before the start is over.",
    against="A daemon that cannot start, because one unit of work is to mend a hundred thousand rows.",
    breaks=("propagation-known-again-in-one-go", "propagation-known-again-stops-at-the-first"),
)
async def test_many_rows_of_a_kind_known_again_are_due_in_chunks(store: Store, clock: ManualClock) -> None:
    total = 2 * CHUNK + 5
    blocked = kind(conditions=(Condition("never", "For a test.", lambda _: "not now"),))
    await owe(store, blocked, *range(total))
    await store.unit(ACT, lambda unit: unit.run(PUT_OFF))
    watching = Watching(store)
    async with running(watching, clock, {blocked: nothing}):
        left = [total, *watching.left]
    assert max(before - after for before, after in pairwise(left)) == CHUNK
    assert left[-1] == 0
    found = await rows(store)
    assert {(each["reason"], each["strange"], each["next_attempt_at"]) for each in found} == {(None, 0, clock.stamp())}


@sqlite_only
@pytest.mark.guards(
    "A start finds the rows of unknown kinds by their index, however many others there are.",
    against="A start that reads everything that is owed, once for each kind.",
    breaks=("propagation-known-again-looks-at-everybody",),
)
async def test_rows_of_a_kind_known_again_are_found_by_their_index(store: Store) -> None:
    known_again = rescue.SQL.known_again.sqlite
    explain = query("explain", sqlite=f"EXPLAIN QUERY PLAN {known_again}")
    steps = await store.unit(ACT, lambda unit: unit.all(explain, kind="test.one", now="2026", limit=CHUNK))
    plan = [step["detail"] for step in steps]
    assert any("USING INDEX propagations_strange (kind=?)" in step for step in plan), plan
    assert not [step for step in plan if step.startswith("SCAN") and "propagations" in step], plan


# --- processes that are gone, and processes that could not be seen ---------------------------------------------------


@pytest.fixture
async def unseen(store: Store, clock: ManualClock) -> AsyncIterator[Runner]:
    """A runner whose keeper looks only when a test says so."""
    async with running(store, clock, {OTHER: nothing}, known=[ONE]) as runner:
        runner._tasks[1].cancel()
        yield runner


@postgres_only
@pytest.mark.guards(
    "After a time in which nobody could look or beat, leases are taken over only when they do not move from then on.",
    against="A database that was away for a minute: whoever looks first takes over everything that is being done.",
    breaks=("propagation-believes-what-it-could-not-see",),
)
async def test_a_time_without_a_look_proves_nobody_gone(store: Store, clock: ManualClock, unseen: Runner) -> None:
    await owe(store, ONE, 1)
    await store.unit(ACT, lambda unit: claims.claim(unit, ONE, "run_other.1", 1))
    [before] = await rows(store)
    await unseen._keeper.sweep()
    clock.advance(LEASE + SWEEP_SECONDS)
    for _ in range(int(LEASE / SWEEP_SECONDS)):
        await unseen._keeper.sweep()
        assert await rows(store) == [before]
        clock.advance(SWEEP_SECONDS)
    await unseen._keeper.sweep()
    [after] = await rows(store)
    assert (after["claim"], after["reason"], after["starts"]) == (None, "crashed", 1)


@postgres_only
@pytest.mark.guards(
    "After a time in which nobody could look or beat, a process that knows a kind still keeps others from judging it.",
    against="A database that was away for a minute, and an older worker that puts off the work of a newer one.",
    breaks=("propagation-believes-in-deaths-it-could-not-see",),
)
async def test_a_time_without_a_look_judges_no_kind(
    make_store: StoreMaker, store: Store, clock: ManualClock, unseen: Runner
) -> None:
    newer = kind("test.newer")
    other = PostgresStore(str(make_store.place_of(store).url), uuid=store.uuid, effects_held=False, clock=clock)
    await other.start()
    knowing = Runner(other, registry({}, [newer]), clock, drain_seconds=0.0)
    await knowing.start()
    knowing._tasks[1].cancel()  # its heart stands still
    await unseen._keeper.sweep()
    [theirs] = await owe(store, newer, 1)
    clock.advance(LEASE + SWEEP_SECONDS)
    for _ in range(int(LEASE / SWEEP_SECONDS)):
        await unseen._keeper.sweep()
        assert (await row(store, theirs))["reason"] is None
        clock.advance(SWEEP_SECONDS)
    await unseen._keeper.sweep()
    assert (await row(store, theirs))["reason"] == "unknown_kind"
    await knowing.stop()
    await other.close()


@pytest.mark.parametrize(("starts", "wait"), [(1, 0.0), (2, STANDARD.delays[0]), (3, STANDARD.delays[1])])
@pytest.mark.guards(
    "After the first start whose process died a row is started at once; after the second it waits the first delay.",
    against="An effect that kills the process takes it down in a tight circle; or every restart costs a minute.",
    breaks=("verdict-first-crash-waits", "verdict-second-crash-does-not-wait"),
)
async def test_the_first_start_after_a_crash_is_at_once(
    store: Store, clock: ManualClock, starts: int, wait: float
) -> None:
    [crashed] = await owe(store, ONE, 1)
    await store.unit(ACT, lambda unit: unit.run(LEFT_BEHIND, starts=starts, claim="run_gone.1"))
    async with running(store, clock, {OTHER: nothing}, known=[ONE]):  # nobody here starts it
        await until(store, lambda reader: reader.one(FREE, id=crashed), Steps(clock))
    found = await row(store, crashed)
    assert (found["reason"], found["starts"], found["attempts"]) == ("crashed", starts, 0)
    assert parse_stamp(found["next_attempt_at"]) - parse_stamp(found["decided_at"]) == seconds(wait)
    if starts == 1:
        tries = Tries(is_open=True)
        async with running(store, clock, {ONE: tries}):  # the clock stands still
            await all_done(store)
        assert tries.tried == [1]


# --- suspects, and rows that wait ------------------------------------------------------------------------------------

SUSPECT = query("suspect", sqlite="UPDATE propagations SET starts = 1")


@pytest.mark.guards(
    "A suspect that is due again and again lets the suspects of other kinds have their turn.",
    against="A backfill that a crash made a suspect keeps every other suspect from being started until it is through.",
    breaks=("propagation-one-suspect-has-every-turn",),
)
async def test_a_suspect_that_is_due_again_and_again_leaves_others_their_turn(store: Store, clock: ManualClock) -> None:
    endless, others = kind("test.endless", concurrency=1), Tries(is_open=True)

    async def again(_: object) -> Outcome:
        clock.advance(0.001)  # each step takes its time
        return Done() if others.tried else Wait("more", after=0)

    for each in (endless, OTHER):
        await owe(store, each, 1)
    await store.unit(ACT, lambda unit: unit.run(SUSPECT))
    async with running(store, clock, {endless: again, OTHER: others}):
        await soon(lambda: others.tried)
        done = await all_done(store, clock)
    assert {(each["kind"], each["state"]) for each in done} == {(endless.name, "done"), (OTHER.name, "done")}


@pytest.mark.guards(
    "A row that is resumed during a try which ends in a wait is looked at again at once, and once.",
    against="What it waits for comes while it looks, and it waits on for an hour; or it never rests again.",
    breaks=("propagation-forgets-who-was-resumed", "propagation-resumes-for-ever"),
)
async def test_a_resume_during_a_try_is_not_lost(store: Store, clock: ManualClock) -> None:
    tries = Tries()

    async def looks(job: Any) -> Outcome:
        await tries(job)
        return Wait("for the fact", after=3600)

    [waits] = await owe(store, ONE, 1, keyed=True)
    async with running(store, clock, {ONE: looks}) as runner:
        await soon(lambda: tries.tried == [1])
        assert await store.unit(ACT, lambda unit: queue.resume(unit, ONE, "key-1")) == 1
        tries.gate.set()
        await soon(lambda: tries.tried == [1, 1])  # the clock stands still
        await soon(lambda: not runner.under_way)
        await wake(store)
        found = await row(store, waits)
        assert (found["state"], found["next_attempt_at"]) == ("waiting", stamp(clock.now() + seconds(3600)))
        assert tries.tried == [1, 1]


# --- batches ---------------------------------------------------------------------------------------------------------

BATCH = kind("test.batch", schedule=STANDARD, batch=5, concurrency=1)


def as_if_not_started(found: list[Any]) -> set[tuple[Any, ...]]:
    return {(each["state"], each["reason"], each["claim"], each["attempts"], each["starts"]) for each in found}


@pytest.mark.guards(
    "A stop in the middle of a batch tries no more of its rows; they are as if they had not been started.",
    against="An orderly restart that lasts as long as the longest batch, or makes suspects of rows that nobody tried.",
    breaks=("propagation-stop-tries-the-whole-batch", "propagation-stop-makes-suspects"),
)
async def test_a_stop_gives_back_the_rest_of_a_batch(store: Store, clock: ManualClock) -> None:
    tries = Tries()
    await owe(store, BATCH, *range(5))
    runner = Runner(store, registry({BATCH: tries}), clock, drain_seconds=LIMIT)
    await runner.start()
    await soon(lambda: tries.tried)
    stopping = asyncio.ensure_future(runner.stop())
    await asyncio.sleep(0)
    tries.gate.set()
    await asyncio.wait_for(stopping, LIMIT)
    assert (tries.tried, [each["state"] for each in await ledger(store)]) == ([0], ["done"])
    left = await rows(store)
    assert (len(left), as_if_not_started(left)) == (4, {("pending", "stopped", None, 0, 0)})
    await runner.start()
    assert len(await all_done(store)) == 5
    await runner.stop()
    assert tries.tried == [0, 1, 2, 3, 4]


@pytest.mark.guards(
    "What the end of the drain cuts off is given back as if it had not been started, tried or not.",
    against="A slow handler at an orderly stop counts as a crash, and is buried after some restarts.",
    breaks=("propagation-stop-leaves-its-claims", "propagation-stop-makes-suspects"),
)
async def test_what_the_drain_is_too_short_for_is_given_back(store: Store, clock: ManualClock) -> None:
    tries = Tries()
    await owe(store, BATCH, *range(5))
    async with running(store, clock, {BATCH: tries}):  # whose drain is over at once
        await soon(lambda: tries.tried)
    assert (tries.tried, tries.cancelled) == ([0], [0])
    left = await rows(store)
    assert (len(left), as_if_not_started(left)) == (5, {("pending", "stopped", None, 0, 0)})


STEAL = query("steal", sqlite="UPDATE propagations SET claim = 'run_other.1' WHERE id = :id")


@pytest.mark.guards(
    "A row of a batch that was lost before its turn came is not started.",
    against="A process that was out of sight does what the one that took over does, too.",
    breaks=("propagation-starts-what-it-has-lost",),
)
async def test_a_row_of_a_batch_that_was_lost_is_not_started(store: Store, clock: ManualClock) -> None:
    tries = Tries()
    *_, lost = await owe(store, BATCH, 1, 2, 3)
    async with running(store, clock, {BATCH: tries}) as runner:
        await soon(lambda: tries.tried)
        await store.unit(ACT, lambda unit: unit.run(STEAL, id=lost))
        await runner._keeper._beat()
        before = await row(store, lost)
        tries.gate.set()
        await soon(lambda: not runner.under_way)
        assert (tries.tried, runner.late) == ([1, 2], 0)
    assert await rows(store) == [before]
    assert len(await ledger(store)) == 2


# --- kinds -----------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A kind whose keys are unique while pending cannot have lanes of its own: its keys are lanes.",
    against="Two effects under one key at the same time, in two lanes.",
    breaks=("kinds-have-two-orders",),
)
def test_a_kind_with_one_pending_row_of_a_key_has_no_other_lanes() -> None:
    with pytest.raises(ValueError, match=r"test\.both': keys that are unique while pending are lanes already"):
        kind("test.both", unique="pending", lane=lambda number: str(number.n))
