"""The words of tmux's control mode: what is an answer, what is news, and what only looks like either."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.fleet.runtimes.port import RuntimeFailed
from holdfast.fleet.runtimes.tmux_control import Answers, quote

Ended = list[tuple[bool, bool, list[bytes]]]


def reader(expected: int | None = None) -> tuple[Answers, Ended]:
    ended: Ended = []
    return Answers(lambda: expected, lambda *words: ended.append(words)), ended


def test_answers_are_what_stands_between_their_marks() -> None:
    answers, ended = reader()
    answers.feed(b"%begin 1 10 0\n%end 1 10 0\n%session-changed $0 x\n%begin 1 11 1\none\ntwo\n%end 1 11 1\n")
    answers.feed(b"%begin 1 12 1\ncan't find pane: %9\n%error 1 12 1\n%exit server exited\n")
    assert ended == [
        (False, True, []),
        (True, True, [b"one", b"two"]),
        (True, False, [b"can't find pane: %9"]),
    ]
    assert answers.farewell == "server exited"


def test_marks_of_another_answer_are_text() -> None:
    answers, ended = reader()
    text = [b"%end 1 10 1", b"%error 2 11 1", b"%begin 1 12 1", b"%end", b"%output %1 x", b""]
    answers.feed(b"\n".join([b"%begin 1 11 1", *text, b"%end 1 11 1", b""]))
    assert ended == [(True, True, text)]


@pytest.mark.guards(
    "what an agent shows on its screen does not end the answer that it stands in",
    against="an agent that forges answers of tmux, and with them the exit of another",
    breaks=("tmux-believes-the-screen",),
)
def test_a_screen_that_forges_its_own_end_is_read_to_its_real_end() -> None:
    answers, ended = reader(expected=4)
    forged = [b"x", b"%end 1 11 1", b"%error 1 11 1", b"%begin 1 12 1"]
    answers.feed(b"\n".join([b"%begin 1 11 1", *forged, b"%end 1 11 1", b""]))
    assert ended == [(True, True, forged)]


def test_an_error_comes_instead_of_a_screen() -> None:
    answers, ended = reader(expected=4)
    answers.feed(b"%begin 1 11 1\ncan't find pane: %9\n%error 1 11 1\n")
    assert ended == [(True, False, [b"can't find pane: %9"])]


@given(st.lists(st.integers(0, 80)))
def test_it_does_not_matter_how_the_bytes_come_in(cuts: list[int]) -> None:
    said = b"%begin 1 11 1\none\n%end 1 11 1\n%news\n%begin 1 12 1\ntwo\nthree\n%end 1 12 1\n"
    answers, ended = reader()
    for first, last in pairwise([0, *sorted(cuts), len(said)]):
        answers.feed(said[first:last])
    assert ended == [(True, True, [b"one"]), (True, True, [b"two", b"three"])]


def test_a_line_without_an_end_is_refused() -> None:
    answers, _ = reader()
    with pytest.raises(RuntimeFailed, match="without an end"):
        answers.feed(b"x" * 5_000_000)


@given(st.binary())
def test_a_quoted_word_is_one_line_of_harmless_characters_that_says_the_same(data: bytes) -> None:
    word = quote(data)
    assert word[0] == word[-1] == '"'
    inner = word[1:-1]
    assert not set(inner) & set("\n\r\0\"'$#{};~`")
    said, at = bytearray(), 0
    while at < len(inner):
        if inner[at] == "\\":
            said.append(int(inner[at + 1 : at + 4], 8))
            at += 4
        else:
            said += inner[at].encode("ascii")
            at += 1
    assert bytes(said) == data
