"""The table of transitions and the decider, walked both ways: each row can happen, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

import msgspec
import pytest

from holdfast.fleet.agents.declare import SIGNAL_KINDS, SignalKind
from holdfast.fleet.sessions.facts import (
    Decision,
    Facts,
    Failed,
    Killed,
    Observation,
    Probe,
    Reason,
    Settled,
    Signal,
    State,
)
from holdfast.fleet.sessions.transitions import (
    EDGES,
    LIVING,
    QUARANTINED,
    TABLE,
    TERMINAL,
    Edge,
    Mover,
    TransitionRefused,
    move,
    reference,
)
from session_story import NOTHING, START, Story, fresh, living

STATES: tuple[State, ...] = get_args(State)
REASONS: tuple[Reason, ...] = get_args(Reason)


SAYS: dict[str, SignalKind | None] = {
    "not_started": None,
    "working": "working",
    "idle": "idle",
    "needs_input": "blocked",
}


def _at(word: str, speaks: str) -> Story:
    return living(SAYS[word], speaks=speaks)


def origins() -> Iterator[Callable[[], Story]]:
    """Sessions in every state, come there in every way that matters."""
    for speaks in ("hooks", "output"):
        yield lambda speaks=speaks: Story(fresh(speaks))
        for word in SAYS:

            def doubted(word: str = word, speaks: str = speaks, *, looks: int = 1, owing: bool = True) -> Story:
                story = _at(word, speaks)
                if not owing:
                    story.say("done")
                    story.tell(Settled(1))
                story.wait(60)
                story.looks(looks, **NOTHING)
                return story

            def settled(word: str = word, speaks: str = speaks) -> Story:
                story = _at(word, speaks)
                story.say("done")
                story.tell(Settled(1))
                return story

            def shows(word: str = word, speaks: str = speaks) -> Story:
                story = settled(word, speaks)
                story.look(6, output_at=story.now)
                return story

            yield lambda word=word, speaks=speaks: _at(word, speaks)
            yield doubted
            yield lambda doubted=doubted: doubted(looks=5)
            yield lambda doubted=doubted: doubted(owing=False)
            yield lambda doubted=doubted: doubted(looks=5, owing=False)
            yield settled
            yield shows
        yield lambda speaks=speaks: _ended(speaks, "manually_killed")
        yield lambda settled=settled: _done(settled())
    yield lambda: _showing(rested=False)
    yield lambda: _showing(rested=True)


def _showing(*, rested: bool) -> Story:
    """An agent without hooks: its terminal has shown something, and maybe nothing more for a while."""
    story = living(None, speaks="output")
    story.look(60, output_at=story.now)
    if rested:
        story.looks(3, every=60)
    assert story.state == ("idle" if rested else "working")
    return story


def _ended(speaks: str, reason: Reason) -> Story:
    story = living(speaks=speaks)
    story.tell(Killed(1, reason))
    return story


def _done(story: Story) -> Story:
    story.look(process="dead", pane="dead", exit_status=0)
    assert story.state == "done"
    return story


def goings_on() -> Iterator[Callable[[Story], None]]:
    """Everything that may happen next."""
    for kind in SIGNAL_KINDS:
        yield lambda story, kind=kind: story.say(kind)
    yield lambda story: story.looks(3, every=60)
    yield lambda story: story.look(60, output_at=story.now)
    yield lambda story: story.looks(12, every=60)
    yield lambda story: story.looks(40, every=60, **NOTHING)
    yield lambda story: story.look(process="dead", pane="dead", exit_status=0)
    yield lambda story: story.look(process="dead", pane="dead", exit_status=1)
    yield lambda story: story.looks(3, process="dead")
    yield lambda story: story.look(pane="missing")
    yield lambda story: story.tell(Failed(1, "launch", "no"))
    yield lambda story: story.tell(Settled(1))
    for reason in ("manually_killed", "auto_cleanup", "pr_merged"):
        yield lambda story, reason=reason: story.tell(Killed(1, reason))
    yield lambda story: story.launch(1)
    yield lambda story: story.launch(2, "restore")


class Walk(Story):
    """A story that notes every step it takes through the table."""

    def __init__(self, story: Story, steps: set[Edge]) -> None:
        super().__init__(story.facts, story.now, story.boot)
        self.steps = steps

    def tell(self, observation: Observation) -> Decision:
        before = self.facts
        decision = super().tell(observation)
        if decision.facts.state != before.state:
            by = _mover(observation, decision.facts)
            self.steps.add((before.state, decision.facts.state, by, decision.facts.reason))
        return decision


def _mover(observation: Observation, after: Facts) -> Mover:
    match observation:
        case Signal():
            return "signal"
        case Probe():
            decided = after.state in QUARANTINED or after.reason == "probe_failure"
            return "decider" if decided else "probe"
        case Failed():
            return "spawn"
        case Killed():
            return "kill" if after.reason == "manually_killed" else "cleanup"
        case _:
            return "restore"


@pytest.mark.guards(
    "The table of transitions is what happens: every step of it can be brought about, and no other step ever is.",
    against="The documented table and the code part ways, and nobody can tell who wrote a state.",
    breaks=("sessions-have-a-way-nobody-goes", "sessions-go-where-no-row-leads"),
)
def test_the_table_is_what_happens_and_nothing_else_does() -> None:
    steps: set[Edge] = set()
    for origin in origins():
        for going_on in goings_on():
            going_on(Walk(origin(), steps))
    assert steps - EDGES == set()
    assert EDGES - steps == set()


def test_only_the_decider_writes_stuck_and_detecting() -> None:
    assert {by for _, to, by, _ in EDGES if to in QUARANTINED} == {"decider"}


def test_what_has_ended_is_left_only_by_a_restore() -> None:
    assert {(by, to) for origin, to, by, _ in EDGES if origin in TERMINAL} == {("restore", "not_started")}


def test_every_state_is_left_and_reached_and_every_end_has_a_reason() -> None:
    assert {origin for origin, *_ in EDGES} == set(STATES)
    assert {to for _, to, _, _ in EDGES} == set(STATES)
    assert {reason for _, to, _, reason in EDGES if to == "terminated"} == set(REASONS)
    assert {reason for _, to, _, reason in EDGES if to != "terminated"} == {None}


@pytest.mark.parametrize("origin", LIVING)
def test_what_the_table_lacks_is_refused(origin: State) -> None:
    facts = msgspec.structs.replace(fresh(), state=origin)
    for to in STATES:
        for by in get_args(Mover):
            for reason in (None, *REASONS):
                if to == origin or (origin, to, by, reason) in EDGES:
                    continue
                with pytest.raises(TransitionRefused, match="This is a bug"):
                    move(facts, to, by, START, reason=reason, evidence={"seen": "it"})


@pytest.mark.guards(
    "No session ends or is doubted without evidence.",
    against="Nobody can tell why a session has died.",
    breaks=("sessions-end-without-evidence",),
)
def test_nobody_ends_or_is_doubted_without_evidence() -> None:
    for origin, to, by, reason in EDGES:
        facts = msgspec.structs.replace(fresh(), state=origin)
        if to in (*TERMINAL, *QUARANTINED):
            with pytest.raises(TransitionRefused, match="without evidence"):
                move(facts, to, by, START, reason=reason, evidence={})
        else:
            assert move(facts, to, by, START, reason=reason, evidence={}).evidence == {}


def test_the_reference_has_every_row() -> None:
    lines = reference().splitlines()[2:]
    assert len(lines) == len(TABLE)
    for row, line in zip(TABLE, lines, strict=True):
        assert f"| `{row.to}` | `{row.by}` |" in line
        assert all(f"`{word}`" in line for word in (*row.froms, *row.reasons))
