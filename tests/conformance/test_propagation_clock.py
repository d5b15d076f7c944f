"""Time: the exact next time of every position of every schedule, and wall clocks that jump."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from conformance.test_propagation_order import Driven, JumpingClock, Note, hot, kind, ledger, states, told, until
from conformance.test_propagation_order import moved as moved  # noqa: PLC0414 - a fixture
from conformance.test_propagation_order import notes as notes  # noqa: PLC0414
from holdfast.core.instants import parse_stamp, stamp
from holdfast.core.propagation.kinds import Registry
from holdfast.core.propagation.outcome import Done, Outcome, Retry, Wait
from holdfast.core.propagation.runner import Runner
from holdfast.core.propagation.schedule import SCHEDULES, STANDARD, Schedule
from opened import postgres_only

if TYPE_CHECKING:
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Store

DAY = 86_400.0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.guards(
    "After every failure the store holds the exact time of the next try, and the last failure buries the row.",
    against="A schedule that is documented, and another one that is followed.",
    breaks=("schedule-is-one-step-ahead", "verdict-dies-a-failure-early"),
)
async def test_every_position_of_every_schedule_persists_the_exact_next_time(
    notes: Store, moved: JumpingClock, schedule: Schedule
) -> None:
    of = kind(f"test.{schedule.name}", schedule=schedule)
    seen: list[Note] = []
    async with Driven(notes, moved, {of: told(seen, lambda _: Retry(why="no"))}) as driven:
        (row_id,) = await driven.owe(of)
        await driven.rested()
        first_failure = moved.now()
        for failures, delay in enumerate(schedule.delays, 1):
            row = (await hot(notes))[row_id]
            due = stamp(moved.now() + timedelta(seconds=delay))
            assert (row["state"], row["attempts"], row["starts"]) == ("pending", failures, 0)
            assert (row["next_attempt_at"], row["decided_at"]) == (due, moved.stamp())
            assert (row["reason"], row["error"], row["claim"]) == ("failed", "no", None)
            await driven.advance(delay / 2)
            assert len(seen) == failures, "tried before its time"
            await driven.advance(delay / 2)
            assert len(seen) == failures + 1
        assert moved.now() - first_failure == schedule.horizon() == of.horizon
        row = (await hot(notes))[row_id]
        assert (row["state"], row["reason"], row["attempts"]) == ("dead", "max_attempts", schedule.most_attempts)
        await driven.advance(DAY)
        await driven.advance(30 * DAY)
        assert len(seen) == schedule.most_attempts
        assert await states(notes) == {row_id: "dead"}


async def test_jitter_is_within_its_bounds_and_persisted(notes: Store, moved: JumpingClock) -> None:
    of = kind(jitter=True, concurrency=40)
    seen: list[Note] = []
    async with Driven(notes, moved, {of: told(seen, lambda _: Retry())}) as driven:
        await driven.owe(of, *(Note(n) for n in range(40)))
        await driven.rested()
        waits = [parse_stamp(row["next_attempt_at"]) - moved.now() for row in (await hot(notes)).values()]
        assert all(timedelta() <= wait <= STANDARD.delay(1) for wait in waits)
        assert len(set(waits)) > 30
        middle = sorted(waits)[20]
        tried = Counter(note.n for note in seen)
        await driven.advance(middle.total_seconds())
        again = Counter(note.n for note in seen) - tried
        assert again == Counter({n: 1 for n, wait in enumerate(waits) if wait <= middle})


async def test_failures_of_a_known_kind_are_no_part_of_the_bound_of_an_unknown_one(
    notes: Store, moved: JumpingClock
) -> None:
    known, other = kind("test.known"), kind("test.other")
    async with Driven(notes, moved, {known: told([], lambda _: Retry(1, "no"))}) as driven:
        (row_id,) = await driven.owe(known)
        await driven.rested()
        for _ in range(5):
            await driven.advance(1)
        assert (await hot(notes))[row_id]["attempts"] == 6
    async with Driven(notes, moved, {other: told([])}) as driven:
        moved.advance(1)
        # On PostgreSQL a worker that is gone counts as living until its lease would have run out.
        for _ in range(8):
            await driven.runner._keeper.sweep()
            moved.advance(5)
        row = (await hot(notes))[row_id]
        assert (row["state"], row["reason"]) == ("pending", "unknown_kind")
        due = [stamp(moved.now() + timedelta(seconds=60 - gone)) for gone in range(0, 61, 5)]
        assert row["next_attempt_at"] in due


# --- clocks that jump ---------------------------------------------------------------------------------------------

STEADY, FAILS, WAITS = kind("test.steady", concurrency=3), kind("test.fails", concurrency=3), kind("test.waits")


class Doings:
    """Handlers that do, fail or wait, and remember when on the steady clock."""

    def __init__(self, clock: JumpingClock) -> None:
        self.clock = clock
        self.tries: dict[tuple[str, int], list[float]] = {}
        self.most = 0
        self._at_once = 0

    async def __call__(self, job: Job[Note]) -> Outcome:
        self._at_once += 1
        self.most = max(self.most, self._at_once)
        await asyncio.sleep(0)
        self._at_once -= 1
        tries = self.tries.setdefault((job.payload.lane, job.payload.n), [])
        tries.append(self.clock.monotonic())
        match job.payload.lane:
            case "fails" if len(tries) <= 3:
                return Retry()
            case "waits" if len(tries) <= 1:
                return Wait("the morning", 600)
            case _:
                return Done()

    def of(self, lane: str) -> list[list[float]]:
        return [tries for (which, _), tries in sorted(self.tries.items()) if which == lane]


@pytest.mark.parametrize("first", [1, -1], ids=["forward-then-back", "back-then-forward"])
@pytest.mark.guards(
    "A wall clock that is put a day forward or back makes no storm and no stall.",
    against="Everything at once when the clock jumps ahead, and nothing for a day when it is put back.",
    breaks=("clock-put-back-stalls-the-queue", "clock-set-right-keeps-no-bound"),
)
async def test_a_jumping_clock_makes_no_storm_and_no_stall(notes: Store, moved: JumpingClock, first: int) -> None:
    doings = Doings(moved)
    begin = moved.monotonic()
    asked_for = moved.now() + timedelta(hours=2)
    async with Driven(notes, moved, {STEADY: doings, FAILS: doings, WAITS: doings}) as driven:
        await driven.owe(FAILS, *(Note(n, "fails") for n in range(8)))
        await driven.owe(WAITS, *(Note(n, "waits") for n in range(4)))
        (timed,) = await driven.owe(STEADY, Note(0, "timed"), at=asked_for)
        await driven.rested()
        await driven.advance(30)
        for sign in (first, -first):
            moved.jump(sign * DAY)
            await driven.owe(STEADY, *(Note(n + 10 * sign, "steady") for n in range(6)))
            await driven.rested()
            await driven.advance(120, step=15)
        await driven.advance(1_500, step=30)
        assert doings.most <= 3 + 3 + 4
        # Done at once, whatever the clock says.
        assert [len(tries) for tries in doings.of("steady")] == [1] * 12
        assert all(tries[0] - begin in {30, 150} for tries in doings.of("steady"))
        # Three failures and a success: one wait at most was cut short, none was made longer by more than the jumps.
        for tries in doings.of("fails"):
            assert len(tries) == 4
            gaps = [later - sooner for sooner, later in pairwise(tries)]
            assert sum(gap < delay for gap, delay in zip(gaps, STANDARD.delays, strict=False)) <= 1
            assert tries[-1] - begin <= 60 + 300 + 900 + 2 * (30 + 120)
        for tries in doings.of("waits"):
            assert len(tries) == 2
            assert tries[-1] - begin <= 600 + 2 * (30 + 120)
        if first > 0:  # its time had come by the clock of then
            assert len(doings.of("timed")) == 1
        else:  # a time that was asked for is kept, by the clock as it is
            assert doings.of("timed") == []
            assert (await hot(notes))[timed]["next_attempt_at"] == stamp(asked_for)
            await driven.advance((asked_for - moved.now()).total_seconds())
        assert set((await states(notes)).values()) == {"done"}
        assert len(doings.of("timed")) == 1


async def test_what_a_wrong_clock_put_off_before_the_start_is_set_right_at_the_start(
    notes: Store, moved: JumpingClock
) -> None:
    moved.jump(DAY)
    doings = Doings(moved)
    async with Driven(notes, moved, {FAILS: doings}) as driven:
        (row_id,) = await driven.owe(FAILS, Note(0, "fails"))
        await driven.rested()
    moved.jump(-DAY)
    async with Driven(notes, moved, {FAILS: doings}) as driven:
        due = stamp(moved.now() + timedelta(seconds=60))
        assert (await hot(notes))[row_id]["next_attempt_at"] == due
        await driven.advance(60)
        assert [len(tries) for tries in doings.of("fails")] == [2]


@pytest.mark.parametrize("sign", [1, -1], ids=["forward", "back"])
async def test_a_row_under_way_while_the_clock_jumps_is_done_once(notes: Store, moved: JumpingClock, sign: int) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    starts: list[int] = []

    async def handler(job: Job[Note]) -> Outcome:
        starts.append(job.id)
        entered.set()
        await go.wait()
        return Done()

    async with Driven(notes, moved, {STEADY: handler}) as driven:
        (row_id,) = await driven.owe(STEADY)
        await until(entered.is_set)
        moved.jump(sign * DAY)
        for _ in range(4):
            moved.advance(5)
            await asyncio.sleep(0)
        go.set()
        await driven.rested()
        assert (starts, driven.runner.late) == ([row_id], 0)
        assert (await ledger(notes))[row_id]["state"] == "done"


@postgres_only
@pytest.mark.parametrize("sign", [1, -1], ids=["forward", "back"])
@pytest.mark.guards(
    "No process believes a wall clock about leases: one that jumps takes none of them away.",
    against="The clock of one machine is put forward, and it does again whatever all the others are doing.",
    breaks=("clock-steals-leases",),
)
async def test_a_jump_steals_no_lease(notes: Store, moved: JumpingClock, sign: int) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    starts: list[int] = []

    async def handler(job: Job[Note]) -> Outcome:
        starts.append(job.id)
        entered.set()
        await go.wait()
        return Done()

    async with Driven(notes, moved, {STEADY: handler}) as driven:
        (row_id,) = await driven.owe(STEADY)
        await until(entered.is_set)
        other = Runner(notes, Registry([STEADY], {STEADY: handler}), moved)
        await other.start()
        claim = (await hot(notes))[row_id]["claim"]
        moved.jump(sign * DAY)
        for _ in range(4):  # at first before the holder has let its lease go on by the new time
            await other._keeper.sweep()
            assert (await hot(notes))[row_id]["claim"] == claim
            moved.advance(5)
        go.set()
        await driven.rested()
        await other.stop()
        assert (starts, driven.runner.late) == ([row_id], 0)
        assert await states(notes) == {row_id: "done"}
