"""Random histories of a session: whatever is observed, in any order, the guarantees of its facts hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from typing import get_args

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.core.instants import later, seconds
from holdfast.fleet.agents.declare import SIGNAL_KINDS, SignalKind
from holdfast.fleet.sessions.decide_quarantine import DEADLINE
from holdfast.fleet.sessions.decider import decide
from holdfast.fleet.sessions.facts import (
    Facts,
    Failed,
    Killed,
    Launched,
    Observation,
    Page,
    Probe,
    Reading,
    Reap,
    Settled,
    Signal,
    Verdict,
)
from holdfast.fleet.sessions.status import STATUSES, status
from holdfast.fleet.sessions.transitions import EDGES, QUARANTINED, TERMINAL
from session_story import NOTHING, SECOND, WELL, Story, fresh

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
DAY = 86_400


@dataclass(frozen=True)
class Step:
    """One thing that happens, this long after the one before, so many times."""

    what: str
    after: float = 1.0
    times: int = 1
    #: Which launch it is about, against the present one.
    launch: int = 0
    #: How much older than now it is, as its sequence says.
    late: float = 0.0
    #: How far somebody sets the wall clock first.
    jump: int = 0
    kind: SignalKind = "working"
    verdicts: tuple[Verdict, Verdict, Verdict] = ("alive", "alive", "alive")
    detail: str = ""
    exit_status: int | None = None
    moves: bool = False
    rebooted: bool = False


spans = st.sampled_from([0.0, 0.3, 1.0, 4.0, 6.0, 30.0, 60.0, 700.0, 9.0 * DAY])
jumps = st.sampled_from([0, 0, 0, 0, 10 * DAY, -10 * DAY])
settling_nothing = st.sampled_from(
    [
        (WELL["runtime"], WELL["pane"], WELL["process"]),
        ("failed", "failed", "failed"),
        ("failed", "failed", "alive"),
        ("alive", "dead", "alive"),
        ("alive", "alive", "failed"),
    ]
)
anything = st.tuples(*[st.sampled_from(VERDICTS)] * 3)
#: Mostly what ends nobody, so that histories go on.
verdicts = st.integers(0, 9).flatmap(lambda draw: anything if draw == 0 else settling_nothing)
signals = st.builds(
    Step,
    st.just("signal"),
    after=spans,
    launch=st.sampled_from([0, 0, 0, 0, -1, 1]),
    late=st.sampled_from([0.0, 0.0, 0.0, 20.0, 900.0]),
    jump=jumps,
    kind=st.sampled_from(SIGNAL_KINDS),
)
probes = st.builds(
    Step,
    st.just("probe"),
    after=spans,
    times=st.sampled_from([1, 1, 2, 5, 40]),
    launch=st.sampled_from([0, 0, 0, 0, -1, 1]),
    late=st.sampled_from([0.0, 0.0, 20.0]),
    jump=jumps,
    verdicts=verdicts,
    detail=st.sampled_from(["", "refused", "no answer for 3 s"]),
    exit_status=st.sampled_from([None, 0, 1]),
    moves=st.booleans(),
    rebooted=st.sampled_from([False] * 99 + [True]),
)
rare = st.builds(
    Step,
    st.sampled_from([*["restore", "settle"] * 4, "launch", "fail", "kill", "cleanup", "ask to end"]),
    after=spans,
    launch=st.sampled_from([0, 0, 1, 1, -1, 2]),
    jump=jumps,
)
#: All is well, and nothing moves for a quarter of an hour.
silence = st.just(Step("probe", after=60.0, times=15))
rarely = st.integers(0, 9).flatmap(lambda draw: {0: rare, 1: silence}.get(draw, signals | probes | probes))
#: Long ones: what is watched for is a matter of many looks.
histories = st.lists(rarely, min_size=10, max_size=50)


def observation(step: Step, story: Story) -> Observation:
    """What a step comes to at this moment."""
    launch = max(0, story.facts.launch + step.launch)
    seq = max(1, story.boot - round(step.late * SECOND))
    match step.what:
        case "signal":
            return Signal(launch, seq, step.kind)
        case "probe":
            names = ("runtime", "pane", "process")
            readings = {name: Reading(said, step.detail) for name, said in zip(names, step.verdicts, strict=True)}
            output_at = story.output() if step.moves else story.facts.output_at
            return Probe(launch, story.now, seq, readings, step.rebooted, step.exit_status, None, output_at)
        case "launch" | "restore":
            return Launched(launch, "spawn" if step.what == "launch" else "restore")
        case "fail":
            return Failed(launch, "launch", "no")
        case "settle":
            return Settled(launch)
        case _:
            return Killed(launch, "auto_cleanup" if step.what == "cleanup" else "manually_killed")


@dataclass
class Watched(Story):
    """A story whose every step is held against the guarantees."""

    paged: Counter[int] = field(default_factory=Counter)

    def happen(self, step: Step) -> None:
        self.turn_clock(step.jump)
        for _ in range(step.times):
            self.wait(step.after)
            if step.what == "ask to end":
                asked = None if self.facts.state in TERMINAL else self.facts.kill_asked_at or self.now
                self.facts = msgspec.structs.replace(self.facts, kill_asked_at=asked)
            else:
                self.tell_twice(observation(step, self))

    def tell_twice(self, told: Observation) -> None:
        before = self.facts
        first = self.tell(told)
        self._hold(before, told, first.facts)
        for effect in first.effects:
            assert first.facts != before
            if isinstance(effect, Page):
                assert self.facts.episode is not None
                self.paged[self.facts.episode.number] += 1
            if isinstance(effect, Reap):
                assert first.facts.state in TERMINAL
        again = decide(first.facts, told, later(self.now, seconds(1)))
        assert (again.facts, again.effects) == (first.facts, ())

    def _hold(self, before: Facts, told: Observation, after: Facts) -> None:
        if before.state in TERMINAL and after != before:
            assert isinstance(told, Launched)
            assert (after.state, after.launch > before.launch) == ("not_started", True)
        if before.state != after.state:
            assert any(edge[:2] == (before.state, after.state) and edge[3] == after.reason for edge in EDGES)
        assert (after.state in QUARANTINED) == (after.quarantine is not None)
        assert (after.reason is not None) == (after.state == "terminated")
        if after.state in (*TERMINAL, *QUARANTINED):
            assert after.evidence
        if after.state in TERMINAL:
            assert (after.alive_since, after.watch.death) == (None, None)
        assert max(self.paged.values(), default=0) <= 1
        assert after.quarantine is None or after.quarantine.blind < DEADLINE
        assert status(after, self.now) in STATUSES
        assert msgspec.json.decode(msgspec.json.encode(after), type=Facts) == after


@pytest.mark.guards(
    "In any history: the end is absorbing but for a restore, one page per quarantine, no state without evidence, an "
    "observation applied twice equals once, no step outside the table, and every quarantine ends.",
    against="Zombies, pages by the dozen, ends without a reason, and agents brought back to life by a late hook.",
    breaks=(
        "sessions-rise-from-the-dead",
        "sessions-page-at-every-look",
        "sessions-doubt-for-ever",
        "sessions-count-looks-twice",
        "sessions-keep-quarantines-of-the-ended",
    ),
)
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["hooks", "output"]), histories, st.sampled_from(["death", "blindness", "kill"]))
@example(
    "hooks",
    [
        Step("launch", launch=1),
        Step("probe"),
        Step("signal", kind="done"),
        Step("probe", after=60.0, times=40, verdicts=("failed", "failed", "failed")),
        Step("signal", launch=0),
        Step("restore", launch=1),
    ],
    "death",
)
@example(
    "hooks",
    [
        Step("signal"),
        Step("probe", after=30.0, times=40, verdicts=("alive", "dead", "alive")),
        Step("probe", after=60.0, times=15),
    ],
    "kill",
)
@example("hooks", [Step("probe"), Step("probe", after=60.0, verdicts=("failed", "failed", "failed"))], "death")
def test_in_any_history_the_guarantees_hold(speaks: str, steps: list[Step], end: str) -> None:
    story = Watched(fresh(speaks))
    for step in [Step("launch", launch=1), *steps]:
        story.happen(step)
    if story.facts.quarantine is None:
        return
    drives = {
        "death": Step("probe", 60.0, 40, verdicts=("alive", "dead", "dead"), exit_status=1),
        "blindness": Step("probe", 60.0, 60, verdicts=("failed", "failed", "failed")),
        "kill": Step("kill"),
    }
    story.happen(drives["kill"] if story.facts.kill_asked_at else drives[end])
    assert (story.facts.state, story.facts.quarantine) == ("terminated", None)


@pytest.mark.guards(
    "The wall clock decides nothing: whatever it is set to, the same history comes to the same state.",
    against="A clock that is set ends, doubts or pages.",
    breaks=("sessions-tell-time-by-the-wall",),
)
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["hooks", "output"]), histories, st.lists(jumps, min_size=1))
@example(
    "hooks",
    [Step("probe"), Step("signal"), Step("probe", verdicts=("alive", "dead", "dead"), exit_status=1)],
    [0, 0, 0, -10 * DAY],
)
def test_whatever_the_clock_is_set_to_the_same_history_ends_the_same(
    speaks: str, steps: list[Step], turns: list[int]
) -> None:
    plain, moved = Story(fresh(speaks)), Story(fresh(speaks))
    for step, turn in zip([Step("launch", launch=1), *steps], cycle(turns), strict=False):
        moved.turn_clock(turn)
        for _ in range(step.times):
            plain.wait(step.after)
            moved.wait(step.after)
            if step.what != "ask to end":
                plain.tell(observation(step, plain))
                moved.tell(observation(step, moved))
            assert plain.state == moved.state
            assert plain.facts.watch.quiet == moved.facts.watch.quiet
    assert (plain.states, len(plain.pages)) == (moved.states, len(moved.pages))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([NOTHING, {"pane": "dead"}, WELL, WELL, {"process": "failed"}]), max_size=60))
def test_whatever_witnesses_say_without_proof_one_that_lives_is_not_ended_within_the_deadline(
    seen: list[dict[str, Verdict]],
) -> None:
    story = Story(fresh())
    story.launch()
    story.look()
    story.say("idle")
    for verdicts in seen:
        story.look(DEADLINE / 61, **verdicts)
    assert story.state not in TERMINAL
    story.looks(2, every=10)
    assert story.state == "idle"
