"""A dialog that a person has left without a word of the agent: what has to be seen before anything is typed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.core.instants import later, seconds
from holdfast.fleet.agents.declare import Input
from holdfast.fleet.messages.decider import (
    DIALOG_SECONDS,
    Hold,
    Listener,
    Message,
    Press,
    Rest,
    Scene,
    Type,
    Typing,
    Write,
    decide,
)
from holdfast.fleet.runtimes.port import Screen

SAID = "2026-11-21T12:00:00.000000Z"
DIALECT = Input(ready=re.compile(r"^> "), dialog=re.compile(r"^\? Allow"))
BOX, DIALOG = Screen(("said before", "> "), 1, 2), Screen(("said before", "? Allow Bash [y/n] "), 1, 19)
BOTH = Screen(("? Allow Bash [y/n] ", "> "), 1, 2)


def at(after: float) -> str:
    return later(SAID, seconds(after))


def scene(after: float, screen: Screen | None = BOX, **more: Any) -> Scene:
    """So many seconds after the agent has said that it asks for a permission."""
    made = Scene(
        message=Message(1, "demo-1", "message", "queued", 0, 0, "hello"),
        listener=Listener(1, "needs_input", "hooks", alive=True, activity="blocked", activity_at=SAID),
        now=at(after),
        dialect=DIALECT,
        screen=screen,
    )
    return replace(made, **more)


def written(of: Scene) -> Scene:
    """The same, when the text stands in the box and Enter was not pressed."""
    screen = of.screen
    if screen is not None:
        screen = Screen(tuple("> hello" if line == "> " else line for line in screen.lines), screen.row, 7)
    typed, typing = replace(of.message, state="typed", launch=1), Typing(written=True, watched=60.0)
    return replace(of, message=typed, typing=typing, screen=screen, sure="unpressed")


@pytest.mark.guards(
    "A message is typed although the agent said last that it asks for a permission, as soon as that is some time ago, "
    "its input box is there and no dialog is.",
    against="A person leaves a dialog by Esc, of which the agent says nothing, and its messages are held for ever.",
    breaks=("messages-wait-for-dialogs-that-were-left",),
)
def test_a_dialog_that_was_left_without_a_word_holds_nothing_back() -> None:
    assert decide(scene(DIALOG_SECONDS)) == Type()
    last_look = replace(scene(DIALOG_SECONDS), sure="unwritten")
    typed = replace(last_look, message=replace(last_look.message, state="typed", launch=1), typing=Typing())
    assert decide(typed) == Write()
    assert decide(written(scene(DIALOG_SECONDS))) == Press()


@pytest.mark.guards(
    "Without that evidence a message stays held: while a dialog shows or may come, where box or terminal is not seen, "
    "and for agents whose dialogs or boxes cannot be known on a screen.",
    against="A message answers a question of permission, because the agent said so a moment ago or only by its hook.",
    breaks=("messages-believe-that-dialogs-are-left",),
)
@pytest.mark.parametrize(
    "seen",
    [
        scene(DIALOG_SECONDS - 0.001),
        scene(-3_600),
        scene(3_600, DIALOG),
        scene(3_600, BOTH),
        scene(3_600, Screen(("a program that draws over all",), 0, 0)),
        scene(3_600, None),
        scene(3_600, dialect=Input(ready=DIALECT.ready)),
        scene(3_600, dialect=Input(dialog=DIALECT.dialog)),
        scene(3_600, dialect=Input()),
        scene(3_600, listener=replace(scene(0).listener, activity_at=None)),
    ],
    ids=[
        "too soon",
        "clock put back",
        "dialog",
        "both",
        "no box",
        "not seen",
        "no pattern",
        "no box's",
        "none",
        "never",
    ],
)
def test_without_evidence_a_message_stays_held(seen: Scene) -> None:
    assert isinstance(decide(seen), Hold)
    assert isinstance(decide(written(seen)), Rest)


LINES = st.lists(st.sampled_from(["> ", "> hello", "? Allow Bash [y/n] ", "text", ""]), min_size=1, max_size=5)


@given(
    lines=LINES,
    after=st.floats(-100, 10_000),
    activity=st.sampled_from(["working", "idle", "waiting_input", "blocked", "done", "exited", None]),
    state=st.sampled_from(["queued", "held", "typed", "submitted"]),
    typing=st.builds(Typing, calm=st.booleans(), written=st.booleans(), watched=st.floats(0, 100)),
    sure=st.sampled_from([None, "unwritten", "unpressed"]),
)
def test_no_key_is_pressed_while_a_dialog_shows(
    lines: list[str], after: float, activity: Any, state: Any, typing: Typing, sure: Any
) -> None:
    screen = Screen(tuple(lines), len(lines) - 1, len(lines[-1]))
    base = scene(after, screen)
    step = decide(
        replace(
            base,
            message=replace(base.message, state=state, launch=1),
            listener=replace(base.listener, activity=activity),
            typing=typing,
            sure=sure,
        )
    )
    if any(line.startswith("? Allow") for line in lines):
        assert not isinstance(step, Type | Write | Press)
