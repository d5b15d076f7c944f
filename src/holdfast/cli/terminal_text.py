"""What a program sent to its terminal as plain text: without what moves, colours and titles, line by line."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder

# Sequences that move the cursor to another line stand for a line's end, those that move it along a line for a blank.
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*(?P<csi>[@-~])"
    r"|\x1b[\]PX^_](?:[^\x07\x1b]|\x1b(?!\\))*(?:\x07|\x1b\\)"
    r"|\x1b(?P<esc>[ -/]*[0-~]|)"  # what nothing else fits is dropped alone
)
#: The beginning of a sequence at the end of what is there: the rest may come.
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_](?:[^\x07\x1b]|\x1b(?!\\))*|[ -/]*)\Z")
_LONGEST = 65_536
_ELSEWHERE = frozenset("ABEFHSTdf")
_ALONG = frozenset("CG`a")
_ENDS = re.compile(r"\r*\n|\r+")


class Plain:
    """Reads pieces of a terminal's output, cut anywhere."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._kept = ""
        self._blank = True

    def lines(self, piece: bytes) -> list[str]:
        """The lines that are whole by now; of several empty ones in a row only the first."""
        text = self._kept + self._decoder.decode(piece)
        cut = _UNFINISHED.search(text, max(0, len(text) - _LONGEST))
        held = "" if cut is None else text[cut.start() :]
        text = _SEQUENCE.sub(_meaning, text[: len(text) - len(held)])
        ending = "\r" if text.endswith("\r") else ""  # a line feed may follow
        *whole, rest = _ENDS.split(text.removesuffix("\r"))
        self._kept = rest + ending + held
        found = []
        for line in map(str.rstrip, whole):
            if line or not self._blank:
                found.append(line)
            self._blank = not line
        return found

    def rest(self) -> str:
        """The line that has not ended."""
        return _SEQUENCE.sub(_meaning, _UNFINISHED.sub("", self._kept)).strip()


def _meaning(match: re.Match[str]) -> str:
    final = match["csi"]
    if final is None:
        return "\n" if match["esc"] in {"D", "E", "M"} else ""
    return "\n" if final in _ELSEWHERE else " " if final in _ALONG else ""
