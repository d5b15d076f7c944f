"""What is typed at an agent that may not read."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from holdfast.fleet.runtimes.holder.keyboard import ROOM, Keyboard, Typist


class Person(Typist):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def typed(self, refusal: str) -> None:
        self.told.append(refusal)


class Agent:
    """The two ends of a pipe that stands for a terminal: it fills up like one."""

    def __init__(self) -> None:
        self.end, terminal = os.pipe()
        os.set_blocking(terminal, False)
        os.set_blocking(self.end, False)
        self.terminal = terminal
        self.keyboard = Keyboard(terminal)

    def read(self) -> bytes:
        """Everything that was typed, read as it comes."""
        data = b""
        while True:
            self.keyboard.flush()
            try:
                part = os.read(self.end, 1 << 16)
            except BlockingIOError:
                return data
            data += part


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent()
    yield made
    os.close(made.end)
    os.close(made.terminal)


def test_pieces_are_typed_whole_and_in_order_and_their_typists_are_told(agent: Agent) -> None:
    one, other = Person(), Person()
    assert agent.keyboard.type(b"a" * 300_000, one) == ""
    assert agent.keyboard.type(b"b" * 300_000, other) == ""
    agent.keyboard.flush()
    assert (one.told, other.told, agent.keyboard.waits) == ([], [], True)
    assert agent.read() == b"a" * 300_000 + b"b" * 300_000
    assert (one.told, other.told, agent.keyboard.waits) == ([""], [""], False)


@pytest.mark.guards(
    "What waits for an agent that does not read is bounded; beyond that, typing is refused with words.",
    against="a holder that grows without end because its agent hangs",
    breaks=("holder-queues-without-end",),
)
def test_typing_is_refused_when_too_much_waits(agent: Agent) -> None:
    person, refusals = Person(), []
    for _ in range(2 * ROOM // 500_000):
        refusals.append(agent.keyboard.type(b"x" * 500_000, person))
        agent.keyboard.flush()
    assert refusals[0] == ""
    assert "it has not read the last" in refusals[-1]
    assert len(agent.read()) <= ROOM + 500_000
    assert agent.keyboard.type(b"again", person) == ""


@pytest.mark.guards(
    "Of a paste whose sender has gone nothing more is typed but the mark that ends it.",
    against="text that reaches an agent long after it was given up, and one that waits for the end of a paste for ever",
    breaks=("holder-leaves-a-paste-open",),
)
def test_a_paste_that_was_given_up_is_closed(agent: Agent) -> None:
    person = Person()
    agent.keyboard.type(b"\x1b[200~" + b"x" * 300_000 + b"\x1b[201~", person, closes=True)
    agent.keyboard.type(b"never begun", person)
    agent.keyboard.flush()
    agent.keyboard.forget(person)
    agent.keyboard.type(b"next", Person())
    typed = agent.read()
    assert typed.startswith(b"\x1b[200~xxx")
    assert typed.endswith(b"x\x1b[201~next")
    assert len(typed) < 100_000
    assert person.told == []


def test_those_who_wait_are_told_that_the_terminal_has_closed(agent: Agent) -> None:
    person = Person()
    agent.keyboard.type(b"x" * 300_000, person)
    agent.keyboard.flush()
    agent.keyboard.close()
    assert person.told == ["nobody has its terminal open any more"]
    assert agent.keyboard.type(b"y", person) == "nobody has its terminal open any more"
