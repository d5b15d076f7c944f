"""What people do with propagations: redrive, cancel and release, as units of work on both engines."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import owed
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import Conflict, NotFound
from holdfast.core.lifecycle import spawn
from holdfast.core.propagation import claims, redrive, view
from holdfast.core.propagation.kinds import Registry
from holdfast.core.propagation.outcome import Done
from holdfast.core.propagation.redrive import Redriven, Which
from holdfast.core.propagation.runner import Runner
from holdfast.core.propagation.verdict import MAX_ATTEMPTS, MAX_STARTS, Verdict
from holdfast.core.store.sql import query
from manual_clock import ManualClock
from opened import postgres_only
from owed import ACT, BLOCKING, KINDS, LANED, LOOSE, OTHER, SINGLE, Note, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.kinds import Kind
    from holdfast.core.store.port import Row, Store, Unit

HOLD = query("hold", sqlite="INSERT INTO store_meta (name, value) VALUES ('effects_held_at', 'now')")
FREE = query("free", sqlite="SELECT id FROM propagations WHERE id = :id FOR UPDATE SKIP LOCKED")
LIMIT = 20.0


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    """An open store with the tables of propagations, whose time the test moves."""
    return await make_store(packs=owed.PACKS, clock=clock)


async def again(store: Store, row_id: int) -> Row:
    return await store.unit(ACT, lambda unit: redrive.redrive(unit, KINDS, row_id))


async def all_again(store: Store, which: Which, after: int = 0) -> Redriven:
    return await store.unit(ACT, lambda unit: redrive.redrive_all(unit, KINDS, which, after))


async def cancel(store: Store, row_id: int) -> Row:
    return await store.unit(ACT, lambda unit: redrive.cancel(unit, KINDS, row_id))


async def state_of(store: Store, row_id: int) -> str:
    return str((await store.read(lambda reader: view.whole(reader, row_id)))["state"])


@asynccontextmanager
async def running(store: Store, done: list[int], kinds: tuple[Kind[Any], ...]) -> AsyncIterator[Callable[[int], Any]]:
    """A runner that notes what it does; what is given waits until so many are done."""
    news = asyncio.Condition()

    async def note(job: Job[Any]) -> Done:
        async with news:
            done.append(job.id)
            news.notify_all()
        return Done()

    async def reached(count: int) -> None:
        async with asyncio.timeout(LIMIT), news:
            await news.wait_for(lambda: len(done) >= count)

    runner = Runner(store, Registry(kinds, dict.fromkeys(kinds, note)), SYSTEM)
    await runner.start()
    try:
        yield reached
    finally:
        await runner.stop()


# --- redrive ---------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A redriven row has all its tries again, is due at once, and what it died of stays to be seen.",
    against="A row that dies again at its first failure because it remembers the eleven before.",
    breaks=("redrive-keeps-the-counts",),
)
async def test_a_redriven_row_has_all_its_tries_again_and_is_due_now(store: Store, clock: ManualClock) -> None:
    row_id = await owed.owe(store, LOOSE, at=clock.now())
    claimed = await owed.lease(store, LOOSE, row_id)
    await owed.settle(store, claimed, Verdict("dead", 2, 1, MAX_ATTEMPTS, "no route to host"))
    died_at = clock.stamp()
    clock.advance(1_000)
    shown = await again(store, row_id)
    row = await row_of(store, row_id)
    assert (row["state"], row["attempts"], row["starts"], row["reason"]) == ("pending", 0, 0, "redriven")
    assert row["next_attempt_at"] == row["decided_at"] == clock.stamp() > died_at
    assert row["not_before"] is None
    assert row["effect"] == claimed.effect
    for words in (clock.stamp(), "max_attempts", "2 failures", "1 starts", "no route to host"):
        assert words in row["error"]
    assert (shown["id"], shown["state"]) == (row_id, "pending")


async def test_what_is_redriven_is_done_by_a_runner_that_was_idle(make_store: StoreMaker) -> None:
    store = await make_store(packs=owed.PACKS)
    row_id = await owed.dead(store, LOOSE)
    done: list[int] = []
    async with running(store, done, (LOOSE,)) as reached:
        await again(store, row_id)
        await reached(1)
    assert done == [row_id]
    assert await state_of(store, row_id) == "done"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("pending", "is pending, not dead"),
        ("waiting", "is waiting, not dead"),
        ("leased", "whose lease runs until"),
        ("done", "is done since"),
        ("cancelled", "is cancelled since"),
    ],
)
async def test_what_is_not_dead_is_not_redriven(state: str, words: str, store: Store, clock: ManualClock) -> None:
    made = await owed.in_every_state(store, LOOSE, clock.now() + timedelta(days=1))
    before = await store.read(lambda reader: view.whole(reader, made[state]))
    with pytest.raises(Conflict, match=words):
        await again(store, made[state])
    assert await store.read(lambda reader: view.whole(reader, made[state])) == before


async def test_what_is_not_there_is_neither_redriven_nor_cancelled(store: Store) -> None:
    for act in (again, cancel):
        with pytest.raises(NotFound):
            await act(store, 404)


@pytest.mark.guards(
    "A row of a key that is unique while pending is not redriven beside a newer one of its key.",
    against="An old effect that replaces the newer one, or happens beside it.",
    breaks=("redrive-makes-twins",),
)
async def test_a_row_is_not_redriven_beside_another_of_its_key(store: Store) -> None:
    old = await owed.dead(store, SINGLE, key="k")
    new = await owed.owe(store, SINGLE, key="k")
    with pytest.raises(Conflict, match=f"propagation {new} is owed under the same key 'k'"):
        await again(store, old)
    claimed = await owed.lease(store, SINGLE, new)
    with pytest.raises(Conflict, match=f"propagation {new} is under way under the same key 'k'"):
        await again(store, old)
    assert (await all_again(store, Which())).refused[0][0] == old
    await owed.settle(store, claimed)
    await again(store, old)
    assert await state_of(store, old) == "pending"


# --- redrive by filter -----------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A redrive by filter starts afresh what the filter names and nothing else.",
    against="Somebody who redrives one kind and sends a thousand old messages of another.",
    breaks=("redrive-takes-any-kind", "redrive-takes-any-reason", "redrive-takes-any-age"),
)
async def test_a_redrive_by_filter_takes_what_it_names_and_nothing_else(store: Store, clock: ManualClock) -> None:
    old = [await owed.dead(store, LOOSE), await owed.dead(store, OTHER)]
    crashed = await owed.owe(store, LOOSE)
    await owed.bury(store, LOOSE, crashed, reason=MAX_STARTS)
    clock.advance(60)
    noon = clock.stamp()
    young = [await owed.dead(store, LOOSE), await owed.dead(store, OTHER)]
    came = await all_again(store, Which(kind=LOOSE.name, reason=MAX_ATTEMPTS, before=noon))
    assert came == Redriven([old[0]], [], None)
    assert (await all_again(store, Which(kind=LOOSE.name, before=noon))).ids == [crashed]
    assert (await all_again(store, Which(reason=MAX_STARTS))).ids == []
    assert (await all_again(store, Which(kind=OTHER.name, before=noon))).ids == [old[1]]
    assert (await all_again(store, Which())).ids == young


async def test_many_are_redriven_a_chunk_at_a_time_and_none_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrive, "CHUNK", 3)
    ids = [await owed.dead(store, LOOSE) for _ in range(7)]
    found: list[list[int]] = []
    after: int | None = 0
    while after is not None:
        came = await all_again(store, Which(), after)
        found.append(came.ids)
        after = came.following
    assert found == [ids[:3], ids[3:6], ids[6:]]


# --- lanes -----------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A row that is redriven into a lane waits for whoever is live there, and gets its turn.",
    against="Two effects of one lane at once, or one that waits for ever.",
    breaks=("redrive-cuts-in",),
)
async def test_a_row_that_is_redriven_into_a_lane_waits_for_whoever_is_live_there(make_store: StoreMaker) -> None:
    store = await make_store(packs=owed.PACKS)
    first = await owed.dead(store, LANED, Note(lane="a"))
    second = await owed.owe(store, LANED, Note(lane="a"))
    third = await owed.owe(store, LANED, Note(lane="a"))
    claimed = await owed.lease(store, LANED, second)
    await again(store, first)
    assert (await row_of(store, first))["behind"] == second
    await owed.settle(store, claimed)
    done: list[int] = []
    async with running(store, done, (LANED,)) as reached:
        await reached(2)
    assert done == [first, third]


async def test_a_row_that_is_redriven_into_an_empty_lane_has_its_turn(store: Store) -> None:
    first, second = [await owed.dead(store, LANED, Note(lane="a")) for _ in range(2)]
    await all_again(store, Which())
    assert [(await row_of(store, row))["behind"] for row in (first, second)] == [None, first]


async def test_a_dead_row_that_kept_a_lane_waiting_goes_first_when_it_is_redriven(make_store: StoreMaker) -> None:
    store = await make_store(packs=owed.PACKS)
    first = await owed.owe(store, BLOCKING, Note(lane="a"))
    second = await owed.owe(store, BLOCKING, Note(lane="a"))
    await owed.bury(store, BLOCKING, first)
    await again(store, first)
    done: list[int] = []
    async with running(store, done, (BLOCKING,)) as reached:
        await reached(2)
    assert done == [first, second]


@pytest.mark.parametrize("state", ["leased", "pending"])
async def test_a_redriven_row_keeps_waiting_when_another_of_its_lane_is_cancelled(state: str, store: Store) -> None:
    first = await owed.dead(store, LANED, Note(lane="a"))
    second, third = [await owed.owe(store, LANED, Note(lane="a")) for _ in range(2)]
    if state == "leased":
        await owed.lease(store, LANED, second)
    await again(store, first)
    await cancel(store, third)
    assert [(await row_of(store, row))["behind"] for row in (first, second)] == [second, None]


@postgres_only
@pytest.mark.guards(
    "Whoever has the turn in a lane cannot end while a row is being put behind it.",
    against="A row behind one that is gone, which nobody will ever give its turn.",
    breaks=("redrive-looks-without-holding",),
)
async def test_whoever_has_the_turn_cannot_end_while_a_row_is_put_behind_it(make_store: StoreMaker) -> None:
    store = await make_store(packs=owed.PACKS)
    first = await owed.dead(store, LANED, Note(lane="a"))
    second = await owed.owe(store, LANED, Note(lane="a"))
    put, go = threading.Event(), threading.Event()

    def work(unit: Unit) -> None:
        redrive.redrive(unit, KINDS, first)
        put.set()
        assert go.wait(LIMIT)

    redriving = spawn(store.unit(ACT, work), name="redrive", vital=False)
    assert await asyncio.to_thread(put.wait, LIMIT)
    free = await store.unit(ACT, lambda unit: unit.all(FREE, id=second))
    go.set()
    await redriving
    assert free == []
    assert [row["id"] for row in await store.unit(ACT, lambda unit: unit.all(FREE, id=second))] == [second]


# --- cancel ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "waiting", "dead"])
async def test_what_is_not_under_way_is_cancelled(state: str, store: Store, clock: ManualClock) -> None:
    made = await owed.in_every_state(store, LOOSE, clock.now() + timedelta(days=1))
    shown = await cancel(store, made[state])
    assert (shown["state"], shown["reason"], shown["finished_at"]) == ("cancelled", "by_hand", clock.stamp())
    assert await state_of(store, made[state]) == "cancelled"


@pytest.mark.guards(
    "What is under way is not cancelled under the hands of whoever does it.",
    against="An effect that happens and stands in the ledger as cancelled.",
    breaks=("cancel-takes-what-is-under-way",),
)
async def test_what_is_under_way_is_not_cancelled(store: Store) -> None:
    row_id = await owed.owe(store, LOOSE)
    claimed = await owed.lease(store, LOOSE, row_id)
    until = (await row_of(store, row_id))["lease_until"]
    with pytest.raises(Conflict, match="is under way") as caught:
        await cancel(store, row_id)
    assert owed.OWNER in caught.value.message
    assert until in caught.value.message
    await owed.settle(store, claimed)
    assert await state_of(store, row_id) == "done"
    with pytest.raises(Conflict, match="is done since"):
        await cancel(store, row_id)


@pytest.mark.guards(
    "A row that is cancelled gives its turn to the next of its lane, and so does a dead one that kept it waiting.",
    against="A lane that stands still for ever behind something that nobody will do.",
    breaks=("cancel-keeps-its-turn",),
)
@pytest.mark.parametrize("kind", [LANED, BLOCKING], ids=lambda kind: kind.name)
async def test_a_row_that_is_cancelled_gives_its_turn_to_the_next(kind: Kind[Any], store: Store) -> None:
    first = await owed.owe(store, kind, Note(lane="a"))
    second = await owed.owe(store, kind, Note(lane="a"))
    if kind.dead_blocks:
        await owed.bury(store, kind, first)
    assert (await row_of(store, second))["behind"] == first
    await cancel(store, first)
    assert (await row_of(store, second))["behind"] is None


# --- release ---------------------------------------------------------------------------------------------------


async def held_store(make_store: StoreMaker) -> Store:
    """A store whose effects are held, open."""
    first = await make_store(packs=owed.PACKS)
    await first.unit(ACT, lambda unit: unit.run(HOLD))
    await first.close()
    return await make_store(at=make_store.place_of(first), packs=owed.PACKS)


async def test_effects_that_were_held_happen_when_they_are_released(make_store: StoreMaker) -> None:
    store = await held_store(make_store)
    row_id = await owed.owe(store, LOOSE)
    done: list[int] = []
    async with running(store, done, (LOOSE,)) as reached:
        assert done == []
        assert await store.unit(ACT, redrive.release)
        await redrive.notice_release(store)
        assert not store.effects_held
        await reached(1)
    assert done == [row_id]


async def test_a_release_of_what_is_not_held_does_nothing(make_store: StoreMaker) -> None:
    store = await held_store(make_store)
    await redrive.notice_release(store)
    assert store.effects_held
    assert await store.unit(ACT, redrive.release)
    assert not await store.unit(ACT, redrive.release)
    assert await store.read(claims.effects_held_at) is None
