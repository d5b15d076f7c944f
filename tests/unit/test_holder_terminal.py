"""The terminal without a window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.fleet.runtimes.holder.terminal import Terminal

_PIECES = [
    b"\x1b", b"[", b"?", b">", b";", b"0", b"4", b"12", b"9999999999", b"2004", b"1049", b"h", b"l", b"H", b"J",
    b"K", b"L", b"M", b"P", b"@", b"X", b"S", b"T", b"b", b"r", b"n", b"c", b"$p", b"]", b"P", b"\x07", b"\\", b"7",
    b"8", b"(0", b"\x0e", b"words", b"\xe7\x95\x8c", b"\xe7", b"\xcc\x81", b"\xff", b"\n", b"\r", b"\t", b"\b",
    b"\x00", b"\x18",
]  # fmt: skip


def shown(data: bytes, columns: int = 20, rows: int = 4) -> list[str]:
    terminal = Terminal(columns, rows)
    terminal.feed(data)
    return terminal.page.lines()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"one\r\ntwo", ["one", "two", "", ""]),
        (b"staircase\nx", ["staircase", "         x", "", ""]),
        (b"abc\rX", ["Xbc", "", "", ""]),
        (b"abc\b\bX", ["aXc", "", "", ""]),
        (b"a\tb", ["a       b", "", "", ""]),
        (b"x" * 25, ["x" * 20, "x" * 5, "", ""]),
        (b"x" * 20 + b"\r\nnext", ["x" * 20, "next", "", ""]),
        (b"\x1b[?7l" + b"x" * 25 + b"y", ["x" * 19 + "y", "", "", ""]),
        (b"1\r\n2\r\n3\r\n4\r\n5", ["2", "3", "4", "5"]),
        (b"\x1b[3;5Hhere", ["", "", "    here", ""]),
        (b"abcdef\x1b[3D\x1b[K", ["abc", "", "", ""]),
        (b"abcdef\x1b[3D\x1b[1K", ["    ef", "", "", ""]),
        (b"a\r\nb\r\nc\x1b[2;1H\x1b[J", ["a", "", "", ""]),
        (b"a\r\nb\r\nc\x1b[2J", ["", "", "", ""]),
        (b"abcdef\r\x1b[2P", ["cdef", "", "", ""]),
        (b"abcdef\r\x1b[2@", ["  abcdef", "", "", ""]),
        (b"abcdef\r\x1b[4hXY\x1b[4lZ", ["XYZbcdef", "", "", ""]),
        (b"abcdef\r\x1b[3X", ["   def", "", "", ""]),
        (b"1\r\n2\r\n3\r\n4\x1b[2;1H\x1b[L", ["1", "", "2", "3"]),
        (b"1\r\n2\r\n3\r\n4\x1b[2;1H\x1b[M", ["1", "3", "4", ""]),
        (b"1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\nx", ["1", "3", "x", "4"]),
        (b"1\r\n2\r\n3\r\n4\x1b[1;1H\x1bM", ["", "1", "2", "3"]),
        (b"ab\x1b[3b", ["abbbb", "", "", ""]),
        (b"\x1b7\x1b[3;3Hx\x1b8y", ["y", "", "  x", ""]),
        (b"main\x1b[?1049h\x1b[Hedits\x1b[?1049l!", ["main!", "", "", ""]),
        (b"\x1b[1;38;5;9mred\x1b[0m \x1b[4:3mwavy", ["red wavy", "", "", ""]),
        (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1b]8;;\x1b\\c", ["abc", "", "", ""]),
        (b"\x1bPq#sixel\x1b\\a\x1b_Gkitty\x1b\\b", ["ab", "", "", ""]),
        (b"\x1b[>4;2m\x1b[>1u\x1b[<u\x1b[?2026ha\x1b[?25l", ["a", "", "", ""]),
        (b"\x1b(0lqk\x1b(Bx", ["┌─┐x", "", "", ""]),
        ("日本 e\u0301 ✅!".encode(), ["日本 é ✅!".replace("é", "e\u0301"), "", "", ""]),
        ("日本\r\x1b[Cx".encode(), [" x本", "", "", ""]),
        (b"gone\x1bcnew", ["new", "", "", ""]),
    ],
)
def test_it_shows_what_a_terminal_shows(data: bytes, lines: list[str]) -> None:
    assert shown(data) == lines


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (b"\x1b[2;5H\x1b[6n", b"\x1b[2;5R"),
        (b"\x1b[5n", b"\x1b[0n"),
        (b"\x1b[c", b"\x1b[?1;2c"),
        (b"\x1b[>c", b"\x1b[>0;0;0c"),
        (b"\x1b[18t", b"\x1b[8;4;20t"),
        (b"\x1b[?2004$p", b"\x1b[?2004;2$y"),
        (b"\x1b[?2004h\x1b[?2004$p", b"\x1b[?2004;1$y"),
        (b"\x1b[?2026$p", b"\x1b[?2026;0$y"),
        (b"\x1b[?u", b""),
    ],
)
def test_it_answers_what_programs_ask_before_they_start(question: bytes, answer: bytes) -> None:
    assert Terminal(20, 4).feed(question) == answer


def test_a_sequence_that_never_ends_is_not_kept() -> None:
    terminal = Terminal(20, 4)
    for start in (b"\x1b]0;", b"\x1bP", b"\x1b["):
        terminal.feed(start)
        for _ in range(100):
            terminal.feed(b"0" * 4096)
            assert len(terminal._held) < 4096
        terminal.feed(b"\x1b\\\x1bc")
    terminal.feed(b"after")
    assert terminal.page.lines()[0] == "after"


def test_rows_leave_at_the_top_when_it_gets_smaller_than_its_cursor() -> None:
    terminal = Terminal(20, 4)
    terminal.feed(b"1\r\n2\r\n3\r\n4 long")
    terminal.resize(3, 2)
    assert terminal.page.lines() == ["3", "4 l"]
    terminal.resize(20, 4)
    assert terminal.page.lines() == ["3", "4 l", "", ""]


@given(st.lists(st.sampled_from(_PIECES), max_size=60), st.integers(2, 12), st.integers(2, 6), st.integers(1, 9))
def test_nothing_that_a_program_writes_breaks_it(pieces: list[bytes], columns: int, rows: int, step: int) -> None:
    data = b"".join(pieces)
    whole, torn = Terminal(columns, rows), Terminal(columns, rows)
    answers = whole.feed(data)
    assert b"".join(torn.feed(data[at : at + step]) for at in range(0, len(data), step)) == answers
    page = whole.page
    assert torn.page.lines() == page.lines()
    assert (torn.page.row, torn.page.column) == (page.row, page.column)
    assert all(len(row) == columns for row in page.rows)
    assert len(page.rows) == rows
    assert 0 <= page.row < rows
    assert 0 <= page.column <= columns
