"""A daemon that died in the middle of its write: what is found then settles the message soon."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from holdfast.fleet.agents.declare import Input
from holdfast.fleet.messages.decider import (
    CONFIRM_SECONDS,
    LEFT_SECONDS,
    Listener,
    Message,
    Press,
    Rest,
    Scene,
    Settle,
    Step,
    Typing,
    decide,
)
from holdfast.fleet.runtimes.port import Screen

TEXT = "mend the door, then paint it"
EMPTY, PART, WHOLE = "> ", "> mend the do", f"> {TEXT}"


def found(box: str, typing: Typing) -> Step:
    """What the next daemon does about it."""
    return decide(
        Scene(
            message=Message(1, "demo-1", "message", "typed", 1, 0, TEXT),
            listener=Listener(1, "idle", "hooks", alive=True, activity="idle"),
            now="2026-11-21T12:00:00.000000Z",
            dialect=Input(ready=re.compile("^> ")),
            screen=Screen((box,), 0, len(box)),
            typing=typing,
        )
    )


@pytest.mark.guards(
    "A message whose write was cut off by the death of the daemon is unknown at the latest 15 s after the next one "
    "began, whatever its agent does; where all of it stands in the box, it is submitted.",
    against="After a crash a message stands for minutes, or while its agent works for an hour, as about to be typed.",
    breaks=("messages-look-long-for-what-was-cut-off",),
)
@pytest.mark.parametrize("calm", [True, False], ids=["at rest", "at work"])
@pytest.mark.parametrize("box", [EMPTY, PART], ids=["nothing", "a part"])
def test_what_a_dead_daemon_was_writing_is_settled_soon(box: str, calm: bool) -> None:
    typing = Typing(calm=calm, watched=LEFT_SECONDS - 0.5)
    early = found(box, typing)
    assert isinstance(early, Rest)
    assert early.after == pytest.approx(0.5)
    late = found(box, replace(typing, watched=LEFT_SECONDS))
    assert isinstance(late, Settle)
    assert late.end == "unknown"
    assert ("a part of it" in late.why) == (box == PART)
    assert LEFT_SECONDS <= 15
    assert found(WHOLE, replace(typing, watched=2.0)) == Press()


@pytest.mark.parametrize("typing", [Typing(slow=True), Typing(written=True)], ids=["slow", "written"])
def test_what_may_still_come_is_waited_for_as_long_as_any_message(typing: Typing) -> None:
    assert isinstance(found(EMPTY, replace(typing, watched=CONFIRM_SECONDS - 1)), Rest)
