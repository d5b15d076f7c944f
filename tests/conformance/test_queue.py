"""Owing effects: inside a unit or not at all, once where the kind says so, replaced, taken back and let go on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest

from conformance.test_propagation_order import (
    ACT,
    LIMIT,
    PACKS,
    Driven,
    JumpingClock,
    Note,
    WallOf,
    hot,
    kind,
    ledger,
    owe,
    states,
    told,
    until,
)
from conformance.test_propagation_order import moved as moved  # noqa: PLC0414 - a fixture
from conformance.test_propagation_order import notes as notes  # noqa: PLC0414
from holdfast.core import faults
from holdfast.core.errors import Invalid
from holdfast.core.instants import stamp
from holdfast.core.propagation import claims, queue
from holdfast.core.propagation.kinds import LARGEST_PAYLOAD, LONGEST_KEY
from holdfast.core.propagation.outcome import Done, Outcome, Retry, Wait
from holdfast.core.propagation.queue import enqueue
from holdfast.core.store.sql import query
from holding import Held, adds
from opened import postgres_only

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Store, Unit

PLAIN = kind("test.plain")
PENDING = kind("test.pending", unique="pending")
FOREVER = kind("test.forever", unique="forever")


class UndoneError(Exception):
    """A unit of work that fails on purpose."""


# --- in the unit, or not at all ----------------------------------------------------------------------------------


@pytest.mark.guards(
    "An effect is owed by the unit that decides it, or not at all.",
    against="An effect of a decision that was never made, or a decision whose effect is forgotten.",
    breaks=("sqlite-keeps-half-a-unit", "topics-tell-of-a-rolled-back-unit"),
)
async def test_a_unit_that_is_rolled_back_owes_nothing_and_tells_nobody(notes: Store) -> None:
    def undone(unit: Unit) -> None:
        for what in (PLAIN, PENDING, FOREVER):
            enqueue(unit, what, Note(), key="k")
        raise UndoneError

    calls: list[None] = []
    notes.on_topic(queue.TOPIC, lambda: calls.append(None))
    if notes.dialect == "postgres":
        await until(lambda: calls)  # whoever begins to listen there is called once
        calls.clear()
    async with Held(notes, 1) as held:  # SQLite commits it together with another one
        asked = [asyncio.ensure_future(notes.unit(ACT, work)) for work in (undone, adds("beside"))]
        await turns()
        held.open()
        assert [type(each) for each in await asyncio.gather(*asked, return_exceptions=True)] == [UndoneError, int]
    assert (await states(notes), calls) == ({}, [])
    # The keys are free as well.
    assert [owed.new for what in (PENDING, FOREVER) for owed in await owe(notes, what, key="k")] == [True, True]
    await until(lambda: calls)


async def turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_an_effect_is_due_at_once_or_at_the_time_that_was_asked_for(notes: Store, moved: JumpingClock) -> None:
    seen: list[Note] = []
    later = moved.now() + timedelta(hours=2)
    async with Driven(notes, moved, {PLAIN: told(seen)}) as driven:
        await driven.owe(PLAIN, Note(1))
        (waiting,) = await driven.owe(PLAIN, Note(2), at=later)
        await driven.rested()
        row = (await hot(notes))[waiting]
        assert (row["next_attempt_at"], row["not_before"]) == (stamp(later), stamp(later))
        assert await notes.unit(ACT, lambda unit: queue.delayed(unit, 7200)) == later
        await driven.advance(7199)
        assert seen == [Note(1)]
        await driven.advance(1)
    assert seen == [Note(1), Note(2)]


# --- once -------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "One row of a key is pending at a time: a second effect is the first one.",
    against="The same message twice, because two things asked for it before it was sent.",
    breaks=("queue-never-looks-for-the-pending",),
)
async def test_a_pending_key_absorbs_what_comes_under_it(notes: Store, moved: JumpingClock) -> None:
    (first,) = await owe(notes, PENDING, Note(1), key="k")
    (again,) = await owe(notes, PENDING, Note(2), key="k", at=moved.now() + timedelta(days=1))
    (other,) = await owe(notes, PENDING, Note(3), key="l")
    (elsewhere,) = await owe(notes, kind("test.other", unique="pending"), Note(4), key="k")
    assert (first.new, again.new, other.new, elsewhere.new) == (True, False, True, True)
    assert again.id == first.id
    assert len(await hot(notes)) == 3


@pytest.mark.parametrize("outcome", [Done(), Retry(after=60), Wait("later", 60)], ids=lambda out: type(out).__name__)
@pytest.mark.guards(
    "What comes under a key while its row is under way is owed by a row of its own, which is done after it.",
    against="A change that came while the message was written is never told of.",
    breaks=("queue-absorbs-into-what-is-under-way", "queue-tries-again-what-was-replaced"),
)
async def test_a_row_under_way_absorbs_nothing(notes: Store, moved: JumpingClock, outcome: Outcome) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    seen: list[Note] = []

    async def handler(job: Job[Note]) -> Outcome:
        seen.append(job.payload)
        entered.set()
        await go.wait()
        return outcome if job.payload.n == 1 else Done()

    async with Driven(notes, moved, {PENDING: handler}) as driven:
        (first,) = await driven.owe(PENDING, Note(1), key="k")
        await until(entered.is_set)
        second, third = await driven.owe(PENDING, Note(2), Note(3), key="k")
        assert first != second == third
        go.set()
        await driven.rested()
        assert seen == [Note(1), Note(2)]
        ended = (await ledger(notes))[first]
        expected = ("done", None) if isinstance(outcome, Done) else ("cancelled", "superseded")
        assert (ended["state"], ended["reason"]) == expected
        assert await states(notes) == {first: expected[0], second: "done"}


@pytest.mark.guards(
    "A key that is unique for ever is used once, also when its row is done, cancelled or dead.",
    against="A welcome, a payment or a set-up that is done again.",
    breaks=("queue-forgets-keys-for-ever",),
)
async def test_a_key_for_ever_is_used_once(notes: Store, moved: JumpingClock) -> None:
    mortal = kind("test.forever", unique="forever", max_attempts=1)
    ends = {"done": Done(), "dead": Retry()}
    async with Driven(notes, moved, {mortal: told([], lambda job: ends[job.key or ""])}) as driven:
        ids = {key: (await driven.owe(mortal, key=key))[0] for key in ("done", "dead")}
        await driven.rested()
        (ids["cancelled"],) = await driven.owe(mortal, key="cancelled", at=moved.now() + timedelta(1))
        assert await notes.unit(ACT, lambda unit: queue.cancel(unit, mortal, "cancelled", "no")) == 1
        assert await states(notes) == {row_id: state for state, row_id in ids.items()}
        for state, row_id in ids.items():
            (again,) = await owe(notes, mortal, key=state)
            assert (again.id, again.new) == (row_id, False)
        with pytest.raises(Invalid, match=r"test\.forever.*for ever.*'done'"):
            await notes.unit(ACT, lambda unit: queue.supersede(unit, mortal, Note(), key="done"))
    assert len(await states(notes)) == 3


# --- replaced, taken back, let go on ------------------------------------------------------------------------------


async def test_superseding_replaces_what_has_not_been_started(notes: Store, moved: JumpingClock) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    seen: list[Note] = []

    async def handler(job: Job[Note]) -> Outcome:
        seen.append(job.payload)
        entered.set()
        await go.wait()
        return Done()

    async with Driven(notes, moved, {PENDING: handler}) as driven:
        (running,) = await driven.owe(PENDING, Note(1), key="k")
        await until(entered.is_set)
        (replaced,) = await driven.owe(PENDING, Note(2), key="k")
        newest = await notes.unit(ACT, lambda unit: queue.supersede(unit, PENDING, Note(3), key="k"))
        go.set()
        await driven.rested()
    assert newest.new
    assert seen == [Note(1), Note(3)]
    assert await states(notes) == {running: "done", replaced: "cancelled", newest.id: "done"}
    assert (await ledger(notes))[replaced]["reason"] == "superseded"


@pytest.mark.guards(
    "Taking back what is owed under a key takes what is pending, waiting and dead, and never what is under way.",
    against="An effect that happens although its row says that it was taken back.",
    breaks=("queue-takes-back-what-is-under-way",),
)
async def test_cancelling_takes_back_all_but_what_is_under_way(notes: Store, moved: JumpingClock) -> None:
    go = asyncio.Event()
    mortal = kind("test.mortal", max_attempts=1, concurrency=9)
    ends = {1: Wait("not yet"), 2: Retry(why="no"), 3: Done()}

    async def handler(job: Job[Note]) -> Outcome:
        if job.payload.n == 3:
            await go.wait()
        return ends[job.payload.n]

    async with Driven(notes, moved, {mortal: handler}) as driven:
        waiting, dead, running = await driven.owe(mortal, Note(1), Note(2), Note(3), key="k")
        (pending,) = await driven.owe(mortal, Note(4), key="k", at=moved.now() + timedelta(1))
        (other,) = await driven.owe(mortal, Note(4), key="l", at=moved.now() + timedelta(1))
        async with asyncio.timeout(LIMIT):
            while await states(notes) != {
                waiting: "waiting",
                dead: "dead",
                running: "pending",
                pending: "pending",
                other: "pending",
            }:
                await asyncio.sleep(0)
        assert await notes.unit(ACT, lambda unit: queue.cancel(unit, mortal, "k", "not wanted")) == 3
        go.set()
        await driven.rested()
    gone = await ledger(notes)
    assert {row_id: (row["state"], row["reason"]) for row_id, row in gone.items()} == {
        waiting: ("cancelled", "not wanted"),
        dead: ("cancelled", "not wanted"),
        pending: ("cancelled", "not wanted"),
        running: ("done", None),
    }
    assert gone[dead]["error"] == "no"
    assert set(await hot(notes)) == {other}


async def test_resuming_lets_only_what_waits_under_the_key_go_on(notes: Store, moved: JumpingClock) -> None:
    seen: list[Note] = []
    outcomes = {1: Wait("the window", 3600), 2: Wait("the window", 3600), 3: Retry()}
    handler = told(seen, lambda job: outcomes[job.payload.n] if seen.count(job.payload) == 1 else Done())
    async with Driven(notes, moved, {PLAIN: handler}) as driven:
        for n, key in ((1, "k"), (2, "l"), (3, "k")):
            await driven.owe(PLAIN, Note(n), key=key)
        await driven.rested()
        await driven.advance(10)
        assert sorted(note.n for note in seen) == [1, 2, 3]
        assert await notes.unit(ACT, lambda unit: queue.resume(unit, PLAIN, "k")) == 1
        await driven.rested()
        assert list((await states(notes)).values()) == ["done", "waiting", "pending"]
        await driven.advance(50)  # the other one of the key fails on its own schedule
        assert list((await states(notes)).values()) == ["done", "waiting", "done"]
        await driven.advance(3540)
    assert set((await states(notes)).values()) == {"done"}


# --- refused ----------------------------------------------------------------------------------------------------


class Stranger(msgspec.Struct):
    """No kind's payload."""


class Longer(Note):
    """Not the kind's own type, though it could pass for it."""


REFUSED: dict[str, tuple[Any, Any, str | None, str]] = {
    "no key": (PENDING, Note(), None, r"test\.pending needs a key.*pending"),
    "no key for ever": (FOREVER, Note(), None, r"test\.forever needs a key.*forever"),
    "empty key": (PLAIN, Note(), "", rf"key of an effect of test\.plain must be 1 to {LONGEST_KEY}"),
    "long key": (PLAIN, Note(), "k" * (LONGEST_KEY + 1), rf"must be 1 to {LONGEST_KEY} printable"),
    "line feed": (PLAIN, Note(), "a\nb", r"printable characters: 'a\\nb'"),
    "nothing": (PLAIN, Note(), "a\0b", "printable characters"),
    "other payload": (PLAIN, Stranger(), None, r"test\.plain takes a Note, not a Stranger"),
    "subclass": (PLAIN, Longer(), None, r"test\.plain takes a Note, not a Longer"),
    "large payload": (
        PLAIN,
        Note(lane="é" * (LARGEST_PAYLOAD // 2)),
        None,
        rf"payload of an effect of test\.plain is 65\d+ bytes and may be {LARGEST_PAYLOAD}: keep what is big elsewhere",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_could_not_be_done_is_refused_when_it_is_owed(notes: Store, case: str) -> None:
    what, payload, key, message = REFUSED[case]
    with pytest.raises(Invalid, match=message):
        await notes.unit(ACT, lambda unit: enqueue(unit, what, payload, key=key))
    assert await states(notes) == {}


async def test_the_longest_key_and_the_largest_payload_are_owed_and_done(notes: Store, moved: JumpingClock) -> None:
    key, largest = "ä" * LONGEST_KEY, Note(lane="x" * (LARGEST_PAYLOAD - len(msgspec.json.encode(Note()))))
    seen: list[Note] = []
    async with Driven(notes, moved, {PENDING: told(seen)}) as driven:
        await driven.owe(PENDING, largest, key=key)
        await driven.rested()
    assert seen == [largest]


# --- beside a claim, on connections of their own -------------------------------------------------------------------


async def blocked(make_store: StoreMaker, store: Store) -> None:
    """Until somebody waits for a row that another holds."""
    with psycopg.connect(str(make_store.place_of(store).url), autocommit=True) as admin:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(LIMIT):
            while admin.execute(waiting).fetchone() is None:
                await asyncio.sleep(0)


@postgres_only
@pytest.mark.guards(
    "What is owed under a key while its row is being claimed, on another connection, is done after it.",
    against="The claim wins, the newcomer believes itself absorbed, and what it was about never happens.",
    breaks=("queue-leans-on-a-row-it-does-not-hold",),
)
async def test_owing_beside_a_claim_loses_nothing(make_store: StoreMaker, moved: JumpingClock) -> None:
    store = await make_store(packs=PACKS, clock=WallOf(moved))
    await owe(store, PENDING, Note(1), key="k")
    gate = faults.Gate()
    seen: list[Note] = []
    driven = Driven(store, moved, {PENDING: told(seen)})
    with faults.armed(claims.CLAIMING, gate):
        await driven.runner.start()
        assert await asyncio.to_thread(gate.reached.wait, LIMIT)
        # The row is claimed and that is not committed: whoever leans on it has to wait for what becomes of it.
        owing = asyncio.ensure_future(owe(store, PENDING, Note(2), key="k"))
        await blocked(make_store, store)
        gate.open()
        (owed,) = await owing
    assert owed.new
    async with asyncio.timeout(LIMIT):
        while len(await ledger(store)) < 2:
            await asyncio.sleep(0)
    await driven.runner.stop()
    assert seen == [Note(1), Note(2)]


@postgres_only
@pytest.mark.guards(
    "A row that somebody leans on while it is due is claimed as soon as they have committed.",
    against="The runner passes over the locked row, backs off, and is deaf to the word that it is free.",
    breaks=("plan-stays-quiet-when-woken",),
)
async def test_a_row_that_was_leaned_on_is_claimed_when_the_unit_commits(
    make_store: StoreMaker, moved: JumpingClock
) -> None:
    store = await make_store(packs=PACKS, clock=WallOf(moved))
    seen: list[Note] = []
    await owe(store, PENDING, Note(1), key="k")
    gate = faults.Gate()

    def leans(unit: Unit) -> bool:
        new = enqueue(unit, PENDING, Note(2), key="k").new
        gate()
        return new

    leaning = asyncio.ensure_future(store.unit(ACT, leans))
    assert await asyncio.to_thread(gate.reached.wait, LIMIT)
    async with Driven(store, moved, {PENDING: told(seen)}) as driven:
        assert (await hot(store))[1]["claim"] is None
        assert seen == []
        gate.open()
        assert await leaning is False
        await until(lambda: seen)  # the clock has not moved: no net and no back-off helped
        await driven.rested()
    assert seen == [Note(1)]
    assert await states(store) == {1: "done"}


@postgres_only
async def test_two_connections_that_owe_under_one_key_owe_once(make_store: StoreMaker, moved: JumpingClock) -> None:
    store = await make_store(packs=PACKS, clock=WallOf(moved))
    other = query("other", sqlite="SELECT count(*) AS n FROM propagations")
    for what in (PENDING, FOREVER):
        gate = faults.Gate()
        with faults.armed(queue.ENQUEUED, gate):
            one = asyncio.ensure_future(owe(store, what, Note(1), key="k"))
            assert await asyncio.to_thread(gate.reached.wait, LIMIT)
            two = asyncio.ensure_future(owe(store, what, Note(2), key="k"))
            await blocked(make_store, store)
            gate.open()
            (first,), (second,) = await asyncio.gather(one, two)
        assert (first.new, second.new) == (True, False)
        assert second.id == first.id
    assert await store.read(lambda reader: reader.one(other)) == {"n": 2}
