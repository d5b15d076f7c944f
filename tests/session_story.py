"""Tells a session's story to the decider: signals and looks in turn, on a boot-time clock and a wall clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from holdfast.core.instants import later, seconds
from holdfast.fleet.agents.declare import SignalKind
from holdfast.fleet.sessions.decider import decide
from holdfast.fleet.sessions.facts import (
    Decision,
    Effect,
    Facts,
    Launched,
    Observation,
    Page,
    Probe,
    Reading,
    Reap,
    Signal,
    State,
    Taken,
    Verdict,
)

START = "2026-01-02T03:04:05.000000Z"
SECOND = 1_000_000_000
#: Every witness is well; a story names only what differs.
WELL: dict[str, Verdict] = {"runtime": "alive", "pane": "alive", "process": "alive"}
#: Nobody can tell: the runtime hangs, and the process could not be looked at.
NOTHING: dict[str, Verdict] = {"runtime": "failed", "pane": "failed", "process": "failed"}


def fresh(speaks: Literal["hooks", "output"] = "hooks", **known: Any) -> Facts:
    """A session that waits for its first launch."""
    return Facts(id="shop-1", speaks=speaks, state="not_started", state_at=START, **known)


@dataclass
class Story:
    """A session and everything that has been decided about it."""

    facts: Facts = field(default_factory=fresh)
    now: str = START
    #: The boot-time clock in ns: never put back while the machine runs.
    boot: int = 1_000 * SECOND
    effects: list[Effect] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    showed: tuple[int, str] = (0, "")

    def tell(self, observation: Observation) -> Decision:
        """Take one observation into account."""
        decision = decide(self.facts, observation, self.now)
        if decision.facts.state != self.facts.state:
            self.states.append(decision.facts.state)
        self.facts = decision.facts
        self.effects += decision.effects
        return decision

    def wait(self, span: float) -> None:
        """Time passes, on both clocks."""
        self.boot += round(span * SECOND)
        self.now = later(self.now, seconds(span))

    def turn_clock(self, span: float) -> None:
        """Somebody sets the wall clock."""
        self.now = later(self.now, seconds(span))

    def output(self) -> str:
        """Something new in the terminal: its stamp is the wall clock's, and another one only when time has passed."""
        if self.showed[0] != self.boot:
            self.showed = (self.boot, self.now)
        return self.showed[1]

    def launch(self, number: int = 1, by: Literal["spawn", "restore", "adoption"] = "spawn") -> Decision:
        return self.tell(Launched(number, by))

    def say(self, kind: SignalKind, after: float = 1.0, **given: Any) -> Decision:
        """The agent says something a while after what was last told."""
        self.wait(after)
        return self.tell(Signal(**({"launch": self.facts.launch, "seq": self.boot, "kind": kind} | given)))

    def probe(self, after: float = 1.0, **seen: Any) -> Probe:
        """What a look a while after what was last told would find."""
        self.wait(after)
        verdicts = {**WELL, **{name: seen.pop(name) for name in tuple(WELL) if name in seen}}
        details = seen.pop("details", {})
        readings = {name: Reading(verdict, details.get(name, "")) for name, verdict in verdicts.items()}
        given = {"launch": self.facts.launch, "looked_at": self.now, "seq": self.boot, "readings": readings}
        return msgspec.convert(given | seen, Probe)

    def look(self, after: float = 1.0, **seen: Any) -> Decision:
        """Somebody looks a while after what was last told; only what is not well is named."""
        return self.tell(self.probe(after, **seen))

    def looks(self, count: int, every: float = 10.0, **seen: Any) -> None:
        """The same look, again and again."""
        for _ in range(count):
            self.look(every, **seen)

    @property
    def state(self) -> State:
        return self.facts.state

    @property
    def pages(self) -> list[Page]:
        return [effect for effect in self.effects if isinstance(effect, Page)]

    @property
    def reaped(self) -> list[int]:
        return [effect.launch for effect in self.effects if isinstance(effect, Reap)]


def living(said: SignalKind | None = "working", **known: Any) -> Story:
    """A session whose first launch lives, has been looked at, and has said this."""
    story = Story(fresh(**known))
    story.launch()
    story.look()
    if said is not None:
        story.say(said)
    story.states.clear()
    return story


def taken(decisions: Iterable[Decision]) -> list[Taken]:
    """What became of each."""
    return [decision.taken for decision in decisions]
