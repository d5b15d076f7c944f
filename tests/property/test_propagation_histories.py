"""Random histories of the queue against a small model: nothing lost, nothing twice, in order, and told by the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conformance.test_propagation_order import HOT, LEDGER, PACKS, JumpingClock
from conftest import StoreMaker
from holdfast.core.changes import log
from holdfast.core.instants import parse_stamp, seconds
from holdfast.core.propagation import claims, queue, rescue
from holdfast.core.propagation.claims import Claimed, Settled
from holdfast.core.propagation.kinds import Kind
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry, Wait
from holdfast.core.propagation.pack import _SHOWN
from holdfast.core.propagation.schedule import Schedule
from holdfast.core.propagation.verdict import after_try
from holdfast.core.store.sql import query
from testpack import ACT

if TYPE_CHECKING:
    from holdfast.core.store.port import Row, Store, Unit

BRIEF = Schedule("brief", "For histories.", (10, 100))
EMPTY = [
    query("empty", sqlite=f"DELETE FROM {name}") for name in ("propagations", "propagation_ledger", "propagation_keys")
]


class Note(msgspec.Struct):
    """What the effects are about."""

    lane: str = ""


def kind(name: str, **declared: Any) -> Kind[Note]:
    return Kind(
        name=f"test.{name}", doc="A note.", payload=Note, schedule=BRIEF, max_attempts=2, max_starts=2, **declared
    )


KINDS = {
    each.name: each
    for each in (
        kind("plain"),
        kind("pending", unique="pending"),
        kind("forever", unique="forever"),
        kind("laned", lane=lambda note: note.lane),
        kind("blocking", lane=lambda note: note.lane, dead_blocks=True),
        kind("both", unique="pending", dead_blocks=True),
    )
}


@dataclass
class Owed:
    """A row as the model knows it."""

    id: int
    kind: Kind[Note]
    key: str
    lane: str | None
    due: datetime
    state: str = "pending"
    attempts: int = 0
    starts: int = 0
    claim: Claimed | None = None
    resumed: bool = False

    @property
    def live(self) -> bool:
        return self.state in {"pending", "waiting"}

    @property
    def shown(self) -> tuple[Any, ...]:
        return self.state, self.attempts, self.starts, self.claim and self.claim.claim


@dataclass
class Model:
    """What should be there, by rules that fit on a page."""

    rows: dict[int, Owed] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)

    def of(self, of: Kind[Note], key: str | None = None) -> list[Owed]:
        return [row for row in self.rows.values() if row.kind is of and key in {None, row.key}]

    def absorbing(self, of: Kind[Note], key: str) -> int | None:
        if of.unique == "forever":
            return self.keys.get(key)
        pending = [row.id for row in self.of(of, key) if row.live and row.claim is None]
        assert len(pending) <= 1 or of.unique == "no"
        return pending[0] if pending and of.unique == "pending" else None

    def has_turn(self, row: Owed) -> bool:
        ahead = [each for each in self.of(row.kind) if each.lane == row.lane and each.id < row.id]
        return row.lane is None or not any(
            each.live or (each.state == "dead" and row.kind.dead_blocks) for each in ahead
        )

    def due(self, of: Kind[Note], now: datetime, *, suspects: bool) -> list[int]:
        ready = [
            row
            for row in self.of(of)
            if row.live and row.claim is None and row.due <= now and (row.starts > 0) is suspects and self.has_turn(row)
        ]
        return [row.id for row in sorted(ready, key=lambda row: (row.due, row.id))]

    def settle(self, row: Owed, outcome: Outcome, now: datetime) -> None:
        row.starts -= 1
        match outcome:
            case Done() | Cancel():
                row.claim, row.state = None, "done" if isinstance(outcome, Done) else "cancelled"
            case Wait():
                self.release(row, "waiting", now if row.resumed else now + seconds(outcome.after))
            case Retry():
                row.attempts += 1
                wait = outcome.after if outcome.after is not None else BRIEF.delays[0]
                self.fail(row, row.attempts >= row.kind.max_attempts, now + seconds(wait))

    def crash(self, row: Owed, now: datetime) -> None:
        delay = 0 if row.starts <= 1 else BRIEF.delays[min(row.attempts + row.starts - 1, 2) - 1]
        self.fail(row, row.starts >= row.kind.max_starts, now + seconds(delay))

    def fail(self, row: Owed, dies: bool, due: datetime) -> None:
        if dies:
            row.claim, row.state = None, "dead"
        else:
            self.release(row, "pending", due)

    def release(self, row: Owed, state: str, due: datetime) -> None:
        successor = [each for each in self.of(row.kind, row.key) if each.live and each.claim is None]
        row.claim = None
        if row.kind.unique == "pending" and successor:
            row.state = "cancelled"
        else:
            row.state, row.due = state, due


# --- one step, done to the store and to the model -----------------------------------------------------------------

KEYS, LANES = st.sampled_from("kl"), st.sampled_from("ab")
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Done()),
    st.just(Cancel("no")),
    st.builds(Retry, st.sampled_from([None, 0.0, 50.0])),
    st.builds(Wait, st.just("w"), st.sampled_from([0.0, 50.0])),
)


def steps(few: list[str]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Histories of a few kinds, so that their rows meet."""
    names = st.sampled_from(few)
    each = st.one_of(
        st.tuples(st.just("owe"), names, KEYS, LANES, st.sampled_from([0, 0, 0, 30])),
        st.tuples(st.just("owe"), names, KEYS, LANES, st.just(0)),
        st.tuples(st.just("owe"), names, KEYS, LANES, st.sampled_from([0, 0, 0, 30])),
        st.tuples(st.just("owe"), names, KEYS, LANES, st.just(0)),
        st.tuples(st.just("claim"), names, st.integers(1, 3)),
        st.tuples(st.just("claim"), names, st.integers(1, 3)),
        st.tuples(st.just("settle"), st.integers(0, 9), OUTCOMES),
        st.tuples(st.just("settle"), st.integers(0, 9), OUTCOMES),
        st.tuples(st.just("settle"), st.integers(0, 9), st.just(Done())),
        st.tuples(st.just("crash"), st.integers(0, 9)),
        st.tuples(st.just("suspect"), names),
        st.tuples(st.just("cancel"), names, KEYS),
        st.tuples(st.just("supersede"), names, KEYS, LANES),
        st.tuples(st.just("resume"), names, KEYS),
        st.tuples(st.just("wait"), st.sampled_from([5, 60, 500])),
    )
    return st.lists(each, min_size=10, max_size=60)


HISTORIES = st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=2, unique=True).flatmap(steps)


class History:
    """Does steps to a store and to the model, and compares."""

    def __init__(self, store: Store, wall: JumpingClock) -> None:
        self.store, self.wall, self.model = store, wall, Model()
        self._tokens = count(1)

    async def unit(self, work: Callable[[Unit], Any], *, guarded: bool = False) -> Any:
        return await self.store.unit(ACT, work, guarded=guarded)

    async def owe(self, name: str, key: str, lane: str, after: int) -> None:
        of, due = KINDS[name], self.wall.now() + timedelta(seconds=after)
        at = due if after else None
        owed = await self.unit(lambda unit: queue.enqueue(unit, of, Note(lane), key=key, at=at))
        self.note(of, key, lane, due, owed)

    def note(self, of: Kind[Note], key: str, lane: str, due: datetime, owed: queue.Enqueued) -> None:
        absorbing = self.model.absorbing(of, key)
        assert (owed.id, owed.new) == ((owed.id, True) if absorbing is None else (absorbing, False))
        if owed.new:
            assert owed.id > max(self.model.rows, default=0)
            in_lane = lane if of.lane is not None else key if of.unique == "pending" else None
            self.model.rows[owed.id] = Owed(owed.id, of, key, in_lane, due)
            if of.unique == "forever":
                self.model.keys[key] = owed.id

    async def claim(self, name: str, limit: int) -> None:
        token = f"run.{next(self._tokens)}"
        got = await self.unit(lambda unit: claims.claim(unit, KINDS[name], token, limit), guarded=True)
        self.claimed(got, self.model.due(KINDS[name], self.wall.now(), suspects=False)[:limit])

    async def suspect(self, name: str) -> None:
        token = f"run.{next(self._tokens)}"
        got = await self.unit(lambda unit: claims.claim_suspect(unit, KINDS[name], token), guarded=True)
        self.claimed(got, self.model.due(KINDS[name], self.wall.now(), suspects=True)[:1])

    def claimed(self, got: list[Claimed], expected: list[int]) -> None:
        assert [row.id for row in got] == expected
        for row in got:
            known = self.model.rows[row.id]
            known.claim, known.starts, known.resumed = row, known.starts + 1, False
            assert (row.attempts, row.starts) == (known.attempts, known.starts)

    def under_way(self, nth: int) -> Owed | None:
        rows = [row for row in self.model.rows.values() if row.claim is not None]
        return rows[nth % len(rows)] if rows else None

    async def settle(self, nth: int, outcome: Outcome) -> None:
        row = self.under_way(nth)
        if row is None or row.claim is None:
            return
        claim = row.claim
        verdict = after_try(row.kind, claim.counts, outcome, self.wall.stamp(), 1.0)
        settled = Settled(claim, None if isinstance(outcome, Done) else verdict)
        for late in (0, 1):  # the second time the lease is not held any more
            assert await self.unit(lambda unit: claims.settle(unit, [settled]), guarded=True) == late
        self.model.settle(row, outcome, self.wall.now())

    async def crash(self, nth: int) -> None:
        row = self.under_way(nth)
        if row is None:
            return
        (seen,) = [rescue.seen(lease) for lease in await self.store.read(rescue.claimed) if lease["id"] == row.id]
        assert await self.unit(lambda unit: rescue.rescue(unit, KINDS, [seen]), guarded=True) == 1
        self.model.crash(row, self.wall.now())

    async def cancel(self, name: str, key: str) -> None:
        gone = await self.unit(lambda unit: queue.cancel(unit, KINDS[name], key, "taken back"))
        assert gone == self.take_back(name, key)

    def take_back(self, name: str, key: str) -> int:
        rows = [row for row in self.model.of(KINDS[name], key) if not row.claim and (row.live or row.state == "dead")]
        for row in rows:
            row.state = "cancelled"
        return len(rows)

    async def supersede(self, name: str, key: str, lane: str) -> None:
        of = KINDS[name]
        if of.unique == "forever":
            return
        owed = await self.unit(lambda unit: queue.supersede(unit, of, Note(lane), key=key))
        self.take_back(name, key)
        self.note(of, key, lane, self.wall.now(), owed)
        assert owed.new

    async def resume(self, name: str, key: str) -> None:
        woken = await self.unit(lambda unit: queue.resume(unit, KINDS[name], key))
        rows = [row for row in self.model.of(KINDS[name], key) if row.state == "waiting" or row.claim]
        assert woken == len(rows)
        for row in rows:
            row.resumed, row.due = row.claim is not None, row.due if row.claim else self.wall.now()

    async def wait(self, length: int) -> None:
        self.wall.jump(length)

    # --- what must hold ----------------------------------------------------------------------------------------

    async def compare(self) -> None:
        """The rows are the model's, and replaying the change log gives them."""
        hot, over, changes = await self.store.read(
            lambda reader: (
                reader.all(HOT),
                reader.all(LEDGER),
                log.page(reader, after=0, upto=1 << 60, limit=1_000_000),
            )
        )
        found = {row["id"]: (row["state"], row["attempts"], row["starts"], row.get("claim")) for row in hot + over}
        assert len(found) == len(hot) + len(over), "a row is owed and over at once"
        assert found == {row.id: row.shown for row in self.model.rows.values()}
        assert all((row["state"] in {"done", "cancelled"}) is (row in over) for row in hot + over)
        due = {row["id"]: parse_stamp(row["next_attempt_at"]) for row in hot if row["state"] != "dead"}
        assert due == {row.id: row.due for row in self.model.rows.values() if row.live}
        assert replayed(changes) == {str(row["id"]): shown(row) for row in hot + over}

    async def drain(self) -> None:
        """Everything that is live comes to be done, in the order of its lane."""
        for _ in range(200):
            while (row := self.under_way(0)) is not None:
                await self.settle(0, Done())
                assert row.state == "done"
            await self.wait(1_000)
            for name in KINDS:
                await self.claim(name, 50)
                await self.suspect(name)
            if self.under_way(0) is None:
                break
        blocked = [row for row in self.model.rows.values() if row.live]
        assert all(not self.model.has_turn(row) and row.kind.dead_blocks for row in blocked)


def shown(row: Row) -> dict[str, Any]:
    """The watched columns of a row."""
    ends = "finished_at" if "finished_at" in row else "next_attempt_at"
    return {name: row[name] for name in (*_SHOWN, ends)}


def replayed(changes: list[log.Change]) -> dict[str, dict[str, Any]]:
    """The rows that the payloads lead to; each names as changed what differs from the one before."""
    rows: dict[str, dict[str, Any]] = {}
    for change in (change for change in changes if change.entity == "propagation"):
        payload = json.loads(change.payload)
        named, before = payload.pop("changed"), rows.get(change.entity_id)
        match change.event:
            case "propagation_created":
                assert before is None
            case "propagation_removed":
                assert before == payload
                del rows[change.entity_id]
                continue
            case _:
                assert before is not None
                assert "finished_at" not in before, "a row came back from the ledger"
                moved = "finished_at" in payload
                assert named == [name for name in payload if moved or payload[name] != before[name]]
                assert named, "an event of nothing"
        rows[change.entity_id] = payload
    return rows


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def wall() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def opened(loop: asyncio.Runner, engine: Any, tmp_path: Any, new_database: Any, wall: JumpingClock) -> Iterator[Store]:
    maker = StoreMaker(engine, tmp_path, new_database)
    yield loop.run(maker(packs=PACKS, clock=wall))
    loop.run(maker.close())


@pytest.mark.slow
@pytest.mark.guards(
    "Whatever happens to the queue, no effect is lost, none is done twice, lanes keep their order, one row of a key is "
    "pending, and replaying the change log gives the rows.",
    against="An order of events that nobody thought of, and an effect that is lost by it.",
    breaks=(
        "queue-gives-no-turn",
        "queue-absorbs-into-what-is-under-way",
        "outcomes-ignore-the-fence",
        "outcomes-leave-before-they-arrive",
    ),
)
# A failing history is not shrunk: on a real store that takes minutes.
@settings(max_examples=100, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(steps=HISTORIES)
def test_every_history_of_the_queue_is_the_models(
    loop: asyncio.Runner, opened: Store, wall: JumpingClock, steps: list[tuple[Any, ...]]
) -> None:
    def empty(unit: Unit) -> None:
        for statement in EMPTY:
            unit.run(statement)

    async def scenario() -> None:
        await opened.unit(ACT, empty)
        history = History(opened, wall)
        for what, *given_to_it in steps:
            await getattr(history, what)(*given_to_it)
        await history.compare()
        await history.drain()
        await history.compare()

    loop.run(scenario())
