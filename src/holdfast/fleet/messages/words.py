"""The words of messages: their states, the table of moves between these, and which text can be said at all. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from holdfast.core.errors import Invalid, TooLarge

State = Literal["queued", "held", "typed", "submitted", "confirmed", "unknown", "suppressed", "failed"]
#: The first task of a session, what a person or a rule says to it, and what a resumed agent is told.
Kind = Literal["prompt", "message", "notice"]

#: Nothing of it has reached a terminal.
BEFORE: frozenset[State] = frozenset({"queued", "held"})
#: It may have reached the agent: from here on only evidence decides.
AFTER: frozenset[State] = frozenset({"typed", "submitted"})
#: Nothing is done about it any more.
OVER: frozenset[State] = frozenset({"confirmed", "unknown", "suppressed", "failed"})

LARGEST_TEXT = 1_048_576


@dataclass(frozen=True, slots=True)
class Move:
    """One row of the table of moves."""

    start: State
    end: State
    why: str


MOVES: tuple[Move, ...] = (
    Move("queued", "held", "typing would answer a dialog, fall into what stands in the input box, or be cut"),
    Move("queued", "typed", "it is about to be typed"),
    Move("queued", "submitted", "the command line of a launch that lives carries it"),
    Move("queued", "suppressed", "there is no use in it any more"),
    Move("queued", "failed", "its session ended before it was typed, or it cannot be typed"),
    Move("held", "typed", "what was in the way is gone, and it is about to be typed"),
    Move("held", "submitted", "the command line of a launch that lives carries it"),
    Move("held", "suppressed", "there is no use in it any more"),
    Move("held", "failed", "its session ended before it was typed, or it cannot be typed"),
    Move("typed", "held", "a last look just before the write found something in the way: nothing was typed"),
    Move("typed", "submitted", "Enter was pressed"),
    Move("typed", "confirmed", "there is evidence that the agent has it, though nothing says that Enter was pressed"),
    Move("typed", "unknown", "whether the agent has it cannot be found out"),
    Move("submitted", "confirmed", "there is evidence that the agent has it"),
    Move("submitted", "unknown", "whether the agent has it cannot be found out"),
    Move("unknown", "confirmed", "late evidence that the agent has it"),
)
_ALLOWED = frozenset((move.start, move.end) for move in MOVES)

#: What a terminal would take as a key or a command. Tabs and line ends are text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_END = re.compile("\r\n?")
#: How a reason says what was left out; what comes after it stays with the message.
_LEFT_OUT = re.compile(r"left out: \d+ control characters?$")


def check(start: State, end: State) -> None:
    """Refuse a move that the table does not have: a bug of the caller."""
    if (start, end) not in _ALLOWED:
        message = f"a message never goes from {start} to {end}"
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Text that can be typed."""

    text: str
    #: How many control characters were left out of it.
    left_out: int

    @property
    def words(self) -> str | None:
        """What was left out, in words; none when nothing was."""
        if not self.left_out:
            return None
        return f"left out: {self.left_out} control character{'s' if self.left_out > 1 else ''}"


def typeable(text: str) -> Cleaned:
    """The text without what a terminal would take as keys; every line end is one line feed."""
    joined = _LINE_END.sub("\n", text)
    cleaned = _CONTROL.sub("", joined)
    return Cleaned(cleaned, len(joined) - len(cleaned))


def longest_line(text: str) -> int:
    """The bytes of its longest line."""
    return max(len(line.encode("utf-8", "surrogateescape")) for line in text.split("\n"))


def sayable(kind: Kind, text: str) -> Cleaned:
    """The text as it is kept, or why it cannot be said.

    A prompt is delivered exactly or refused. A message is typed, so it is kept as it can be typed; what that leaves out
    is said in its reason.
    """
    name = "a prompt" if kind == "prompt" else "a message"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        message = f"The text of {name} holds half a character: it is no UTF-8. Send it whole."
        raise Invalid(message, field="text") from None
    if size > LARGEST_TEXT:
        message = (
            f"The text of {name} has {size} bytes and may have {LARGEST_TEXT}. "
            "Put it into a file of the repository and name that."
        )
        raise TooLarge(message)
    cleaned = typeable(text)
    if not cleaned.text.strip():
        message = f"The text of {name} says nothing. Send some words."
        raise Invalid(message, field="text")
    if kind != "prompt":
        return cleaned
    if cleaned.left_out:
        message = f"The prompt holds {cleaned.left_out} control characters, which act as keys. Send it without them."
        raise Invalid(message, field="text")
    return Cleaned(text, 0)


def reason_of(now: str | None, before: str | None) -> str | None:
    """The reason of a state, which still says what was left out of the text when it was taken."""
    kept = _LEFT_OUT.search(before or "")
    if kept is None:
        return now
    return kept[0] if now is None else f"{now}; {kept[0]}"
