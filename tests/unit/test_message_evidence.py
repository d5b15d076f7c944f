"""What screens, recorded output and an agent's words prove of a text that was typed."""

from __future__ import annotations

import re

import pytest

from holdfast.fleet.agents.declare import Input
from holdfast.fleet.messages import evidence
from holdfast.fleet.runtimes.port import Screen

PLAIN = Input()
MARKED = Input(ready=re.compile(r"^> "), pasted=re.compile(r"\[Pasted \d+ lines\]"))
LONG = "fix the failing test in the parser, then run all of them and tell me what you have changed " * 3


def at_cursor(*lines: str) -> Screen:
    """A screen whose cursor stands after its last line."""
    return Screen(lines, len(lines) - 1, len(lines[-1]))


def framed(*inside: str, below: tuple[str, ...] = ("  ? for shortcuts",), above: tuple[str, ...] = ()) -> Screen:
    """A box with a frame, below which the agent parks the cursor."""
    lines = (*above, "─" * 40, *inside, "─" * 40, *below)
    return Screen(lines, len(lines) - 1, 0)


HELD = {
    "after a prompt": (at_cursor("> fix it"), "fix it", PLAIN),
    "after a shell's prompt": (at_cursor("me@host:~$ fix it"), "fix it", PLAIN),
    "folded": (
        at_cursor("> fix the failing", "  test in the", "  parser"),
        "fix the failing test in the parser",
        PLAIN,
    ),
    "after what a person had typed": (framed("> note: " + LONG), LONG, MARKED),
    "in a frame": (framed("> fix it"), "fix it", MARKED),
    "in a frame, over lines": (framed("> one thing", "  and another thing"), "one thing\nand another thing", MARKED),
    "by its size": (framed("> [Pasted 20 lines]"), "a\n" * 20, MARKED),
}
NOT_HELD = {
    "above the empty box": (at_cursor("» fix it", "> "), "fix it", PLAIN),
    "above the empty box, same mark": (at_cursor("> fix it", "> "), "fix it", PLAIN),
    "echoed, the cursor on the next line": (at_cursor("> fix it", ""), "fix it", PLAIN),
    "repeated by a program": (at_cursor("you said fix it"), "fix it", PLAIN),
    "above the framed box": (framed("> ", above=("> fix it", "● done")), "fix it", MARKED),
    "by its size, above the box": (framed("> ", above=("> [Pasted 20 lines]",)), "a\n" * 20, MARKED),
    "a hint in the empty box": (framed('> Try "fix it"'), "it", MARKED),
    "another text": (framed("> fix that"), "fix it", MARKED),
    "nothing to see": (at_cursor("> "), "###", PLAIN),
}


@pytest.mark.guards(
    "Only a text that stands in the input box counts as not submitted; one in the transcript above does not.",
    against="Enter is pressed again for a message that the agent has long had.",
    breaks=("messages-take-transcripts-for-boxes",),
)
@pytest.mark.parametrize("name", [*HELD, *NOT_HELD])
def test_a_text_stands_in_the_box_only_where_its_end_is_in_it(name: str) -> None:
    screen, text, dialect = {**HELD, **NOT_HELD}[name]
    assert evidence.holds(screen, text, dialect, whole=True) == (name in HELD)


@pytest.mark.guards(
    "Where it is not known that all of a text was written, only all of it in the box proves that it was.",
    against="Half a message is submitted after a crash in the middle of its write.",
    breaks=("messages-trust-partial-pastes",),
)
def test_a_part_of_a_text_that_repeats_itself_is_not_taken_for_all_of_it() -> None:
    text = "again and again and " * 3
    part = at_cursor("> " + "again and again and " * 2)
    assert evidence.holds(part, text, PLAIN, whole=True)
    assert not evidence.holds(part, text, PLAIN, whole=False)
    assert evidence.holds(at_cursor("> " + text), text, PLAIN, whole=False)
    assert not evidence.holds(framed("> [Pasted 20 lines]"), "a\n" * 20, MARKED, whole=False)


def test_what_remains_of_a_text_in_the_box_is_known_again() -> None:
    assert evidence.remains(framed("> fix the failing"), LONG, MARKED)
    assert evidence.remains(at_cursor("> fix the failing"), LONG, PLAIN)
    assert evidence.remains(framed("> [Pasted 3 lines]"), LONG, MARKED)
    assert not evidence.remains(framed("> "), LONG, MARKED)
    assert not evidence.remains(framed("> something else"), LONG, MARKED)


@pytest.mark.parametrize(
    ("submitted", "is_it"),
    [
        ("fix  it\nnow, all of it", True),
        (" fix it now, all of it ", True),
        ("note: fix it now, all of it, please", True),
        ("fix it", False),
        ("", False),
    ],
)
def test_a_submission_is_known_but_for_white_space_and_among_other_words(submitted: str, is_it: bool) -> None:
    assert evidence.is_submission("fix it now,\nall of it", submitted) is is_it


def test_short_texts_are_known_only_by_themselves_and_long_ones_also_when_cut_short() -> None:
    assert not evidence.is_submission("y", "why not")
    long = "".join(f"{n} " for n in range(100_000))
    assert evidence.is_submission(long, long[:200_000] + "…[cut: 588890 characters in all]")
    assert not evidence.is_submission(long, "x" + long[:200_000])


@pytest.mark.guards(
    "What an agent tells of a long text confirms it only where it has all of it, "
    "or where its hook cut it and says of how much.",
    against="An agent that was given the beginning of a text tells so, and the text is taken for delivered.",
    breaks=("messages-take-a-part-for-the-whole",),
)
def test_a_part_of_a_text_that_was_submitted_is_not_the_text() -> None:
    long = "".join(f"{n} " for n in range(100_000))
    assert not evidence.is_submission(long, long[:4_095])
    assert not evidence.is_submission(long, long[:200_000] + "…[cut: 300000 characters in all]")


def test_recorded_output_shows_a_text_however_it_is_coloured_and_framed() -> None:
    output = "\x1b[2K\r\x1b[1m> fix\x1b[0m \x1b]0;title\x07it\r\n│ │\r\nworking".encode()
    assert evidence.has_echoed(output, "fix it")
    assert not evidence.has_echoed(b"\r> fix it", "fix it"), "nothing came after it"
    assert not evidence.has_echoed("\r> fix it\r\n╰──╯ > ".encode(), "fix it"), "a frame is nothing"
    assert not evidence.has_echoed(output, "fix that")
    assert not evidence.has_echoed(output, "##")


def test_a_dialog_and_the_box_are_seen_by_the_agents_own_patterns() -> None:
    dialect = Input(ready=re.compile("^> "), dialog=re.compile("^Allow"))
    assert evidence.dialog_open(Screen(("x", "Allow Bash?"), 0, 0), dialect)
    assert not evidence.dialog_open(Screen(("> ",), 0, 0), dialect)
    assert evidence.is_ready(Screen(("x", "> "), 0, 0), dialect)
    assert not evidence.is_ready(Screen(("x",), 0, 0), dialect)
    assert evidence.is_ready(Screen((), 0, 0), PLAIN)
