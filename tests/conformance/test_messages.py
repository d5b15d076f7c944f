"""Messages as rows and as effects, on both engines, against a modelled terminal: what is said, held, settled, told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core.errors import Invalid
from holdfast.core.propagation import queue
from holdfast.core.propagation.kinds import Buried
from holdfast.core.store.sql import query
from holdfast.fleet.messages import decider, rows
from holdfast.fleet.messages.kinds import MESSAGE, Saying
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Killed, Probe, Reading
from manual_clock import ManualClock
from messaging import ACT, NOTICES, OWED, PACKS, PROJECT, add_session, is_alive
from messaging_world import History, happening
from reacting import told as told_of

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.store.port import Store, Unit

CHANGES = query("changes", sqlite="SELECT payload FROM change_log WHERE entity = 'message' ORDER BY seq")


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await make_store(packs=PACKS, clock=clock)


@pytest.fixture
async def history(store: Store, clock: ManualClock) -> History:
    history = History(store, clock)
    await history.begin()
    return history


async def state(history: History, number: int) -> str:
    return str((await history.message(number))["state"])


def lost(unit: Unit, session: str) -> None:
    readings = {"runtime": Reading("alive"), "pane": Reading("missing"), "process": Reading("dead")}
    door.observe(unit, session, Probe(1, unit.at, 10_000, readings))


# --- rows --------------------------------------------------------------------------------------------------------


async def test_what_is_said_is_a_row_and_an_effect_that_is_owed_in_the_order_of_the_session(history: History) -> None:
    numbers = [await history.say(text) for text in ("one", "two", "three")]
    found = await history.store.read(lambda reader: rows.page(reader, history.world.session, numbers[0], 1))
    assert [(row["id"], row["text"], row["state"], row["kind"]) for row in found] == [
        (numbers[1], "two", "queued", "message")
    ]
    owed = await history.store.read(lambda reader: reader.all(OWED))
    assert {row["lane"] for row in owed} == {row["key"] for row in owed} == {history.world.session}
    assert [row["behind"] is None for row in owed] == [True, False, False]


async def test_the_change_log_tells_how_far_a_message_came_and_not_what_it_says(history: History) -> None:
    await history.say("a secret plan")
    await history.drive(30)
    told = [row["payload"] for row in await history.store.read(lambda reader: reader.all(CHANGES))]
    assert len(told) >= 3
    assert not any("secret plan" in payload for payload in told)


async def test_what_cannot_be_said_owes_nothing(history: History) -> None:
    with pytest.raises(Invalid):
        await history.say("  ")
    assert await history.states() == []
    assert await history.store.read(lambda reader: reader.all(OWED)) == []


async def test_a_message_moves_only_from_where_it_is(history: History) -> None:
    number = await history.say("once")
    moves = [("queued", "held", "a dialog"), ("queued", "typed", None), ("held", "typed", None)]
    done = [await history.store.unit(ACT, lambda unit, move=move: rows.move(unit, number, *move)) for move in moves]
    assert done == [True, False, True]
    assert await state(history, number) == "typed"
    assert not await history.store.unit(ACT, lambda unit: rows.suppress(unit, number, "no use"))
    assert not await history.store.unit(ACT, lambda unit: rows.given(unit, number, 1))


async def test_what_was_taken_back_in_time_is_never_typed(history: History) -> None:
    number = await history.say("never mind")
    assert await history.store.unit(ACT, lambda unit: rows.suppress(unit, number, "the question is settled"))
    await history.drive(20)
    row = await history.message(number)
    assert (row["state"], row["reason"]) == ("suppressed", "the question is settled")
    assert history.world.pasted == []


@pytest.mark.guards(
    "Late evidence settles a message that was given up: it is confirmed, and what was told of it is over.",
    against="A person is sent to look after a message that the agent has long acknowledged.",
    breaks=("messages-ignore-late-evidence",),
)
async def test_late_evidence_settles_what_was_unknown(history: History) -> None:
    number = await history.say("did you get this")
    history.world.deaf = 100
    history.world.output = bytearray()
    await history.store.unit(ACT, lambda unit: rows.move(unit, number, "queued", "typed", None))
    await history.store.unit(ACT, lambda unit: unit.run(rows.SQL.intend, id=number, launch=1, offset_at=0))
    await history.store.unit(ACT, lambda unit: rows.move(unit, number, "typed", "unknown", "nobody knows"))
    await told_of(history.store, history.clock)
    (told,) = await history.store.read(lambda reader: reader.all(NOTICES))
    assert (told["kind"], told["resolved_at"]) == ("delivery-unknown", None)
    assert "nobody knows" in told["text"]

    def heard(unit: Unit) -> list[int | None]:
        session = history.world.session
        said = [(2, "did you get this"), (1, "something else"), (1, None), (1, "did you  get this\n")]
        return [rows.heard(unit, session, launch, submitted) for launch, submitted in said]

    assert await history.store.unit(ACT, heard) == [None, None, None, number]
    assert await state(history, number) == "confirmed"
    (told,) = await history.store.read(lambda reader: reader.all(NOTICES))
    assert told["resolved_at"] is not None


class Announcing:
    """A unit of work that also notes what it announces."""

    def __init__(self, unit: Unit, told: set[str]) -> None:
        self._unit = unit
        self._told = told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unit, name)

    def announce(self, topic: str) -> None:
        self._told.add(topic)
        self._unit.announce(topic)


async def test_what_an_agent_says_wakes_nobody_while_no_message_waits(history: History) -> None:
    session = history.world.session

    async def told_by(submitted: str | None) -> set[str]:
        told: set[str] = set()
        act: Any = lambda unit: rows.heard(Announcing(unit, told), session, 1, submitted)
        await history.store.unit(ACT, act)
        return told

    assert await told_by("what a person typed") == set()
    await history.say("hello")
    assert await told_by(None) == {queue.TOPIC, rows.topic(session)}


async def test_of_two_messages_with_the_same_words_evidence_is_for_the_one_under_way(history: History) -> None:
    first, second = await history.say("go on"), await history.say("go on")

    def work(unit: Unit) -> int | None:
        for number in (first, second):
            rows.move(unit, number, "queued", "typed", None)
            unit.run(rows.SQL.intend, id=number, launch=1, offset_at=0)
        rows.move(unit, first, "typed", "unknown", "nobody knows")
        return rows.heard(unit, history.world.session, 1, "go on")

    assert await history.store.unit(ACT, work) == second


@pytest.mark.guards(
    "When its delivery is given up, a message that was not typed has failed, and one that may have arrived is unknown.",
    against="A message whose delivery died stays queued for ever, and nobody is told.",
    breaks=("messages-outlive-their-delivery",),
)
async def test_a_delivery_that_is_given_up_settles_its_message(history: History) -> None:
    first, second = await history.say("one"), await history.say("two")

    def work(unit: Unit) -> None:
        rows.move(unit, second, "queued", "typed", None)
        for number in (first, second):
            saying = Saying(number, history.world.session)
            assert MESSAGE.buried is not None
            MESSAGE.buried(unit, Buried(number, None, saying, "max_attempts", "a bug"))

    await history.store.unit(ACT, work)
    assert [name for name, _ in await history.states()] == ["failed", "unknown"]
    await told_of(history.store, history.clock)
    assert len(await history.store.read(lambda reader: reader.all(NOTICES))) == 1


# --- whether and when --------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "What was said before an agent lives waits for it; when the session is lost it waits for its restoration a while, "
    "and fails then; when its end was wanted it fails at once.",
    against="Messages vanish with a lost agent although it is restored a minute later, or stay queued for ever.",
    breaks=("messages-fail-with-their-launch", "messages-wait-for-the-dead"),
)
@pytest.mark.parametrize("wanted", [True, False], ids=["wanted", "lost"])
async def test_what_was_not_typed_fails_with_the_end_of_its_session(
    history: History, clock: ManualClock, wanted: bool
) -> None:
    session = history.world.session

    def ends(unit: Unit) -> None:
        if wanted:
            door.observe(unit, session, Killed(1, "manually_killed"))
        else:
            lost(unit, session)

    await history.store.unit(ACT, ends)
    number = await history.say("are you there")
    for _ in range(3):
        await history.turn()
    assert await state(history, number) == ("failed" if wanted else "queued")
    clock.advance(decider.RESTORE_SECONDS + 1)
    await history.turn()
    row = await history.message(number)
    assert row["state"] == "failed"
    assert row["reason"].startswith("its session ended (")
    assert history.world.pasted == []


async def test_what_was_said_to_a_session_that_waits_for_its_agent_waits_too(store: Store, clock: ManualClock) -> None:
    history = History(store, clock)
    session = history.world.session
    await store.unit(ACT, lambda unit: add_session(unit, session))
    number = await history.say("when you are there")
    await history.drive(200)
    assert await state(history, number) == "queued"

    def alive(unit: Unit) -> None:
        is_alive(unit, history.handle(), session)
        rows.look_again(unit, session)

    await store.unit(ACT, alive)
    await history.drive(20)
    assert await state(history, number) == "confirmed"


async def test_a_notice_for_a_launch_that_has_ended_is_suppressed(history: History) -> None:
    session = history.world.session

    def work(unit: Unit) -> int:
        number = rows.add(unit, session, PROJECT, kind="notice", text="you were interrupted", by="daemon")
        unit.run(rows.SQL.intend, id=number, launch=1, offset_at=0)
        return number

    number = await history.store.unit(ACT, work)
    history.world.alive = False
    await history.hear()
    await history.drive(20)
    assert (await state(history, number), history.world.pasted) == ("suppressed", [])


@pytest.mark.guards(
    "A runtime that does not answer makes messages wait, however long that lasts; nothing fails by it.",
    against="An outage of a minute buries every message.",
    breaks=("messages-fail-in-outages",),
)
async def test_messages_outlast_a_runtime_that_does_not_answer(history: History, clock: ManualClock) -> None:
    number = await history.say("hello")
    history.world.hung = True
    for _ in range(50):
        await history.turn()
        clock.advance(60)
    assert await state(history, number) == "queued"
    history.world.hung = False
    await history.drive(20)
    assert (await state(history, number), history.world.consumed) == ("confirmed", ["hello"])


async def test_a_text_that_was_given_up_in_the_box_keeps_the_next_one_from_being_typed_behind_it(
    history: History, clock: ManualClock
) -> None:
    history.world.swallows = 100
    first, second = await history.say("the first"), await history.say("the second")
    for _ in range(300):
        if not await history.turn():
            clock.advance(1)
    assert (await state(history, first), await state(history, second)) == ("unknown", "held")
    assert (await history.message(first))["presses"] == len(decider.PRESS_AFTER)
    assert "input box" in (await history.message(second))["reason"]
    history.world.swallows = 0
    await history.world.press(history.handle(), "enter")  # by hand
    await history.drive(60)
    history.world.rest()
    await history.drive(60)
    assert [name for name, _ in await history.states()] == ["confirmed", "confirmed"]
    assert history.world.consumed == ["the first", "the second"]


@pytest.mark.guards(
    "A clock that jumps a day ahead, or is put back, neither ends the search for evidence nor prolongs it for ever.",
    against="A changed clock makes every message unknown, and pages somebody for each.",
    breaks=("messages-wait-by-the-wall",),
)
@pytest.mark.parametrize("jump", ["later", "earlier"])
async def test_a_clock_that_jumps_settles_nothing(history: History, jump: str) -> None:
    world = history.world
    world.deaf, world.slow = 1, 0
    number = await history.say("take your time")  # its evidence gets lost
    while await state(history, number) != "submitted":
        await history.turn()
    getattr(world, f"_{jump}")()
    for _ in range(3):
        await history.turn()
        history.clock.advance(1.0)
    assert await state(history, number) == "submitted"
    world.deaf = 0
    await history.drive(400)
    assert await state(history, number) in {"confirmed", "unknown"}


async def test_a_prompt_that_the_command_line_carried_without_effect_is_unknown_in_the_end(
    history: History, clock: ManualClock
) -> None:
    session = history.world.session

    def work(unit: Unit) -> int:
        number = rows.add(unit, session, PROJECT, kind="prompt", text="do this", by="token:test")
        assert rows.given(unit, number, 1)
        return number

    number = await history.store.unit(ACT, work)
    while clock.monotonic() < 1_000 + decider.CARRIED_SECONDS - 30:
        await history.turn()
        clock.advance(5)
    assert await state(history, number) == "submitted"
    await history.drive(200)
    assert (await state(history, number), history.world.pasted) == ("unknown", [])


async def test_a_propagation_without_its_message_is_cancelled(history: History) -> None:
    session = history.world.session
    await history.store.unit(ACT, lambda unit: queue.enqueue(unit, MESSAGE, Saying(999, session), key=session))
    assert await history.turn()
    assert await history.store.read(lambda reader: reader.all(OWED)) == []


async def test_a_process_that_dies_again_and_again_leaves_nothing_undecided(history: History) -> None:
    history.world.plan = iter(["crash", "nothing"] * 20)
    number = await history.say("hello")
    with happening(history.world):
        await history.drive(200)
    settled: Any = await state(history, number)
    assert settled in {"confirmed", "unknown"}
    assert history.world.consumed in (["hello"], [])
