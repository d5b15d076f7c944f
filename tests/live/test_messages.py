"""What is said to an agent in a real terminal: exactly, in order, once, and never into a dialog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.core import faults
from holdfast.fleet.messages import decider, delivery, rows
from holdfast.fleet.messages.rows import SQL
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Probe, Reading
from holdfast.fleet.signals import hook
from messaging import ACT, OWED, PACKS, SESSION, UNTOLD, Outside, Stage, begin_launch, is_alive, soon
from runtimes import RUNTIMES, Kind

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.store.port import Unit
    from holdfast.fleet.runtimes.port import Handle

PLACES = [("sqlite", kind) for kind in RUNTIMES] + [("postgres", RUNTIMES[0])]
NASTY = (
    "hello",
    "two\nlines",
    "quotes ' \" ` $HOME $(id) \\ ; # % ! && | > /dev/null",
    "\ttabs\tand  spaces  at the end   ",
    "ünïcödé ∮ 漢字 🙂 e\u0301 \u200d",
    "-t x; kill-server",
    "x" * 5_000,
    "\n".join(f"line {n}: {'y' * (n % 130)}" for n in range(300)),
    "#",
    "a line end at the end\n",
)
LARGE = "".join(f"{n:08} {'abcdefghij' * 9}\n" for n in range(2_000))


@pytest.fixture(
    params=[
        pytest.param(place, id=f"{place[0]}-{place[1].name}", marks=[pytest.mark.needs(place[1].needs or "sh")])
        for place in PLACES
    ]
)
def place(request: pytest.FixtureRequest) -> tuple[str, Kind]:
    """An engine and a runtime; not each with each: they have nothing in common."""
    found: tuple[str, Kind] = request.param
    return found


@pytest.fixture
def engine(place: tuple[str, Kind]) -> str:
    return place[0]


@pytest.fixture
async def stage(make_store: StoreMaker, place: tuple[str, Kind], sockets: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    store = await make_store(packs=PACKS)
    outside = Outside(tmp_path / "outside", store.uuid, kind=place[1])
    yield Stage(store, outside)
    await outside.end()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence is not looked for as long as it is elsewhere."""
    monkeypatch.setattr(decider, "CONFIRM_SECONDS", 1.0)
    monkeypatch.setattr(decider, "GONE_SECONDS", 0.2)


@pytest.mark.guards(
    "A message reaches its agent byte by byte as it was said, once, after those that were said before it.",
    against="Quotes, line ends or a large text change or split what an agent is told, or it is told out of order.",
    breaks=("messages-lose-line-ends",),
)
async def test_what_is_said_reaches_the_agent_exactly_and_in_order(stage: Stage) -> None:
    await stage.begin()
    said = [*NASTY, LARGE, "the last one"]
    for text in said:
        await stage.say(text)
    async with stage.delivering():
        await stage.settled()
    assert len(LARGE) > 200_000 - 10_000
    assert stage.outside.consumed() == said
    assert await stage.states() == ["confirmed"] * len(said)
    assert await stage.notices() == []


@pytest.mark.guards(
    "An Enter that the agent ignored is pressed again while the text still stands in the input box, and only then.",
    against="A message stands in the input box for ever while the daemon takes it for delivered.",
    breaks=("messages-press-once",),
)
@pytest.mark.parametrize("text", ["do it", "do it\nin two lines"], ids=["shown", "shown by its size"])
async def test_an_ignored_enter_is_pressed_again(stage: Stage, text: str) -> None:
    await stage.begin("start:\nswallow 1\nevery:\nwork 0.05 1\n")
    number = await stage.say(text)
    async with stage.delivering():
        await stage.settled()
    row = await stage.message(number)
    assert (row["state"], row["presses"]) == ("confirmed", 2)
    assert [each["text"] for each in stage.outside.journal() if each["kind"] == "swallowed"] == [text]
    assert stage.outside.consumed() == [text]


@pytest.mark.guards(
    "Nothing is typed into a dialog that opened after the message was found fit to be typed, whether or not the agent "
    "has said that it is open; it is held, and typed when the dialog has closed.",
    against="A message answers a question of permission that opened a moment before it was written.",
    breaks=("messages-look-once", "messages-ignore-dialogs"),
)
@pytest.mark.parametrize("told", [True, False], ids=["told", "seen on the screen only"])
async def test_nothing_is_typed_into_a_dialog_that_opens_just_before_the_write(stage: Stage, told: bool) -> None:
    lost = "" if told else "lose permission\nlose resolved\n"
    await stage.begin(f"turn:\n{lost}wait go\npermit Bash answered\n")
    first = await stage.say("begin")
    async with stage.delivering():
        await stage.reached(first, "confirmed")
        gate = faults.Gate()
        with faults.armed(delivery.TYPED, gate):
            second = await stage.say("y")
            assert await asyncio.to_thread(gate.reached.wait, 20)
            stage.outside.touch("go")
            await dialog(stage)
            await stage.pump()
            gate.open()
            held = await stage.reached(second, "held")
        assert held["reason"]
        assert stage.outside.consumed() == ["begin"]
        stage.outside.touch("answered")
        await stage.reached(second, "confirmed")
    assert stage.outside.answers() == []
    assert stage.outside.consumed() == ["begin", "y"]


async def dialog(stage: Stage) -> None:
    """Until the dialog is on the screen."""
    async with asyncio.timeout(20):
        while True:
            assert stage.outside.handle is not None
            screen = await stage.outside.runtime.screen(stage.outside.handle)
            if any(line.startswith("? Allow Bash") for line in screen.lines):
                return


@pytest.mark.guards(
    "No Enter is pressed while a dialog is open, also where the text had been written before it opened.",
    against="The Enter of a message answers a question of permission.",
    breaks=("messages-press-into-dialogs",),
)
async def test_no_enter_is_pressed_into_a_dialog_that_opens_after_the_write(stage: Stage) -> None:
    await stage.begin("turn:\nlose permission\nwait go\npermit Bash answered\n")
    first = await stage.say("begin")
    async with stage.delivering():
        await stage.reached(first, "confirmed")
        gate = faults.Gate()
        with faults.armed(delivery.WRITTEN, gate):
            second = await stage.say("and more")
            assert await asyncio.to_thread(gate.reached.wait, 20)
            stage.outside.touch("go")
            await dialog(stage)
            gate.open()
            await stage.until(lambda reader: any(row["state"] == "waiting" for row in reader.all(OWED)))
        assert (await stage.message(second))["state"] == "typed"
        stage.outside.touch("answered")
        await stage.reached(second, "confirmed")
    assert stage.outside.answers() == []
    assert stage.outside.consumed() == ["begin", "and more"]


async def test_what_is_said_while_a_permission_is_asked_for_is_held_until_it_is_answered(stage: Stage) -> None:
    await stage.begin("turn:\npermit Bash answered\n")
    async with stage.delivering():
        first = await stage.say("begin")
        await stage.reached(first, "confirmed")
        await stage.until(
            lambda reader: (reader.one(SQL.listener, id=stage.outside.session) or {})["activity"] == "blocked"
        )
        second = await stage.say("y")
        held = await stage.reached(second, "held")
        assert "permission" in held["reason"]
        stage.outside.touch("answered")
        await stage.reached(second, "confirmed")
    assert stage.outside.answers() == []
    assert stage.outside.consumed() == ["begin", "y"]


@pytest.mark.guards(
    "What an agent that works queues by itself counts as delivered when it has taken it, not before.",
    against="That an agent goes on with its work is taken for evidence that it has read a message.",
    breaks=("messages-take-work-for-reading",),
)
async def test_work_that_was_going_on_already_is_no_evidence(stage: Stage) -> None:
    await stage.begin("turn:\nwait go\npermit Bash nothing\n")
    async with stage.delivering():
        first = await stage.say("begin")
        await stage.reached(first, "confirmed")
        second = await stage.say("and more")
        await stage.reached(second, "submitted")
        stage.outside.touch("go")  # it goes on: signals of its own work come
        await stage.until(
            lambda reader: (reader.one(SQL.listener, id=stage.outside.session) or {})["activity"] == "blocked"
        )
        await stage.until(lambda reader: all(row["state"] == "waiting" for row in reader.all(OWED)))
        assert (await stage.message(second))["state"] == "submitted"
        stage.outside.touch("nothing")
        await stage.reached(second, "confirmed")
    assert stage.outside.consumed() == ["begin", "and more"]


@pytest.mark.guards(
    "An agent that says nothing of itself has a message when its terminal showed it and then something else; where it "
    "showed nothing more, nobody knows.",
    against="What the terminal echoes by itself is taken for an agent that has read it.",
    breaks=("messages-take-echoes-for-reading",),
)
@pytest.mark.parametrize(
    ("program", "state"), [(("cat",), "confirmed"), (("sleep", "600"), "unknown")], ids=["reads", "reads nothing"]
)
async def test_of_an_agent_without_signals_its_output_tells(
    stage: Stage, hurried: None, program: tuple[str, ...], state: str
) -> None:
    await stage.lives(await stage.outside.run(*program), "command")
    number = await stage.say("a message to a program")
    async with stage.delivering():
        row = await stage.reached(number, "confirmed", "unknown", "failed")
    assert (row["state"], row["presses"]) == (state, 1)


async def test_a_prompt_that_the_command_line_carries_is_confirmed_by_what_the_agent_does(stage: Stage) -> None:
    await stage.begin(prompt="do this")

    def work(unit: Unit) -> int:
        number = rows.add(unit, stage.outside.session, "app", kind="prompt", text="do this", by="token:test")
        assert rows.given(unit, number, 1)
        return number

    number = await stage.store.unit(ACT, work)
    after = await stage.say("and then that")
    async with stage.delivering():
        await stage.settled()
    assert (await stage.message(number))["state"] == "confirmed"
    assert (await stage.message(after))["state"] == "confirmed"
    assert stage.outside.consumed() == ["do this", "and then that"]


async def test_an_agent_that_ended_without_a_word_had_what_its_terminal_showed(stage: Stage, hurried: None) -> None:
    await stage.begin("start:\nsilent\nevery:\nfail 1\n")
    number = await stage.say("the last thing you hear")
    async with stage.delivering():
        with faults.armed(delivery.SUBMITTED, gate := faults.Gate()):
            assert await asyncio.to_thread(gate.reached.wait, 20)
            await soon(lambda: any(each["kind"] == "exit" for each in stage.outside.journal()))
            await stage.store.unit(ACT, ended)
            gate.open()
        row = await stage.reached(number, "confirmed", "unknown")
    assert (row["state"], row["reason"]) == ("confirmed", "its terminal showed it, and went on")


@pytest.mark.guards(
    "A message of which nobody knows whether the agent that has ended had it is unknown, a person is told once, and it "
    "is not sent again; what was never typed goes to the next launch.",
    against="An agent that was restored is told again what it has done already, or never what was left unsaid.",
    breaks=("messages-fail-with-their-launch", "messages-tell-nobody"),
)
async def test_what_may_have_reached_one_launch_is_not_sent_to_the_next(stage: Stage, hurried: None) -> None:
    await stage.begin()
    first, second = await stage.say("once"), await stage.say("hello again")
    with faults.armed(delivery.TYPED, gate := faults.Gate()):
        async with stage.delivering():
            assert await asyncio.to_thread(gate.reached.wait, 20)
        gate.open()  # the daemon has gone in the middle of it
    await stage.store.unit(ACT, ended)
    handle = await relaunched(stage)
    async with stage.delivering():
        row = await stage.reached(first, "unknown")
        await stage.store.unit(ACT, lambda unit: is_alive(unit, handle, launch=2))
        await stage.reached(second, "confirmed")
        await stage.until(lambda reader: not reader.all(UNTOLD))
    assert (row["launch"], (await stage.message(second))["launch"]) == (1, 2)
    told = [each["resolved_at"] for each in await stage.notices() if each["kind"] == "delivery-unknown"]
    assert told == [None]
    assert stage.outside.consumed() == ["hello again"]


def ended(unit: Unit) -> None:
    readings = {"runtime": Reading("alive"), "pane": Reading("dead"), "process": Reading("dead")}
    door.observe(unit, SESSION, Probe(1, unit.at, hook.now(), readings, exit_status=1))


async def relaunched(stage: Stage) -> Handle:
    """The first launch is gone, and a second one runs that no row calls alive yet."""
    await stage.outside.end()
    await stage.store.unit(ACT, lambda unit: begin_launch(unit, launch=2))
    return await stage.outside.launch(number=2)
