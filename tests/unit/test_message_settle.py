"""An agent that takes an early Enter for a part of the paste is given the time that it needs before one is pressed."""

from __future__ import annotations

import re

import pytest

from holdfast.fleet.agents.declare import Input
from holdfast.fleet.messages.decider import Listener, Message, Press, Rest, Scene, Typing, decide
from holdfast.fleet.runtimes.port import Screen

NOW = "2026-11-21T12:00:00.000000Z"
BOX = re.compile(r"^> ")


def step(settle: float, watched: float) -> object:
    """What is done with a text that stands in the box, so many seconds after it was written."""
    return decide(
        Scene(
            message=Message(1, "demo-1", "message", "typed", 1, 0, "hello"),
            listener=Listener(1, "idle", "hooks", alive=True, activity="idle"),
            now=NOW,
            dialect=Input(ready=BOX, settle=settle),
            screen=Screen(("> hello",), 0, 7),
            typing=Typing(written=True, watched=watched),
            sure="unpressed",
        )
    )


@pytest.mark.guards(
    "Enter is pressed no sooner after a paste than the agent says that it takes it for one.",
    against="An Enter that becomes a line break: the message stands in the box and nobody submits it.",
    breaks=("messages-press-at-once",),
)
def test_enter_waits_until_the_paste_has_settled() -> None:
    assert isinstance(step(0.0, 0.0), Press)
    early = step(0.2, 0.05)
    assert isinstance(early, Rest)
    assert early.after == pytest.approx(0.15)
    assert isinstance(step(0.2, 0.2), Press)
