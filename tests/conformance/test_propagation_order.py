"""Lanes: rows of one are done strictly in order, lanes beside each other; and a runner that tests move by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import apsw
import msgspec
import pytest

from holdfast.core.clock import SystemClock
from holdfast.core.propagation import claims, queue
from holdfast.core.propagation.claims import Settled
from holdfast.core.propagation.kinds import Handler, Kind, Registry
from holdfast.core.propagation.loop import Loop
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry
from holdfast.core.propagation.pack import PROPAGATION
from holdfast.core.propagation.queue import Enqueued, enqueue
from holdfast.core.propagation.runner import Runner
from holdfast.core.propagation.schedule import STANDARD
from holdfast.core.store.pack import CORE
from holdfast.core.store.sql import Query, query
from manual_clock import ManualClock
from opened import postgres_only, sqlite_only
from testpack import ACT, PACK

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Row, Store, Unit

PACKS = (CORE, PROPAGATION, PACK)
LIMIT = 20.0
HOT = query("hot", sqlite="SELECT * FROM propagations ORDER BY id")
LEDGER = query("ledger", sqlite="SELECT * FROM propagation_ledger ORDER BY id")


class Note(msgspec.Struct):
    """What the effects of these tests are about."""

    n: int = 0
    lane: str = ""


def kind(name: str = "test.note", **declared: Any) -> Kind[Note]:
    """A kind with little to say."""
    return Kind(**{"name": name, "doc": "A note.", "payload": Note, "schedule": STANDARD, **declared})


class JumpingClock(ManualClock):
    """A manual clock whose wall clock can be set; its steady one has no rounding errors."""

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._steady = round(self._steady, 6)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(round(seconds - 1e-7, 6))

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock; nobody's sleep knows."""
        self._now += timedelta(seconds=seconds)


class WallOf(SystemClock):
    """The clock of a store: the wall of another one, and time of its own, by which its units may take so long."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def stamp(self) -> str:
        return self._clock.stamp()


class SteppedLoop(Loop):
    """Tells whether it has nothing to do before its clock is moved or it is woken."""

    resting = False

    async def _rest(self) -> None:
        self.resting = True
        try:
            await super()._rest()
        finally:
            self.resting = False

    @property
    def at_rest(self) -> bool:
        return self.resting and not self._wake.is_set() and not self.under_way and not self._outbox


class Driven:
    """A store and a runner over it; a move ends when the runner has come to rest."""

    def __init__(
        self, store: Store, clock: JumpingClock, handlers: Mapping[Kind[Any], Handler], **options: Any
    ) -> None:
        self.store = store
        self.clock = clock
        self.runner = Runner(store, Registry(handlers, handlers), clock, **{"drain_seconds": 2.0} | options)
        self.loop = self.runner._loop
        self.loop.__class__ = SteppedLoop

    async def __aenter__(self) -> Self:
        await self.runner.start()
        await self.rested()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.stop()

    async def rested(self) -> None:
        """Until there is nothing to do now."""
        calm = 0
        async with asyncio.timeout(LIMIT):
            while calm < 10:
                await asyncio.sleep(0)
                calm = calm + 1 if self.loop.at_rest else 0
                for task in self.runner._tasks:
                    assert not task.done(), task

    async def advance(self, seconds: float, *, step: float | None = None) -> None:
        """Let time go by, in steps if told."""
        left = seconds
        while left > 0:
            self.clock.advance(min(left, step or seconds))
            left = round(left - (step or seconds), 6)
            await self.rested()

    async def owe(
        self, what: Kind[Note], *notes: Note, key: str | None = None, at: datetime | None = None
    ) -> list[int]:
        """Enqueue, in one unit; the ids."""
        return [owed.id for owed in await owe(self.store, what, *notes, key=key, at=at)]


async def owe(
    store: Store, what: Kind[Note], *notes: Note, key: str | None = None, at: datetime | None = None
) -> list[Enqueued]:
    """Enqueue, in one unit."""
    return await store.unit(
        ACT, lambda unit: [enqueue(unit, what, note, key=key, at=at) for note in notes or (Note(),)]
    )


async def hot(store: Store) -> dict[int, Row]:
    """What is owed or dead, by id."""
    return {row["id"]: row for row in await store.read(lambda reader: reader.all(HOT))}


async def ledger(store: Store) -> dict[int, Row]:
    """What is over, by id."""
    return {row["id"]: row for row in await store.read(lambda reader: reader.all(LEDGER))}


async def states(store: Store) -> dict[int, str]:
    """The state of every row, in the order of their ids."""
    found = {**await hot(store), **await ledger(store)}
    return {row_id: found[row_id]["state"] for row_id in sorted(found)}


async def until(look: Callable[[], object]) -> None:
    """Give way until it is so."""
    async with asyncio.timeout(LIMIT):
        while not look():
            await asyncio.sleep(0)


def told(seen: list[Note], outcome: Callable[[Job[Note]], Outcome] = lambda _: Done()) -> Handler:
    """A handler that remembers what it was given, and does as it is told."""

    async def handler(job: Job[Note]) -> Outcome:
        seen.append(job.payload)
        return outcome(job)

    return handler


@pytest.fixture
def moved() -> JumpingClock:
    """The clock of store and runner."""
    return JumpingClock()


@pytest.fixture
async def notes(make_store: StoreMaker, moved: JumpingClock) -> Store:
    """An open store with the tables of the queue."""
    return await make_store(packs=PACKS, clock=WallOf(moved))


# --- order -----------------------------------------------------------------------------------------------------

LANED = kind(lane=lambda note: note.lane, concurrency=4)


@pytest.mark.guards(
    "Rows of a lane are done in the order in which they were owed, also while the first of them fails and waits.",
    against="A second effect on a thing overtakes the first one, which is tried again and undoes it.",
    breaks=("lanes-forget-who-is-under-way", "lanes-claim-out-of-turn"),
)
async def test_a_lane_waits_for_its_first_row_through_every_retry(notes: Store, moved: JumpingClock) -> None:
    seen: list[Note] = []
    first, entered = asyncio.Event(), asyncio.Event()

    async def handler(job: Job[Note]) -> Outcome:
        seen.append(job.payload)
        entered.set()
        await first.wait()
        return Retry(after=5) if job.payload.n == 1 and job.attempt <= 2 else Done()

    async with Driven(notes, moved, {LANED: handler}) as driven:
        await driven.owe(LANED, Note(1, "a"))
        await until(entered.is_set)
        await driven.owe(LANED, Note(2, "a"), Note(3, "a"))  # while the first is under way
        first.set()
        await driven.rested()
        await driven.owe(LANED, Note(4, "a"), Note(9, "b"))  # while the first waits
        await driven.rested()
        assert seen == [Note(1, "a"), Note(9, "b")]
        await driven.advance(5)
        assert seen == [Note(1, "a"), Note(9, "b"), Note(1, "a")]
        await driven.advance(5)
    assert [note.n for note in seen if note.lane == "a"] == [1, 1, 1, 2, 3, 4]
    assert set((await states(notes)).values()) == {"done"}


@pytest.mark.guards(
    "Lanes go on beside each other, as many at once as the kind allows.",
    against="One slow thing holds up all others of its kind.",
    breaks=("lanes-are-one-lane",),
)
async def test_lanes_go_on_beside_each_other(notes: Store, moved: JumpingClock) -> None:
    all_in = asyncio.Barrier(4)
    within: dict[str, int] = {}

    async def handler(job: Job[Note]) -> Outcome:
        within[job.payload.lane] = within.get(job.payload.lane, 0) + 1
        assert within[job.payload.lane] == 1, "two of one lane at once"
        async with asyncio.timeout(LIMIT / 2):
            await all_in.wait()
        within[job.payload.lane] -= 1
        return Done()

    async with Driven(notes, moved, {LANED: handler}) as driven:
        await driven.owe(LANED, *(Note(n, lane) for n in range(2) for lane in "abcd"))
        await driven.rested()
        assert list((await states(notes)).values()) == ["done"] * 8


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.guards(
    "A dead row keeps those behind it waiting if its kind says so, and only then.",
    against="What must not happen without the first step happens; or one dead row stops a lane for ever.",
    breaks=("lanes-pass-the-dead", "lanes-stop-at-the-dead"),
)
async def test_a_dead_row_blocks_its_lane_only_if_its_kind_says_so(
    notes: Store, moved: JumpingClock, *, blocks: bool
) -> None:
    mortal = kind(lane=lambda note: note.lane, dead_blocks=blocks, max_attempts=1)
    seen: list[Note] = []
    handler = told(seen, lambda job: Retry(why="no") if job.payload.n == 1 else Done())
    async with Driven(notes, moved, {mortal: handler}) as driven:
        dead, behind = await driven.owe(mortal, Note(1, "a"), Note(2, "a"))
        await driven.rested()
        (later,) = await driven.owe(mortal, Note(3, "a"))  # comes when it is dead already
        await driven.rested()
        expected = "pending" if blocks else "done"
        assert await states(notes) == {dead: "dead", behind: expected, later: expected}
        await notes.unit(ACT, lambda unit: close_dead(unit, mortal))
        await driven.rested()
        assert await states(notes) == {dead: "cancelled", behind: "done", later: "done"}
    assert [note.n for note in seen] == [1, 2, 3]


def close_dead(unit: Unit, what: Kind[Any]) -> None:
    """Somebody gives up the dead."""
    for row in [row for row in unit.all(HOT) if row["state"] == "dead"]:
        queue.close(unit, row, "cancelled", "given up", dead_blocks=what.dead_blocks)


async def test_whoever_leaves_a_lane_gives_the_next_one_its_turn(notes: Store, moved: JumpingClock) -> None:
    seen: list[Note] = []
    handler = told(seen, lambda job: Cancel("not wanted") if job.payload.n == 2 else Done())
    ids = [(await owe(notes, LANED, Note(n, "a"), key=f"k{n}"))[0].id for n in range(1, 6)]
    # The first and one in the middle are taken back before anybody has looked.
    assert await notes.unit(ACT, lambda unit: queue.cancel(unit, LANED, "k1", "no")) == 1
    assert await notes.unit(ACT, lambda unit: queue.cancel(unit, LANED, "k4", "no")) == 1
    async with Driven(notes, moved, {LANED: handler}) as driven:
        await driven.rested()
    assert [note.n for note in seen] == [2, 3, 5]
    assert await states(notes) == dict(zip(ids, ["cancelled", "cancelled", "done", "cancelled", "done"], strict=True))


# --- the cost of a long lane -------------------------------------------------------------------------------------

LONG = 5_000


async def fill(store: Store, count: int) -> None:
    """One lane of so many rows, and as many rows of other lanes before and after it."""

    def lane(n: int) -> str:
        return "long" if n % 3 == 1 else f"l{n}"

    for start in range(0, 3 * count, 1_500):
        batch = [Note(n, lane(n)) for n in range(start, min(start + 1_500, 3 * count))]
        await owe(store, LANED, *batch)


def turn(unit: Unit) -> None:
    """What the runner does with a row of the long lane: claims it with others, and writes that it is done."""
    rows = claims.claim(unit, LANED, "run.1", 4)
    assert any(row.lane == "long" for row in rows)
    assert claims.settle(unit, [Settled(row) for row in rows]) == 0
    enqueue(unit, LANED, Note(0, "long"))


class Steps:
    """Counts the steps of SQLite's machine on every connection opened while it is on."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self.traced)

    def traced(self, event: dict[str, Any]) -> None:
        self.count += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]


@sqlite_only
@pytest.mark.guards(
    "A turn of a lane costs the same however many rows wait in it.",
    against="A lane of thousands of rows whose every turn looks at all of them, so that the store stands still.",
    breaks=("lanes-look-at-everybody",),
)
async def test_a_turn_in_a_long_lane_costs_no_more_than_in_a_short_one(
    make_store: StoreMaker, moved: JumpingClock
) -> None:
    steps = Steps()
    apsw.connection_hooks.append(steps)
    try:
        cost = {}
        for count in (10, LONG):
            store = await make_store(packs=PACKS, clock=WallOf(moved))
            await fill(store, count)
            before = steps.count
            await store.unit(ACT, turn)
            cost[count] = steps.count - before
    finally:
        apsw.connection_hooks.remove(steps)
    assert 0 < cost[LONG] < 1.5 * cost[10]


def touched(plan: Mapping[str, Any]) -> float:
    """The rows that PostgreSQL looked at in a plan, those that it threw away among them."""
    own = plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    return own + sum(touched(inner) for inner in plan.get("Plans", ()))


def looked_at(unit: Unit, statement: Query, **params: Any) -> float:
    """How many rows a statement looks at."""
    row = unit.one(replace(statement, postgres=f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.postgres}"), **params)
    assert row is not None
    (plan,) = row.values()
    (top,) = json.loads(plan) if isinstance(plan, str) else plan
    return touched(top["Plan"])


@postgres_only
@pytest.mark.parametrize("analyzed", [False, True])
async def test_no_statement_of_a_lane_looks_at_more_than_a_few_rows(notes: Store, *, analyzed: bool) -> None:
    await fill(notes, LONG)
    if analyzed:
        await notes.unit(ACT, lambda unit: unit.run(query("analyze", sqlite="ANALYZE propagations")))

    def look(unit: Unit) -> dict[str, float]:
        lane = {"kind": LANED.name, "lane": "long", "dead_blocks": 0}
        now = {"kind": LANED.name, "now": unit.at, "claim": "run.1", "until": unit.at, "limit": 4}
        return {
            "last_in_lane": looked_at(unit, queue.SQL.last_in_lane, **lane),
            "turn": looked_at(unit, queue.SQL.turn, **lane),
            "claim": looked_at(unit, claims.SQL.claim, **now),
        }

    seen = await notes.unit(ACT, look)
    assert {name: rows for name, rows in seen.items() if not 0 <= rows <= 40} == {}
