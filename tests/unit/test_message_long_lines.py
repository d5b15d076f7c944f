"""A terminal that gathers lines keeps only the beginning of a long one: such a text is never typed into it."""

from __future__ import annotations

import os
import pty
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.fleet.agents.declare import Input
from holdfast.fleet.messages import words
from holdfast.fleet.messages.decider import (
    BUSY_SECONDS,
    LINES_SECONDS,
    Hold,
    Listener,
    Message,
    Rest,
    Scene,
    Settle,
    Step,
    Type,
    Typing,
    Write,
    decide,
)
from holdfast.fleet.runtimes.line_mode import LINE, reads_lines
from holdfast.fleet.runtimes.port import Screen

TEXT = "x" * 5_000
ECHO = f"{TEXT}\r\nwrote it down\r\n".encode()


def step(state: str, typing: Typing | None, *, cuts: bool = True, activity: str | None = None, **more: object) -> Step:
    """What is done about a text with a long line, to an agent that says nothing of itself."""
    return decide(
        Scene(
            message=Message(1, "demo-1", "message", state, 1, 0, TEXT),  # type: ignore[arg-type]
            listener=Listener(1, "working", "output", alive=True, activity=activity),  # type: ignore[arg-type]
            now="2026-11-21T12:00:00.000000Z",
            dialect=Input(),
            screen=Screen(("> ",), 0, 2),
            cuts=cuts,
            typing=typing,
            **more,  # type: ignore[arg-type]
        )
    )


@pytest.mark.guards(
    "A text with a line that the agent's terminal would cut is not typed: it is held for 30 s, or while the agent "
    "works, for it may go over to reading keys, and then has failed, with what to do about it.",
    against="An agent gets the first 4,095 bytes of a task, and the message says that it has all of it.",
    breaks=("messages-type-lines-that-are-cut", "messages-wait-for-keys-for-ever"),
)
def test_a_text_that_would_be_cut_is_held_for_a_while_and_then_has_failed() -> None:
    assert step("queued", None, cuts=False) == Type()
    first = step("queued", None)
    assert isinstance(first, Hold)
    assert first.counts
    assert str(LINE) in first.reason
    last = step("held", Typing(ahead=True, watched=LINES_SECONDS - 0.5))
    assert isinstance(last, Hold)
    assert last.after == pytest.approx(0.5)
    end = step("held", Typing(ahead=True, watched=LINES_SECONDS))
    assert isinstance(end, Settle)
    assert (end.end, "into a file" in end.why) == ("failed", True)
    assert step("held", Typing(ahead=True, watched=LINES_SECONDS), cuts=False) == Type()
    assert isinstance(step("held", Typing(ahead=True, watched=LINES_SECONDS), activity="working"), Hold)
    assert isinstance(step("held", Typing(ahead=True, watched=BUSY_SECONDS), activity="working"), Settle)


def test_a_terminal_that_goes_over_to_lines_just_before_the_write_is_not_written_to() -> None:
    assert step("typed", Typing(), cuts=False, sure="unwritten") == Write()
    assert isinstance(step("typed", Typing(), sure="unwritten"), Hold)


@pytest.mark.guards(
    "Of a text that the terminal may have cut, neither its echo nor what the agent does is evidence, and Enter is not "
    "pressed for it.",
    against="The terminal echoes all of a line of which it keeps a part, and the message is taken for delivered.",
    breaks=("messages-believe-echoes-of-what-was-cut",),
)
@pytest.mark.parametrize("sure", ["unpressed", None])
def test_what_a_terminal_echoes_is_no_evidence_once_it_may_have_cut_it(sure: str | None) -> None:
    typing = Typing(written=True, watched=1.0)
    end = step("typed", typing, output=ECHO, sure=sure)
    assert isinstance(end, Settle)
    assert (end.end, "may have cut" in end.why) == ("unknown", True)
    # An agent that reads keys took it, and leaves its terminal to what it runs.
    pressed = Typing(written=True, watched=1.0, pressed_at=10)
    assert step("submitted", pressed, output=ECHO, answer=b"wrote it down") == Settle(
        "confirmed", "its terminal showed it, and went on"
    )
    assert isinstance(step("submitted", pressed), Rest)


@pytest.mark.parametrize(
    ("text", "longest"),
    [("", 0), ("one\ntwo three\n", 9), ("漢字", 6), ("x" * LINE + "\n" + "y" * (LINE + 1), LINE + 1)],
    ids=["nothing", "lines", "bytes", "the second"],
)
def test_a_line_is_as_long_as_its_bytes(text: str, longest: int) -> None:
    assert words.longest_line(text) == longest


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a new one, as the kernel makes it: it gathers lines."""
    ends = pty.openpty()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def test_the_kernel_keeps_a_line_of_the_stated_length_with_the_marks_of_a_paste_and_no_more() -> None:
    marks = len(b"\x1b[200~\x1b[201~")
    for size, kept in [(LINE + marks, LINE + marks), (LINE + marks + 1, LINE + marks)]:
        with terminal() as (ours, its):
            quiet = termios.tcgetattr(its)
            quiet[3] &= ~termios.ECHO
            termios.tcsetattr(its, termios.TCSANOW, quiet)
            os.write(ours, b"x" * size)
            os.write(ours, b"\n")
            assert len(os.read(its, 65_536)) == kept + 1


def test_a_terminal_tells_whether_it_gathers_lines_and_what_is_none_does_not() -> None:
    with terminal() as (_, its):
        assert reads_lines(os.ttyname(its))
        tty.setraw(its)
        assert not reads_lines(os.ttyname(its))
    assert not reads_lines("/dev/null")
    assert not reads_lines("/nowhere")
