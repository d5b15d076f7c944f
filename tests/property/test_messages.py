"""Random histories of messages: crashes, dialogs, lost signals, ignored keys, deaths, and an agent that notes all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conftest import StoreMaker
from holdfast.fleet.messages.words import OVER
from manual_clock import ManualClock
from messaging import PACKS
from messaging_world import HAPPENINGS, History, World, happening

if TYPE_CHECKING:
    from holdfast.core.store.port import Store

TEXTS = ("go on", "y", "fix the test\nand commit", "a longer message, of one line", "go on")


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def opened(loop: asyncio.Runner, tmp_path: Any, clock: ManualClock) -> Iterator[Store]:
    maker = StoreMaker("sqlite", tmp_path, lambda: "")
    yield loop.run(maker(packs=PACKS, clock=clock))
    loop.run(maker.close())


@pytest.mark.slow
@pytest.mark.guards(
    "Whatever happens between two steps of a delivery, no message is written twice, no key reaches a dialog, the agent "
    "has messages in their order and each once at most; what is confirmed it has, what failed it has not, and every "
    "message comes to an end.",
    against="An order of events that nobody thought of: an agent is told twice, or answers what it was not asked.",
    breaks=("messages-type-again", "messages-press-blindly"),
)
@settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    plan=st.lists(st.sampled_from(("nothing",) * 4 + HAPPENINGS), min_size=20, max_size=60),
    texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4),
)
def test_every_history_of_messages_keeps_its_promises(
    loop: asyncio.Runner, opened: Store, clock: ManualClock, plan: list[str], texts: list[str]
) -> None:
    async def scenario() -> None:
        history = History(opened, clock, iter(plan))
        world = history.world
        await history.begin()
        for text in texts:
            await history.say(text)
        with happening(world):
            await history.drive(60)
        world.calm()
        for _ in range(4):
            await history.drive(120)
            world.box = ""  # a person clears what was left in the box
            world.rest()
        check(world, await history.states())

    loop.run(scenario())


def check(world: World, states: list[tuple[str, str]]) -> None:
    assert all(state in OVER for state, _ in states), (states, world)
    assert world.into_dialog == []
    assert world.vain == 0, "no Enter was pressed but for a text that stood in the box"
    texts = [text for _, text in states]
    assert in_order(world.pasted, texts), "each is written once at most, in order"
    assert in_order(world.consumed, texts), "each is had once at most, in order"
    confirmed = [text for state, text in states if state == "confirmed"]
    possible = [text for state, text in states if state in {"confirmed", "unknown"}]
    assert in_order(confirmed, world.consumed)
    assert in_order(world.consumed, possible)


def in_order(some: list[str], of: list[str]) -> bool:
    """Whether these are some of those, in the same order, none more often."""
    rest = iter(of)
    return all(any(each == other for other in rest) for each in some)
