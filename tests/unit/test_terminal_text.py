"""What a program sent to its terminal, as text: whatever it sends, and wherever the pieces were cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.terminal_text import Plain

SEEN = (
    b"\x1b[?2004h\x1b]0;a title\x07\x1b[1;32m> \x1b[0mhello\r\n"
    b"\x1b[2J\x1b[Hw\xc3\xb6rking\x1b[5Con it\r\nline\x1b[3;1Hother\x1bPq#0;2\x1b\\ end\r\n\r\n\r\n\x1b(Bdone"
)


def read(*pieces: bytes) -> list[str]:
    plain = Plain()
    found = [line for piece in pieces for line in plain.lines(piece)]
    return [*found, plain.rest()]


def test_colours_titles_and_moves_are_taken_out_and_words_stay_apart() -> None:
    assert read(SEEN) == ["> hello", "", "w\u00f6rking on it", "line", "other end", "", "done"]


@pytest.mark.guards(
    "Output reads the same wherever it was cut into pieces.",
    against="Half a sequence, or half a character, that is shown as text.",
    breaks=("logs-show-halves",),
)
@given(st.sets(st.integers(1, len(SEEN) - 1)))
def test_where_the_pieces_are_cut_changes_nothing(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(SEEN)]
    pieces = [SEEN[start:end] for start, end in pairwise(edges)]
    assert read(*pieces) == read(SEEN)


@given(
    st.lists(st.sampled_from([b"\x1b", b"[", b"]", b"P", b"(", b"7", b"A", b"\x01", b"\n", b"\\", b"\x07", b"\xc3"]))
)
def test_whatever_is_sent_no_escape_is_left(parts: list[bytes]) -> None:
    assert "\x1b" not in "".join(read(*parts))
