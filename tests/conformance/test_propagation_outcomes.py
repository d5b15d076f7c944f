"""What a handler gives and what is written of it: state, counts, errors, facts, one event, all in one transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from conformance.test_propagation_order import (
    ACT,
    Driven,
    JumpingClock,
    Note,
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
from holdfast.core.changes import log
from holdfast.core.instants import seconds, stamp
from holdfast.core.propagation import claims
from holdfast.core.propagation.kinds import Buried, Timeouts
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry, Wait
from holdfast.core.propagation.queue import enqueue
from holdfast.core.store.sql import query
from holding import adds, names

if TYPE_CHECKING:
    from holdfast.core.changes.log import Change
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.kinds import Handler
    from holdfast.core.store.port import Row, Store, Unit

NOTE = kind("test.note", concurrency=2)
SPOIL = query("spoil", sqlite="UPDATE propagations SET payload = :payload WHERE id = :id")


async def tried(notes: Store, moved: JumpingClock, handler: Handler, what: Any = NOTE) -> Row:
    """One row, tried once; as it is then."""
    async with Driven(notes, moved, {what: handler}) as driven:
        (row_id,) = await driven.owe(what, Note(1), key="k")
        await driven.rested()
        await until(lambda: not driven.runner.under_way)
        return (await hot(notes) | await ledger(notes))[row_id]


def gives(outcome: Any) -> Handler:
    return told([], lambda _: outcome)


def raises(error: BaseException) -> Handler:
    async def handler(job: Job[Note]) -> Outcome:
        raise error

    return handler


async def changes_of(store: Store) -> list[Change]:
    page = await store.read(lambda reader: log.page(reader, after=0, upto=1 << 60, limit=10_000))
    return [change for change in page if change.entity == "propagation"]


# --- the four values ----------------------------------------------------------------------------------------------


async def test_done_goes_to_the_ledger(notes: Store, moved: JumpingClock) -> None:
    row = await tried(notes, moved, gives(Done()))
    assert (row["state"], row["reason"], row["error"]) == ("done", None, None)
    assert (row["attempts"], row["starts"], row["finished_at"]) == (0, 0, moved.stamp())
    assert (json.loads(row["payload"]), row["key"]) == ({"n": 1, "lane": ""}, "k")


async def test_cancel_goes_to_the_ledger_with_its_reason(notes: Store, moved: JumpingClock) -> None:
    row = await tried(notes, moved, gives(Cancel("nobody reads it")))
    assert (row["state"], row["reason"], row["attempts"]) == ("cancelled", "nobody reads it", 0)


async def test_wait_is_nobodys_failure_and_is_looked_at_again(notes: Store, moved: JumpingClock) -> None:
    row = await tried(notes, moved, gives(Wait("the window", 90)))
    assert (row["state"], row["reason"], row["attempts"], row["starts"]) == ("waiting", "the window", 0, 0)
    assert row["next_attempt_at"] == stamp(moved.now() + seconds(90))


@pytest.mark.parametrize("after", [0.000_001, 7.25, 100_000.0])
async def test_a_retry_waits_exactly_as_long_as_it_asks(notes: Store, moved: JumpingClock, after: float) -> None:
    row = await tried(notes, moved, gives(Retry(after, "busy")))
    assert (row["state"], row["reason"], row["error"], row["attempts"]) == ("pending", "failed", "busy", 1)
    assert row["next_attempt_at"] == stamp(moved.now() + seconds(after))


FAILING: dict[str, tuple[Handler, str]] = {
    "exception": (raises(LookupError("no such thing")), "LookupError: no such thing"),
    "no outcome": (gives(None), "the handler gave a NoneType, which is no outcome"),
    "cancels itself": (raises(asyncio.CancelledError()), "the handler cancelled itself"),
}


@pytest.mark.parametrize("case", FAILING)
async def test_what_is_no_outcome_is_recorded_and_tried_again(notes: Store, moved: JumpingClock, case: str) -> None:
    handler, error = FAILING[case]
    row = await tried(notes, moved, handler)
    assert (row["state"], row["reason"], row["error"]) == ("pending", "failed", error)
    assert (row["attempts"], row["starts"], row["claim"]) == (1, 0, None)
    assert row["next_attempt_at"] == stamp(moved.now() + seconds(60))


async def test_a_handler_past_its_time_is_cancelled_and_has_failed(notes: Store, moved: JumpingClock) -> None:
    short = kind(timeouts=Timeouts(call=0.01, item=0.02, lease=30))
    cancelled = asyncio.Event()

    async def handler(job: Job[Note]) -> Outcome:
        assert job.call_seconds == 0.01
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Done()

    row = await tried(notes, moved, handler, short)
    assert cancelled.is_set()
    assert (row["state"], row["error"], row["attempts"]) == ("pending", "no outcome within 0.02 s", 1)


async def test_a_timeout_inside_a_handler_is_told_as_what_it_is(notes: Store, moved: JumpingClock) -> None:
    row = await tried(notes, moved, raises(TimeoutError("the forge did not answer")))
    assert row["error"] == "TimeoutError: the forge did not answer"


async def test_a_payload_that_cannot_be_read_fails_until_it_is_dead(notes: Store, moved: JumpingClock) -> None:
    few = kind(max_attempts=2)
    seen: list[Note] = []
    (owed,) = await owe(notes, few)
    await notes.unit(ACT, lambda unit: unit.run(SPOIL, id=owed.id, payload='{"n": "many"}'))
    async with Driven(notes, moved, {few: told(seen)}) as driven:
        row = (await hot(notes))[owed.id]
        assert (row["state"], row["attempts"], row["starts"]) == ("pending", 1, 0)
        assert row["error"] == "ValidationError: Expected `int`, got `str` - at `$.n`"
        await driven.advance(60)
        row = (await hot(notes))[owed.id]
        assert (row["state"], row["reason"], row["attempts"], seen) == ("dead", "max_attempts", 2, [])


# --- what is told of an error ----------------------------------------------------------------------------------------

SECRET = "hft_" + "s3cret" * 8
ACROSS = "x" * 480 + " " + SECRET  # a cut at 500 characters goes through it


@pytest.mark.parametrize(
    "handler",
    [raises(RuntimeError(ACROSS)), gives(Retry(why=ACROSS)), gives(Wait(ACROSS)), gives(Cancel(ACROSS))],
    ids=["exception", "retry", "wait", "cancel"],
)
@pytest.mark.guards(
    "Whatever a handler says is redacted, then truncated, before it is written.",
    against="Half of a secret in the store, the change log and every dashboard, because the cut hid it from redaction.",
    breaks=("outcomes-truncate-first", "outcomes-tell-all"),
)
async def test_a_secret_across_the_cut_is_not_written(notes: Store, moved: JumpingClock, handler: Handler) -> None:
    row = await tried(notes, moved, handler)
    text = row["error"] or row["reason"]
    assert "x" * 480 in text or "x" * 460 in text
    assert len(text) <= 500
    for written in (str(row), str(await changes_of(notes))):
        assert "s3cret" not in written
        assert "hft_" not in written


async def test_an_error_has_no_control_characters_and_stays_after_success(notes: Store, moved: JumpingClock) -> None:
    outcomes = [Retry(1, "\x1b[31mred\x00"), Done()]
    async with Driven(notes, moved, {NOTE: told([], lambda _: outcomes.pop(0))}) as driven:
        (row_id,) = await driven.owe(NOTE)
        await driven.rested()
        assert (await hot(notes))[row_id]["error"] == "[31mred"
        await driven.advance(1)
        row = (await ledger(notes))[row_id]
        assert (row["state"], row["reason"], row["error"], row["attempts"]) == ("done", None, "[31mred", 1)


# --- facts that come with an outcome ----------------------------------------------------------------------------

WITH_FACTS = {
    "done": Done(adds("fact")),
    "waiting": Wait("more", 1_000, adds("fact")),
    "cancelled": Cancel("no", adds("fact")),
    "pending": Retry(1_000, "later", adds("fact")),
}


@pytest.mark.parametrize("state", WITH_FACTS)
async def test_facts_come_with_every_outcome_and_are_acts_of_their_propagation(
    notes: Store, moved: JumpingClock, state: str
) -> None:
    row = await tried(notes, moved, gives(WITH_FACTS[state]))
    assert row["state"] == state
    assert await names(notes) == ["fact"]
    told_of = await notes.read(lambda reader: log.page(reader, after=0, upto=1 << 60, limit=100))
    here = f"propagation:{row['id']}"
    by = {change.event: (change.actor, change.cause, change.at) for change in told_of}
    assert by["thing_created"] == by["propagation_updated"] == (here, here, moved.stamp())


def refuses(unit: Unit) -> None:
    adds("fact")(unit)
    raise LookupError("no such fact")


@pytest.mark.parametrize(
    "outcome", [Done(refuses), Wait("x", 1, refuses), Cancel("x", refuses), Retry(1, "x", refuses)]
)
@pytest.mark.guards(
    "An outcome and its facts are written together or not at all: facts that are refused are a failed try.",
    against="A row that is done and whose result is nowhere.",
    breaks=("outcomes-forget-refused-facts",),
)
async def test_refused_facts_are_a_failed_try(notes: Store, moved: JumpingClock, outcome: Outcome) -> None:
    row = await tried(notes, moved, gives(outcome))
    assert (row["state"], row["reason"], row["attempts"], row["starts"]) == ("pending", "failed", 1, 0)
    assert row["error"] == "its facts were refused: LookupError: no such fact"
    assert row["next_attempt_at"] == stamp(moved.now() + seconds(60))
    assert await names(notes) == []


async def test_facts_may_owe_the_next_effect(notes: Store, moved: JumpingClock) -> None:
    seen: list[Note] = []
    chained = told(
        seen, lambda job: Done(lambda unit: enqueue(unit, NOTE, Note(job.payload.n + 1)) if job.payload.n < 4 else None)
    )
    async with Driven(notes, moved, {NOTE: chained}) as driven:
        await driven.owe(NOTE, Note(1))
        await driven.rested()
        await until(lambda: len(seen) == 4)
        await driven.rested()
    assert seen == [Note(1), Note(2), Note(3), Note(4)]


@pytest.mark.guards(
    "The facts of a death are written with it, once, and see what died of what.",
    against="A row that is buried while whoever waits for its effect never hears of it.",
    breaks=("outcomes-bury-in-silence",),
)
async def test_a_death_brings_its_facts(notes: Store, moved: JumpingClock) -> None:
    seen: list[Buried] = []

    def buried(unit: Unit, dead: Buried) -> None:
        seen.append(dead)
        adds(f"dead {dead.payload.n}")(unit)

    mortal = kind(max_attempts=2, buried=buried)
    async with Driven(notes, moved, {mortal: gives(Retry(why="no"))}) as driven:
        (row_id,) = await driven.owe(mortal, Note(7), key="k")
        await driven.rested()
        assert seen == []
        await driven.advance(60)
        assert await states(notes) == {row_id: "dead"}
    assert seen == [Buried(row_id, "k", Note(7), "max_attempts", "no")]
    assert await names(notes) == ["dead 7"]


async def test_a_death_whose_facts_are_refused_is_a_death_all_the_same(notes: Store, moved: JumpingClock) -> None:
    mortal = kind(max_attempts=1, buried=lambda unit, dead: refuses(unit))
    row = await tried(notes, moved, gives(Retry(why="no")), mortal)
    assert (row["state"], row["reason"], row["attempts"], row["starts"]) == ("dead", "max_attempts", 1, 0)
    assert await names(notes) == []


async def test_one_bad_row_of_a_batch_harms_no_other(notes: Store, moved: JumpingClock) -> None:
    batch = kind(batch=5)
    outcomes: dict[int, Callable[[], Outcome]] = {
        1: lambda: Retry(why="no"), 2: lambda: Done(refuses), 3: lambda: Done(adds("fact")), 4: lambda: 1 // 0
    }  # fmt: skip
    handler = told([], lambda job: outcomes.get(job.payload.n, Done)())
    async with Driven(notes, moved, {batch: handler}) as driven:
        await driven.owe(batch, *(Note(n) for n in range(5)))
        await driven.rested()
        assert list((await states(notes)).values()) == ["done", "pending", "pending", "done", "pending"]
    assert await names(notes) == ["fact"]


# --- one event, one transaction ------------------------------------------------------------------------------------


@pytest.mark.guards(
    "An outcome, its ledger row and its one change event are one transaction.",
    against="A dashboard that shows a row gone and come again, or an effect as done that is still owed.",
    breaks=("outcomes-leave-before-they-arrive",),
)
async def test_every_step_is_one_event_and_a_lease_is_none(notes: Store, moved: JumpingClock) -> None:
    outcomes = [Retry(1, "no"), Wait("w", 1), Done()]
    async with Driven(notes, moved, {NOTE: told([], lambda _: outcomes.pop(0))}) as driven:
        (row_id,) = await driven.owe(NOTE, key="k")
        await driven.rested()
        await driven.advance(1)
        await driven.advance(1)
    changes = await changes_of(notes)
    assert [(change.event, json.loads(change.payload)["state"]) for change in changes] == [
        ("propagation_created", "pending"),
        ("propagation_updated", "pending"),
        ("propagation_updated", "waiting"),
        ("propagation_updated", "done"),
    ]
    assert {change.entity_id for change in changes} == {str(row_id)}
    last = json.loads(changes[-1].payload)
    assert (last["key"], last["error"], last["attempts"]) == ("k", "no", 1)
    assert "payload" not in last
    assert await hot(notes) == {}


async def test_an_outcome_whose_lease_is_lost_writes_nothing_and_is_counted(notes: Store, moved: JumpingClock) -> None:
    go, entered = asyncio.Event(), asyncio.Event()
    outcomes = {1: Done(), 2: Done(adds("fact")), 3: Retry(why="late")}
    roomy = kind(concurrency=3)

    async def handler(job: Job[Note]) -> Outcome:
        if job.payload.n == 3:
            entered.set()
        await go.wait()
        return outcomes[job.payload.n]

    lose = query("lose", sqlite="UPDATE propagations SET claim = 'run_other.1'")
    async with Driven(notes, moved, {roomy: handler}) as driven:
        await driven.owe(roomy, Note(1), Note(2), Note(3))
        await until(entered.is_set)
        await notes.unit(ACT, lambda unit: unit.run(lose))
        go.set()
        await driven.rested()
        assert {row["claim"] for row in (await hot(notes)).values()} == {"run_other.1"}
        assert (await ledger(notes), await names(notes)) == ({}, [])
        assert driven.runner.late == 3


# --- what is told to handlers -----------------------------------------------------------------------------------------


async def test_a_handler_sees_its_try_its_key_and_the_same_effect_name_every_time(
    notes: Store, moved: JumpingClock
) -> None:
    seen: list[tuple[int, int, str | None, str]] = []

    async def handler(job: Job[Note]) -> Outcome:
        seen.append((job.id, job.attempt, job.key, job.effect))
        return Retry(1) if job.attempt < 3 else Done()

    async with Driven(notes, moved, {NOTE: handler}) as driven:
        (row_id,) = await driven.owe(NOTE, key="k")
        effect = (await hot(notes) | await ledger(notes))[row_id]["effect"]
        await driven.rested()
        await driven.advance(1)
        await driven.advance(1)
    assert seen == [(row_id, n, "k", effect) for n in (1, 2, 3)]


async def test_a_payload_that_grew_a_field_is_read_with_its_default(notes: Store, moved: JumpingClock) -> None:
    class Grown(msgspec.Struct):
        n: int
        lane: str
        tone: str = "kind"

    seen: list[Any] = []
    (owed,) = await owe(notes, NOTE, Note(3))
    async with Driven(notes, moved, {kind("test.note", payload=Grown): told(seen)}):
        pass
    assert seen == [Grown(3, "", "kind")]
    assert await states(notes) == {owed.id: "done"}


# --- claims that nobody here was told of ----------------------------------------------


async def test_a_claim_that_nobody_was_told_of_is_given_back_beside_a_newer_row_of_its_key(
    notes: Store, moved: JumpingClock
) -> None:
    pending = kind("test.pending", unique="pending")
    seen: list[Note] = []
    async with Driven(notes, moved, {pending: told(seen)}) as driven:
        token = f"{driven.runner.owner}.9999"
        await notes.unit(
            ACT, lambda unit: (enqueue(unit, pending, Note(1), key="k"), claims.claim(unit, pending, token, 1))
        )
        await driven.owe(pending, Note(2), key="k")
        driven.runner._keeper.doubt()
        for _ in range(3):
            await driven.runner._keeper.sweep()
            moved.advance(5)
        await driven.rested()
        await until(lambda: seen)
        await driven.rested()
        assert set((await states(notes)).values()) <= {"done", "cancelled"}
        assert seen[-1] == Note(2)
