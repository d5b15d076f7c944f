"""What a screen, recorded output and an agent's words tell about a text that was typed. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holdfast.fleet.signals.hook import CUT

if TYPE_CHECKING:
    from holdfast.fleet.agents.declare import Input
    from holdfast.fleet.runtimes.port import Screen

#: So much of a text's end tells it from others; of a shorter text all of it counts.
TAIL = 80
#: What stands in a box is known for the text's end by so many characters at least, or by all of it; and a text among
#: other words that were submitted.
_SURE = 12
#: What an agent tells of a long text may be cut short; so much of its beginning is enough.
_BEGINNING = 1_000
#: What a hook leaves at the end of a text that it has cut, without its white space.
_CUT = re.compile(re.escape("".join(CUT.split())).replace(re.escape("{}"), r"(\d+)") + r"\Z")

# Frames, rules, marks of prompts and of lists: what stands around text in a box.
_FRAME = "\u2500-\u259f\u2022\u203a\u276f|>$#%*"
_NOTHING = re.compile(rf"[\s{_FRAME}\u200b-\u200f\ufeff]+")
_PROMPT = re.compile(rf"[{_FRAME}]\s*$")
_RULE = re.compile(r"\s*[\u2500-\u259f+_=-]{3,}[\s\u2500-\u259f+_=-]*")
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC and the other strings
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0e-\x1f\x7f]"
)


def bare(text: str) -> str:
    """The text without white space and frames: what is left of it however a terminal folds and frames it."""
    return _NOTHING.sub("", text)


def tail(text: str) -> str:
    """The end of a text, bare, by which it is looked for."""
    return bare(text)[-TAIL:]


# --- what the agent says ---------------------------------------------------------------------------------------


def is_submission(text: str, submitted: str) -> bool:
    """Whether what was submitted to an agent is this text, but for white space; it may stand among other words."""
    mine, other = "".join(text.split()), "".join(submitted.split())
    if mine == other:
        return True
    if len(mine) >= _SURE and mine in other:
        return True
    cut = _CUT.search(other)
    if cut is None or int(cut[1]) < len(mine):
        return False  # what the agent has is no more than a part
    beginning = other[: cut.start()]
    return len(beginning) >= _BEGINNING and mine.startswith(beginning)


# --- what the screen shows -------------------------------------------------------------------------------------


def dialog_open(screen: Screen, dialect: Input) -> bool:
    """Whether something asks that typing would answer."""
    return dialect.dialog is not None and any(dialect.dialog.search(line) for line in screen.lines)


def is_ready(screen: Screen, dialect: Input) -> bool:
    """Whether the input box is there."""
    return dialect.ready is None or any(dialect.ready.search(line) for line in screen.lines)


def holds(screen: Screen, text: str, dialect: Input, *, whole: bool) -> bool:
    """Whether the input box still holds the text. Where it is not known that the `whole` was written, all must show.

    Of a text that was written to its end, the end is enough: a part of one that repeats itself has the same end.
    """
    wanted = bare(text)
    if not wanted:
        return False  # nothing of it can be known again
    if whole and dialect.pasted is not None and any(dialect.pasted.search(line) for line in _box(screen, dialect)):
        return True
    enough = min(len(wanted), _SURE) if whole else len(wanted)
    return _ends_at_cursor(screen, wanted, enough) or _ends_in_frame(screen, dialect, wanted, enough)


def remains(screen: Screen, text: str, dialect: Input) -> bool:
    """Whether the input box holds a part of this text, which nobody has submitted."""
    lines = _box(screen, dialect)
    if dialect.pasted is not None and any(dialect.pasted.search(line) for line in lines):
        return True
    there = bare("".join(lines))
    return bool(there) and (there in bare(text) or (len(bare(text)) >= _SURE and bare(text) in there))


def _ends_at_cursor(screen: Screen, wanted: str, enough: int) -> bool:
    """Whether the text ends where the cursor stands, with nothing but the mark of a prompt before it in its line."""
    line = _line(screen, screen.row)[: screen.column]
    start = next((at for at in range(len(line), -1, -1) if bare(line[at:]) == wanted), None)
    if start is not None:
        return not bare(line) or bare(line) == wanted or _PROMPT.search(line[:start]) is not None
    there, row = bare(line), screen.row
    while there and len(there) < enough:  # a folded text: its last line may be short
        row -= 1
        above = bare(_line(screen, row))
        if not above:
            return False
        there = above + there
    return bool(there) and wanted.endswith(there)


def _ends_in_frame(screen: Screen, dialect: Input, wanted: str, enough: int) -> bool:
    """Agents that draw their own cursor leave the terminal's anywhere: then the frame of the box says where it ends."""
    there = bare("".join(_framed(screen, dialect)))
    if len(wanted) < _SURE:
        return there == wanted
    return len(there) >= enough and (wanted.endswith(there) or there.endswith(wanted))


def _framed(screen: Screen, dialect: Input) -> list[str]:
    """The lines from the last one that is a box's up to the rule below it; none where there is no such rule."""
    if dialect.ready is None:
        return []
    starts = [row for row, line in enumerate(screen.lines) if dialect.ready.search(line)]
    if not starts:
        return []
    for row in range(starts[-1] + 1, len(screen.lines)):
        if _RULE.fullmatch(screen.lines[row]):
            return list(screen.lines[starts[-1] : row])
    return []


def _box(screen: Screen, dialect: Input) -> list[str]:
    """The lines of the input box as far as they can be told: the framed ones, or what is before the cursor."""
    return _framed(screen, dialect) or [_line(screen, screen.row)[: screen.column]]


def _line(screen: Screen, row: int) -> str:
    return screen.lines[row] if 0 <= row < len(screen.lines) else ""


# --- what was recorded -----------------------------------------------------------------------------------------


def printed(output: bytes) -> str:
    """Recorded output without what drives a terminal."""
    return _ESCAPES.sub("", output.decode("utf-8", "replace"))


def has_echoed(output: bytes, text: str) -> bool:
    """Whether recorded output shows the end of the text, and after it something else."""
    there, wanted = bare(printed(output)), tail(text)
    at = there.find(wanted)
    return bool(wanted) and at >= 0 and len(there) > at + len(wanted)


def shows_something(output: bytes) -> bool:
    """Whether recorded output shows anything to read."""
    return bool(bare(printed(output)))
