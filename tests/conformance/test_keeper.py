"""The keeper: leases that go on, those of processes that are gone, tries that do not end, and kinds nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
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
)
from holdfast.core.errors import StoreInDoubt
from holdfast.core.instants import parse_stamp, stamp
from holdfast.core.propagation.keeper import SWEEP_SECONDS
from holdfast.core.propagation.kinds import Timeouts
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.propagation.runner import Runner
from holdfast.core.propagation.schedule import UNKNOWN
from holdfast.core.store.port import Act, Store
from holdfast.core.store.postgres import PostgresStore
from holdfast.core.store.sql import query
from manual_clock import ManualClock
from testpack import SQL

if TYPE_CHECKING:
    from conftest import StoreMaker

ONE = kind()
OTHER = kind("test.other")
LEASE = Timeouts().lease


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await make_store(packs=PACKS, clock=clock)


@pytest.fixture
async def other(make_store: StoreMaker, store: Store, clock: ManualClock) -> AsyncIterator[Store]:
    """A second open store on the same database, as another process would have it."""
    url = str(make_store.place_of(store).url)
    other = PostgresStore(url, uuid=store.uuid, effects_held=False, clock=clock)
    await other.start()
    yield other
    await other.close()


postgres_only = pytest.mark.parametrize("engine", ["postgres"], indirect=False)
sqlite_only = pytest.mark.parametrize("engine", ["sqlite"], indirect=False)


class Stubborn:
    """A handler that does not end when it is cancelled, for the numbers that it is given."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = set(numbers)
        self.tried: list[int] = []
        self.cancelled: set[int] = set()
        self.end = asyncio.Event()

    async def __call__(self, job: Any) -> Outcome:
        n = job.payload.n
        self.tried.append(n)
        while n in self.numbers and not self.end.is_set():
            try:
                await asyncio.wait_for(self.end.wait(), 2 * LIMIT)
            except asyncio.CancelledError:
                self.cancelled.add(n)
        return Done()


# --- tries that do not end -------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A handler that does not end although it was cancelled is left behind: that is a failure, and its kind goes on.",
    against="One stubborn handler takes a place of its kind for as long as the process lives.",
    breaks=("propagation-waits-for-the-stubborn",),
)
async def test_a_handler_that_ignores_its_end_is_left_behind(store: Store, clock: ManualClock) -> None:
    one, tries = kind(concurrency=1, timeouts=Timeouts(call=0.01, item=0.02)), Stubborn(1)
    [stubborn, _] = await owe(store, one, 1, 2)
    async with running(store, clock, {one: tries}) as runner:
        await soon(lambda: tries.cancelled)
        assert tries.tried == [1]
        await soon(lambda: 2 in tries.tried, Slow(clock))
        tries.numbers.clear()
        tries.end.set()  # whatever it still says is nobody's business
        await all_done(store, clock)
        await soon(lambda: not runner.under_way)
        assert runner.late == 0
    done = {each["id"]: each for each in await ledger(store)}
    assert done[stubborn]["attempts"] == 1
    assert "was left behind" in done[stubborn]["error"]
    assert tries.tried == [1, 2, 1]


class Slow:
    """Moves a clock a tenth of a second at a time, for tests that must come to the end of a lease."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def advance(self, _: float) -> None:
        self._clock.advance(0.1)


async def test_the_rest_of_a_batch_that_was_left_behind_is_done(store: Store, clock: ManualClock) -> None:
    batch, tries = kind(concurrency=1, batch=3, timeouts=Timeouts(call=0.01, item=0.2)), Stubborn(1)
    await owe(store, batch, 1, 2, 3)
    async with running(store, clock, {batch: tries}):
        await soon(lambda: tries.cancelled)
        await soon(lambda: {2, 3} <= set(tries.tried), Slow(clock))
        tries.numbers.clear()
        done = await all_done(store, clock)
    assert {each["state"] for each in done} == {"done"}
    assert {(each["attempts"], each["starts"]) for each in done if each["id"] > 1} == {(0, 0)}


@pytest.mark.guards(
    "A death of one that was left behind comes with its kind's facts; if these are refused it is dead all the same.",
    against="A refused fact takes the whole runner down, with everybody else's outcomes.",
    breaks=("propagation-buries-the-stubborn-with-the-others",),
)
@pytest.mark.parametrize("refused", [False, True])
async def test_one_that_was_left_behind_is_buried_with_its_facts(
    store: Store, clock: ManualClock, refused: bool
) -> None:
    def facts(unit: Any, _: object) -> None:
        if refused:
            raise LookupError("these facts cannot be")
        unit.run(SQL.add_plain_thing, id="fact", title="x", size=1)

    one, tries = kind(max_attempts=1, buried=facts, timeouts=Timeouts(call=0.01, item=0.02)), Stubborn(1)
    [dies] = await owe(store, one, 1)
    async with running(store, clock, {one: tries, OTHER: nothing}) as runner:
        await soon(lambda: tries.cancelled)
        await until(store, lambda reader: reader.one(DEAD), Slow(clock))
        await owe(store, OTHER, 2)  # the runner goes on
        assert [each["kind"] for each in await all_done(store, clock)] == [OTHER.name]
        await soon(lambda: not runner.under_way)
        tries.end.set()
    found = await row(store, dies)
    assert (found["state"], found["reason"], found["attempts"], found["starts"]) == ("dead", "max_attempts", 1, 0)
    assert len(await store.read(lambda reader: reader.all(SQL.things))) == (not refused)


DEAD = query("dead", sqlite="SELECT id FROM propagations WHERE state = 'dead'")


# --- leases ----------------------------------------------------------------------------------------------------------


class Rests:
    """The clock of one runner; counts how often its keeper has rested between two looks."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    async def sleep(self, seconds: float) -> None:
        self.count += seconds == SWEEP_SECONDS
        await self._clock.sleep(seconds)


async def swept(clock: ManualClock, clocks: list[Rests], times: int) -> None:
    """So many looks of the keepers of these runners."""
    for _ in range(times):
        await soon(lambda: all(each.count for each in clocks))
        before = [each.count for each in clocks]
        clock.advance(SWEEP_SECONDS)
        await soon(lambda before=before: all(each.count > was for each, was in zip(clocks, before, strict=True)))


@postgres_only
@pytest.mark.guards(
    "A lease is not taken over while its process lives, however long the handler takes.",
    against="A slow effect is done by two processes at once.",
    breaks=("propagation-heart-stands-still",),
)
async def test_a_lease_goes_on_while_its_process_lives(store: Store, other: Store, clock: ManualClock) -> None:
    slow, gates, tried = kind(batch=3), {n: asyncio.Event() for n in (1, 2, 3)}, []
    theirs, here, there = Tries(is_open=True), Rests(clock), Rests(clock)

    async def ours(job: Any) -> Outcome:
        tried.append(job.payload.n)
        await gates[job.payload.n].wait()
        return Done()

    await owe(store, slow, 1, 2, 3)
    async with running(store, here, {slow: ours}) as first:
        await soon(lambda: tried == [1])
        async with running(other, there, {slow: theirs}):
            for n in (1, 2, 3):  # each within its time, all of them longer than a lease
                await swept(clock, [here, there], int(LEASE / SWEEP_SECONDS) - 2)
                gates[n].set()
                await soon(lambda n=n: len(tried) > n or n == 3)
            done = await all_done(store)
        assert first.late == 0
    assert (tried, theirs.tried) == ([1, 2, 3], [])
    assert {each["starts"] for each in done} == {0}


@postgres_only
@pytest.mark.guards(
    "A lease whose process is silent is taken over; when that process is back, it breaks off what it lost.",
    against="Work that nobody does any more, or that two do.",
    breaks=("propagation-takes-over-from-nobody", "propagation-lost-leases-go-on"),
)
async def test_a_silent_process_is_taken_over_and_breaks_off(store: Store, other: Store, clock: ManualClock) -> None:
    ours, theirs = Tries(), Tries()
    one, there = kind(concurrency=1), Rests(clock)  # so that the first has no room for it while it is at it
    async with running(store, clock, {one: ours}) as first:
        await owe(store, one, 1)
        await soon(lambda: ours.tried)
        first._tasks[1].cancel()  # its heart stands still
        async with running(other, there, {one: theirs}) as second:
            await swept(clock, [there], int(LEASE / SWEEP_SECONDS) + 1)
            await soon(lambda: theirs.tried, clock)
            [taken] = await rows(store)
            assert taken["claim"].startswith(second.owner)
            assert taken["starts"] == 2
            await first._keeper._beat()  # and goes on
            await soon(lambda: ours.cancelled)
            await soon(lambda: not first.under_way)
            theirs.gate.set()
            [done] = await all_done(store)
    assert (done["state"], done["starts"]) == ("done", 1)


class Doubtful:
    """A store whose units of a name end in doubt for as long as a test says."""

    def __init__(self, inner: Store, cause: str) -> None:
        self.inner, self.cause = inner, cause
        self.doubts = 0
        self.doubtful = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def unit(self, act: Act, work: Any, *, guarded: bool = False) -> Any:
        result = await self.inner.unit(act, work, guarded=guarded)
        if self.doubtful and act.cause == self.cause:
            self.doubts += 1
            raise StoreInDoubt("the connection broke")
        return result


@pytest.mark.guards(
    "A heartbeat whose commit is in doubt is sent again.",
    against="One broken connection takes the daemon down.",
    breaks=("propagation-heart-stops-in-doubt",),
)
async def test_a_heartbeat_in_doubt_does_not_end_the_keeper(store: Store, clock: ManualClock) -> None:
    doubtful, tries = Doubtful(store, "propagation leases"), Tries()
    async with running(doubtful, clock, {ONE: tries}) as runner:
        await owe(store, ONE, 1)
        await soon(lambda: tries.tried)
        [before] = await rows(store)
        doubtful.doubtful = True
        await soon(lambda: doubtful.doubts, clock)
        doubtful.doubtful = False
        await soon(lambda: clock.sleeping)
        assert not runner._tasks[1].done()
        clock.advance(SWEEP_SECONDS)
        await until(store, lambda reader: reader.one(LATER, lease=before["lease_until"]), clock)
        tries.gate.set()
        await all_done(store, clock)


LATER = query("later", sqlite="SELECT id FROM propagations WHERE lease_until > :lease")


# --- kinds that nobody knows -----------------------------------------------------------------------------------------


@sqlite_only
@pytest.mark.guards(
    "A row of a kind that nobody knows is put off on a schedule of its own, and ends as unknown_kind.",
    against="Rows of a pack that was taken out stay due for ever, and nobody is told.",
    breaks=("propagation-unknown-kinds-are-ignored",),
)
async def test_a_kind_that_nobody_knows_is_put_off_and_ends(store: Store, clock: ManualClock) -> None:
    [stray] = await owe(store, OTHER, 1)
    for failures, delay in enumerate(UNKNOWN.delays, start=1):
        async with running(store, clock, {ONE: nothing}):
            found = await row(store, stray)
        assert (found["state"], found["reason"], found["strange"]) == ("pending", "unknown_kind", failures)
        assert found["next_attempt_at"] == stamp(clock.now() + timedelta(seconds=delay))
        async with running(store, clock, {ONE: nothing}):  # not due: not judged again
            assert await row(store, stray) == found
        clock.advance(delay)
    async with running(store, clock, {ONE: nothing}):
        found = await row(store, stray)
    assert (found["state"], found["reason"], found["strange"]) == ("dead", "unknown_kind", UNKNOWN.most_attempts)
    assert found["attempts"] == 0, "nobody has tried it"


@sqlite_only
async def test_an_unknown_kind_is_judged_again_while_the_process_runs(store: Store, clock: ManualClock) -> None:
    [stray] = await owe(store, OTHER, 1)
    async with running(store, clock, {ONE: nothing}):
        await until(store, lambda reader: reader.one(LOOKS, id=stray, looks=2), Slow(clock))
    found = await row(store, stray)
    assert parse_stamp(found["next_attempt_at"]) - parse_stamp(found["decided_at"]) == timedelta(minutes=10)


LOOKS = query("looks", sqlite="SELECT id FROM propagations WHERE id = :id AND strange >= :looks")


@pytest.mark.guards(
    "Rows that were put off because nobody knew their kind start afresh when a process comes that does.",
    against="A pack that is put back waits out the delays of its absence, or dies of them.",
    breaks=("propagation-unknown-stay-put-off",),
)
async def test_a_kind_that_is_known_again_is_done_at_once(store: Store, clock: ManualClock) -> None:
    [stray] = await owe(store, OTHER, 1)
    async with running(store, clock, {ONE: nothing}):
        await until(store, lambda reader: reader.one(LOOKS, id=stray, looks=1), Slow(clock))
    tries = Tries(is_open=True)
    async with running(store, clock, {OTHER: tries}):
        await soon(lambda: tries.tried == [1])
        [done] = await all_done(store)
    assert (done["id"], done["state"], done["attempts"]) == (stray, "done", 0)


@postgres_only
@pytest.mark.guards(
    "A row is not judged unknown while a living process knows its kind.",
    against="A worker of an older version buries what the newer one beside it is there to do.",
    breaks=("propagation-judges-over-the-others",),
)
async def test_a_living_process_that_knows_the_kind_vetoes(store: Store, other: Store, clock: ManualClock) -> None:
    [theirs] = await owe(store, OTHER, 1)
    before = await row(store, theirs)
    here, there = Rests(clock), Rests(clock)
    knowing = Runner(other, registry({}, [OTHER]), there, drain_seconds=0.0)
    await knowing.start()
    async with running(store, here, {ONE: nothing}):
        await swept(clock, [here, there], 3)
        assert await row(store, theirs) == before
        knowing._tasks[1].cancel()  # it is gone without a word
        await swept(clock, [here], int(LEASE / SWEEP_SECONDS) - 2)
        assert await row(store, theirs) == before
        await swept(clock, [here], 4)
        found = await row(store, theirs)
    assert (found["reason"], found["strange"]) == ("unknown_kind", 1)
    await knowing.stop()
