"""The states of a message, the moves between them, and what can be said at all."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from holdfast.core.errors import Invalid, TooLarge
from holdfast.fleet.messages import words
from holdfast.fleet.messages.words import AFTER, BEFORE, LARGEST_TEXT, MOVES, OVER, State

STATES = get_args(State)


@pytest.mark.guards(
    "A message moves only along the table: what has ended never begins again, and what may have reached an agent never "
    "goes back to what is to be typed, but where it is certain that nothing was.",
    against="A message that was delivered is delivered again because a row was set back.",
    breaks=("messages-move-anywhere",),
)
def test_messages_move_along_the_table_and_nowhere_else() -> None:
    allowed = {(move.start, move.end) for move in MOVES}
    assert len(allowed) == len(MOVES)
    for start, end in product(STATES, STATES):
        if (start, end) in allowed:
            words.check(start, end)
        else:
            with pytest.raises(ValueError, match=f"{start} to {end}"):
                words.check(start, end)
    assert {(start, end) for start, end in allowed if start in OVER} == {("unknown", "confirmed")}
    assert {(start, end) for start, end in allowed if start in AFTER and end in BEFORE} == {("typed", "held")}


def test_every_state_is_before_after_or_over_and_is_reached() -> None:
    assert sorted([*BEFORE, *AFTER, *OVER]) == sorted(STATES)
    assert {move.end for move in MOVES} == set(STATES) - {"queued"}
    assert all(move.why for move in MOVES)


@pytest.mark.guards(
    "Control characters never come to a terminal: a message is kept without them and says how many were left out, a "
    "prompt with them is refused.",
    against="An escape sequence in a message ends the paste and presses keys.",
    breaks=("messages-type-control-characters",),
)
@pytest.mark.parametrize("bad", ["\x1b", "\x00", "\x03", "\x07", "\x7f", "\x9b", "\x0b"])
def test_control_characters_are_left_out_of_messages_and_refused_in_prompts(bad: str) -> None:
    cleaned = words.sayable("message", f"a{bad}[201~b{bad}\tc\nd")
    assert (cleaned.text, cleaned.words) == ("a[201~b\tc\nd", "left out: 2 control characters")
    with pytest.raises(Invalid, match="2 control characters"):
        words.sayable("prompt", f"a{bad}[201~b{bad}")


def test_a_carriage_return_which_is_the_key_enter_becomes_a_line_feed() -> None:
    assert words.sayable("message", "a\r\nb\rc") == words.Cleaned("a\nb\nc", 0)
    assert words.sayable("prompt", "a\r\nb") == words.Cleaned("a\r\nb", 0)
    assert words.typeable("a\r\nb").text == "a\nb"


@pytest.mark.parametrize("kind", ["prompt", "message", "notice"])
def test_what_says_nothing_is_no_text_or_is_too_large_is_refused(kind: words.Kind) -> None:
    for empty in ("", " \n\t", "\r\n"):
        with pytest.raises(Invalid, match="says nothing"):
            words.sayable(kind, empty)
    with pytest.raises(Invalid, match="half a character"):
        words.sayable(kind, "a\ud800")
    assert words.sayable(kind, "x" * LARGEST_TEXT).left_out == 0
    with pytest.raises(TooLarge, match=f"{LARGEST_TEXT + 1} bytes"):
        words.sayable(kind, "é" + "x" * (LARGEST_TEXT - 1))


def test_what_was_left_out_is_said_in_every_later_reason() -> None:
    first = words.sayable("message", "a\x1b").words
    assert first == "left out: 1 control character"
    held = words.reason_of("a dialog is open", first)
    assert held == "a dialog is open; left out: 1 control character"
    assert words.reason_of("it was read", held) == "it was read; left out: 1 control character"
    assert words.reason_of(None, held) == first
    assert words.reason_of("it was read", "a dialog is open") == "it was read"
