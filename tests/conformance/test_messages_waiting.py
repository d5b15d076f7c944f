"""What messages wait for, on both engines: dialogs that were left without a word, notices, and people who cancel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from holdfast.core.propagation import redrive
from holdfast.fleet.messages import decider, rows
from holdfast.fleet.messages.kinds import MESSAGE
from manual_clock import ManualClock
from messaging import ACT, NOTICES, OWED, PACKS, PROJECT
from messaging_world import History
from reacting import told as told_of

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.store.port import Store, Unit

KINDS = {MESSAGE.name: MESSAGE}
State = Callable[[int], Awaitable[str]]


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await make_store(packs=PACKS, clock=clock)


@pytest.fixture
async def history(store: Store, clock: ManualClock) -> History:
    history = History(store, clock)
    await history.begin()
    return history


@pytest.fixture
def state(history: History) -> State:
    async def found(number: int) -> str:
        return str((await history.message(number))["state"])

    return found


async def notice(history: History, text: str = "you were interrupted") -> int:
    session = history.world.session
    return await history.store.unit(
        ACT, lambda unit: rows.add(unit, session, PROJECT, kind="notice", text=text, by="daemon")
    )


# --- dialogs -----------------------------------------------------------------------------------------------------


async def asked(history: History) -> None:
    """The agent works, and has just asked for a permission."""
    await history.say("begin")
    await history.drive(20)
    history.world._dialog()
    await history.hear()


@pytest.mark.guards(
    "A message that was held because of a dialog is delivered after a person has left that by Esc, although the agent "
    "says nothing of it.",
    against="A session whose messages are held for ever, until somebody says something to its agent by hand.",
    breaks=("messages-wait-for-dialogs-that-were-left",),
)
async def test_a_message_is_delivered_after_a_dialog_that_was_left_without_a_word(
    history: History, state: State
) -> None:
    await asked(history)
    number = await history.say("go on")
    await history.drive(30)
    assert await state(number) == "held"
    assert history.world.pasted == ["begin"]
    history.world._leave()
    await history.drive(30)
    assert await state(number) == "confirmed"
    assert (history.world.consumed, history.world.into_dialog) == (["begin", "go on"], [])


@pytest.mark.guards(
    "That an agent goes on after a dialog of which nobody knows how it ended is no evidence that it has a message.",
    against="A tool that runs long after it was allowed: its next signal confirms a message that the agent never read.",
    breaks=("messages-take-left-dialogs-for-rest",),
)
async def test_work_that_goes_on_after_a_silent_answer_is_no_evidence(
    history: History, state: State, clock: ManualClock
) -> None:
    await asked(history)
    history.world._allow()
    clock.advance(decider.DIALOG_SECONDS)
    number = await history.say("and then this")
    await history.turn()
    assert (await state(number), history.world.queued) == ("submitted", ["and then this"])
    history.world._dialog()  # of the work that was going on
    await history.hear()
    for _ in range(3):
        await history.turn()
    assert await state(number) == "submitted"
    history.world.answer()
    history.world.rest()
    await history.drive(60)
    assert (await state(number), history.world.consumed[1:]) == ("confirmed", ["and then this"])


# --- notices -----------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "What an agent that goes on is told of its interruption it is told first, before what was said to it meanwhile; "
    "that comes next, in its order.",
    against="An agent gets an order of before its end, does it, and only then learns that it had ended.",
    breaks=("messages-tell-of-interruptions-last",),
)
async def test_the_notice_of_an_interruption_comes_before_what_was_said_earlier(history: History) -> None:
    world = history.world
    world.alive = False
    said = [await history.say(text) for text in ("first", "second")]
    await history.turn()  # one of them was looked at already
    await history.hear()  # the agent lives again
    told = await notice(history)
    for _ in range(10):
        await history.drive(3)
        world.rest()
    assert world.consumed == ["you were interrupted", "first", "second"]
    assert [(await history.message(number))["state"] for number in (told, *said)] == ["confirmed"] * 3


@pytest.mark.guards(
    "As soon as a notice has come to its end, whatever that is, what waits for it is looked at.",
    against="What was said to an agent stands still for a minute, because nobody says that it may go.",
    breaks=("messages-wait-after-a-notice",),
)
async def test_what_waits_for_a_notice_goes_when_that_is_taken_back(
    history: History, state: State, clock: ManualClock
) -> None:
    history.world.hung = True
    number, told = await history.say("go on"), await notice(history)
    for _ in range(2):
        assert await history.turn()
    history.world.hung = False
    began = clock.monotonic()
    await history.store.unit(ACT, lambda unit: rows.suppress(unit, told, "no use"))
    while await history.turn():
        await history.hear()
    assert (await state(number), history.world.consumed) == ("confirmed", ["go on"])
    assert clock.monotonic() - began < decider.CONFIRM_SECONDS / 2


async def test_a_notice_that_was_given_up_in_the_box_holds_back_what_was_said_earlier(
    history: History, state: State, clock: ManualClock
) -> None:
    history.world.swallows = 100
    number, told = await history.say("go on"), await notice(history)
    for _ in range(100):
        if not await history.turn():
            clock.advance(1)
    assert (await state(told), await state(number)) == ("unknown", "held")
    assert history.world.pasted == ["you were interrupted"]


async def test_of_two_interruptions_an_agent_is_told_the_last(history: History, state: State) -> None:
    history.world.hung = True
    first, last = await notice(history), await notice(history, "you were interrupted again")
    assert (await state(first), await state(last)) == ("suppressed", "queued")
    history.world.hung = False
    await history.drive(30)
    assert history.world.consumed == ["you were interrupted again"]


# --- people who cancel -------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "When a person cancels the delivery of a message, that ends: suppressed where it was not typed, else unknown; and "
    "the next one has its turn.",
    against="A message that stays queued for ever, of which nobody will ever do anything.",
    breaks=("messages-outlive-their-cancelling",),
)
async def test_a_message_ends_when_its_delivery_is_cancelled(history: History, state: State) -> None:
    history.world.hung = True
    numbers = [await history.say(text) for text in ("one", "two", "three")]

    def cancel(unit: Unit) -> None:
        rows.move(unit, numbers[1], "queued", "typed", None)
        for row in unit.all(OWED)[:2]:
            redrive.cancel(unit, KINDS, row["id"])

    await history.store.unit(ACT, cancel)
    assert [await state(number) for number in numbers] == ["suppressed", "unknown", "queued"]
    assert "by hand" in (await history.message(numbers[0]))["reason"]
    history.world.hung = False
    await history.drive(30)
    assert (await state(numbers[2]), history.world.consumed) == ("confirmed", ["three"])
    await told_of(history.store, history.clock)
    (told,) = await history.store.read(lambda reader: reader.all(NOTICES))
    assert "by hand" in told["text"]
