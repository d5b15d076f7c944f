"""What a session is shown as, and how that is explained: rules in order, on two axes, from facts alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.core.instants import later, seconds
from holdfast.fleet.agents.declare import SIGNAL_KINDS
from holdfast.fleet.sessions.decide_quarantine import GRAIN
from holdfast.fleet.sessions.explain import Explanation, explain, words
from holdfast.fleet.sessions.facts import Activity, Facts, Killed, Reason, Settled, State, Witness
from holdfast.fleet.sessions.status import (
    PULL_ORDER,
    RULES,
    STATUSES,
    UNHEARD,
    PullState,
    Shown,
    Status,
    reference,
    shown,
    status,
)
from session_story import NOTHING, START, Story, fresh, living


@dataclass(frozen=True)
class Pulled:
    """A pull request, as far as the status goes."""

    status: PullState


def pulls(*states: PullState) -> list[Pulled]:
    return [Pulled(state) for state in states]


def word(story: Story, *states: PullState, **given: Any) -> Status:
    return status(story.facts, story.now, pulls=pulls(*states), **given)


ENDS: dict[Reason, Status] = {
    "manually_killed": "killed",
    "auto_cleanup": "killed",
    "agent_process_exited": "exited",
    "runtime_lost": "errored",
    "probe_failure": "errored",
    "error_in_process": "errored",
    "pr_merged": "merged",
}


@pytest.mark.parametrize("reason", get_args(Reason))
def test_an_end_is_shown_by_its_reason(reason: Reason) -> None:
    ended = msgspec.structs.replace(fresh(launch=1), state="terminated", reason=reason)
    assert status(ended, START) == ENDS[reason]
    assert status(ended, START, pulls=pulls("ci_failed")) == ENDS[reason]
    assert status(ended, START, pulls=pulls("merged", "closed")) == "merged"


def test_one_merged_pull_of_several_is_no_end() -> None:
    ended = msgspec.structs.replace(fresh(launch=1), state="done")
    assert status(ended, START, pulls=pulls("merged", "pr_open")) == "done"
    assert status(ended, START, pulls=pulls("closed")) == "done"
    assert status(ended, START, pulls=pulls("merged", "merged")) == "merged"
    assert word(living("idle"), "merged", "review_pending") == "review_pending"


def test_queued_spawning_working_idle() -> None:
    story = Story()
    assert word(story, queued=True) == "queued"
    assert word(story) == "spawning"
    story.launch()
    assert word(story, queued=True) == "spawning"
    story.say("working")
    assert word(story) == "working"
    story.say("idle")
    assert word(story) == "idle"
    story.say("waiting_input")
    assert word(story) == "needs_input"


@pytest.mark.guards(
    "An agent with hooks that is not heard of within 90 s of its launch is `no_signal`, not idle.",
    against="A broken hook reads as a confident `idle`.",
    breaks=("sessions-unheard-are-spawning",),
)
def test_an_agent_that_is_never_heard_is_no_signal() -> None:
    story = living(None)
    story.now = later(START, seconds(UNHEARD - 1))
    assert word(story) == "spawning"
    story.now = later(START, seconds(UNHEARD))
    assert word(story) == "no_signal"
    story.turn_clock(-86_400)
    assert word(story) == "spawning"
    mute = living(None, speaks="output")
    mute.now = later(START, seconds(UNHEARD))
    assert word(mute) == "spawning"


def test_doubt_and_questions_come_before_the_pull_and_the_pull_before_rest() -> None:
    story = living("idle")
    assert word(story, "ci_failed") == "ci_failed"
    story.say("working")
    assert word(story, "ci_failed") == "working"
    story.say("blocked")
    assert word(story, "ci_failed") == "needs_input"
    story.wait(60)
    story.look(**NOTHING)
    assert word(story, "ci_failed") == "detecting"
    story.looks(2, every=GRAIN, **NOTHING)
    assert word(story, "ci_failed") == "stuck"


@pytest.mark.parametrize("state", [state for state in PULL_ORDER if state != "closed"])
def test_the_pull_that_needs_most_is_shown(state: PullState) -> None:
    story = living("idle")
    rest = PULL_ORDER[PULL_ORDER.index(state) :]
    assert word(story, *rest) == word(story, *reversed(rest)) == state
    assert shown(story.facts, story.now, pulls=pulls(state)).axis == "pull"
    assert word(story, "closed") == "idle"


def everywhere() -> Iterator[tuple[Status, str]]:
    """Every status that is ever shown, and by which rule."""
    sessions = [fresh(), living(None).facts]
    sessions += [
        msgspec.structs.replace(living("idle").facts, state=state, reason=reason)
        for state in get_args(State)
        for reason in (get_args(Reason) if state == "terminated" else (None,))
    ]
    for facts in sessions:
        for state in (None, *PULL_ORDER):
            for queued in (True, False):
                for wait in (1, 200):
                    given = pulls(state) if state else []
                    found = shown(facts, later(START, seconds(wait)), pulls=given, queued=queued)
                    yield found.status, found.rule


def test_every_status_and_every_rule_has_its_case() -> None:
    found = list(everywhere())
    assert {status for status, _ in found} == set(STATUSES)
    assert {rule for _, rule in found} == {rule.name for rule in RULES}
    assert all(f"| {rule.name} | {rule.axis} |" in reference() for rule in RULES)


stamps = st.integers(-(10**9), 10**9).map(lambda count: later(START, seconds(count)))


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    state: State = draw(st.sampled_from(get_args(State)))
    known = fresh(draw(st.sampled_from(["hooks", "output"])))
    said = st.builds(Activity, st.sampled_from(SIGNAL_KINDS), st.sampled_from(["signal", "output", "probe"]), stamps)
    return msgspec.structs.replace(
        known,
        state=state,
        state_at=draw(stamps),
        reason=draw(st.sampled_from(get_args(Reason))) if state == "terminated" else None,
        launch=draw(st.integers(0, 3)),
        launched_at=draw(st.none() | stamps),
        alive_since=draw(st.none() | stamps),
        activity=draw(st.none() | said),
        output_at=draw(st.none() | stamps),
        heard_at=draw(st.none() | stamps),
        kill_asked_at=draw(st.none() | stamps),
        witnesses={"process": Witness("failed", draw(stamps), "no answer")},
    )


@pytest.mark.guards(
    "Every session has a status, whatever is known of it, and the same facts have the same one.",
    against="A combination nobody thought of ends the whole listing in an error.",
    breaks=("sessions-have-states-without-status",),
)
@example(msgspec.structs.replace(fresh(launch=1), state="idle"), [], False, START)
@given(any_facts(), st.lists(st.sampled_from(PULL_ORDER), max_size=3), st.booleans(), stamps)
def test_the_status_is_total_and_deterministic(facts: Facts, states: list[PullState], queued: bool, now: str) -> None:
    found = shown(facts, now, pulls=pulls(*states), queued=queued)
    assert found.status in STATUSES
    assert found == shown(facts, now, pulls=pulls(*reversed(states)), queued=queued)
    told = explain(facts, now, pulls=pulls(*states), queued=queued)
    assert (told.status, told.axis, told.asked[-1].rule) == (found.status, found.axis, found.rule)
    assert all(asked.status is None for asked in told.asked[:-1])
    assert told.lines()


def test_an_explanation_names_sources_and_ages() -> None:
    story = living("working")
    story.look(6, output_at=story.now)
    story.wait(2 * 86_400)
    told = explain(story.facts, story.now)
    lines = told.lines()
    assert lines[0] == "shop-1 is working, by its agent."
    assert "  activity working, said by a signal 2 days ago" in lines
    assert "  newest output, its terminal 2 days ago" in lines
    assert "  process alive, since 2 days ago" in lines
    assert lines[-1] == "  rule works: its agent works -> working"
    assert msgspec.json.decode(msgspec.json.encode(told), type=Explanation) == told


def test_an_explanation_shows_the_quarantine_and_its_evidence() -> None:
    story = living("idle")
    story.wait(60)
    story.looks(4, **NOTHING, details={"process": "permission denied"})
    told = explain(story.facts, story.now, pulls=pulls("draft"))
    text = "\n".join(told.lines())
    assert told.quarantine == story.facts.quarantine
    assert "quarantine 1: its witnesses settle nothing; since 2026-" in text
    assert "a person was told at 2026-" in text
    assert "evidence: witnesses.process.detail = permission denied" in text
    assert "pull draft, its forge" in text


def test_an_explanation_says_what_it_does_not_know() -> None:
    story = living("done")
    story.tell(Settled(1))
    story.looks(3, process="dead")
    text = "\n".join(explain(story.facts, story.now).lines())
    assert "evidence: exit_status = unknown" in text
    assert "state terminated (agent_process_exited)" in text


def test_an_explanation_takes_a_fresh_look_and_a_clock_that_was_put_back() -> None:
    story = living("idle")
    story.look(process="dead")
    story.turn_clock(-7200)
    told = explain(story.facts, story.now, witnesses={"pane": Witness("missing", story.now)})
    text = "\n".join(told.lines())
    assert "pane missing, since no time ago" in text
    assert "by a clock 2 hours ahead of now" in text
    assert "its process is gone, the end waits for the rest" in text
    story.facts = msgspec.structs.replace(story.facts, kill_asked_at=story.now)
    assert "its end was asked for, through the API" in "\n".join(explain(story.facts, story.now).lines())


@pytest.mark.parametrize(
    ("span", "said"), [(0.4, "no time"), (1, "1 second"), (119, "1 minute"), (7200, "2 hours"), (1e6, "11 days")]
)
def test_spans_are_told_in_their_largest_unit(span: float, said: str) -> None:
    assert words(span) == said


def test_both_axes_are_kept() -> None:
    story = living("idle")
    found = shown(story.facts, story.now, pulls=pulls("approved"))
    assert found == Shown("approved", "pull", "pulled", "its pull")
    story.tell(Killed(1, "manually_killed"))
    assert shown(story.facts, story.now, pulls=pulls("approved")).axis == "activity"
