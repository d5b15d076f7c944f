"""Quarantines: how doubt begins, when it is told, what ends it, and that it does not flap."""

from __future__ import annotations

import pytest

from holdfast.fleet.sessions.decide_look import SILENCE
from holdfast.fleet.sessions.decide_quarantine import COOL_DOWN, DEADLINE, DOUBT, GRAIN, UNCHANGED
from holdfast.fleet.sessions.facts import Facts
from session_story import NOTHING, Story, living


def episode(facts: Facts) -> tuple[str, int, bool]:
    """The newest quarantine: its cause, its number, whether it is open."""
    found = facts.episode
    assert found is not None
    return found.cause, found.number, found.is_open


@pytest.mark.guards(
    "Doubt is no death: a look that tells nothing opens a quarantine with its evidence, and a person is told once.",
    against="A probe that failed is read as a death; or an agent nobody can see stays `working` for ever.",
    breaks=("sessions-never-escalate", "sessions-page-at-every-look"),
)
def test_doubt_becomes_stuck_and_pages_once() -> None:
    story = living("idle")
    story.look(60, **NOTHING)
    assert (story.state, episode(story.facts)) == ("detecting", ("witnesses", 1, True))
    assert story.facts.evidence["cause"] == "witnesses"
    assert story.facts.evidence["witnesses"]["process"]["verdict"] == "failed"
    story.looks(UNCHANGED - 1, every=GRAIN, **NOTHING)
    assert (story.states, len(story.pages)) == (["detecting", "stuck"], 1)
    assert "shop-1" in story.pages[0].text
    assert story.facts.evidence["attempts"] == UNCHANGED
    story.looks(20, every=60, **NOTHING)
    assert (story.state, len(story.pages)) == ("stuck", 1)


def test_looks_that_follow_at_once_count_once() -> None:
    story = living("idle")
    story.look(60, **NOTHING)
    story.looks(4, every=1, **NOTHING)
    assert (story.state, story.facts.quarantine and story.facts.quarantine.attempts) == ("detecting", 1)


def test_evidence_that_changes_is_doubt_for_five_minutes_first() -> None:
    story = living("idle")
    words = ("refused", "timed out")
    story.look(60, **NOTHING)
    waited = 0
    while story.state == "detecting":
        waited += 10
        story.look(10, **NOTHING, details={"runtime": words[waited // 10 % 2]})
        assert waited <= DOUBT
    assert (story.state, waited, len(story.pages)) == ("stuck", DOUBT, 1)


def test_ages_in_the_evidence_do_not_make_it_new() -> None:
    story = living("idle")
    story.look(60, **NOTHING, details={"runtime": "no answer for 1 s"})
    for age in (7, 13):
        story.look(6, **NOTHING, details={"runtime": f"no answer for {age} s"})
    assert story.state == "stuck"


@pytest.mark.guards(
    "Healthy looks release what looks had caused, back to the state before or to what was said since.",
    against="Fifty healthy probes do not release a session that is `stuck`.",
    breaks=("sessions-stay-stuck",),
)
@pytest.mark.parametrize("said_meanwhile", [None, "waiting_input"])
def test_healthy_looks_release_what_looks_had_caused(said_meanwhile: str | None) -> None:
    story = living("idle")
    story.look(60, **NOTHING)
    opened = story.boot
    story.looks(5, **NOTHING)
    if said_meanwhile:
        story.say("waiting_input", seq=opened - 1)  # from the spool, older than the doubt: no sign of life
        assert story.state == "stuck"
    story.look()
    assert story.state == "stuck"
    story.look(GRAIN)
    assert story.state == ("needs_input" if said_meanwhile else "idle")
    assert (episode(story.facts), story.facts.evidence) == (("witnesses", 1, False), {})
    assert story.facts.episode is not None
    assert story.facts.episode.outcome == "Its witnesses are well again."


@pytest.mark.guards(
    "A doubt that goes and comes back is one quarantine: it keeps its number, and pages nobody again.",
    against="Twelve failed probes with healthy ones between them page four times.",
    breaks=("sessions-flap",),
)
def test_a_doubt_that_comes_back_pages_nobody_again() -> None:
    story = living("idle")
    story.wait(60)
    for _ in range(12):
        story.looks(4, **NOTHING)
        story.looks(3)
    assert story.states == ["detecting", "stuck", "idle"] * 12
    assert (episode(story.facts), len(story.pages)) == (("witnesses", 1, False), 1)
    story.looks(int(COOL_DOWN / 60) + 1, every=60)
    story.looks(4, **NOTHING)
    assert (episode(story.facts), len(story.pages)) == (("witnesses", 2, True), 2)


def test_one_failed_look_among_healthy_ones_never_becomes_stuck() -> None:
    story = living("idle")
    story.wait(60)
    for _ in range(100):
        story.look(10, **NOTHING)
        story.looks(2)
    assert set(story.states) == {"detecting", "idle"}
    assert (story.pages, story.facts.alive_since is None) == ([], False)


@pytest.mark.guards(
    "A fresh signal of the present launch is evidence of life: it releases any quarantine.",
    against="An agent that speaks stays `stuck`, because a probe cannot see it.",
    breaks=("sessions-stay-stuck-when-heard",),
)
def test_a_fresh_signal_releases_a_quarantine() -> None:
    story = living("idle")
    story.look(60, **NOTHING)
    story.looks(5, **NOTHING)
    story.say("working")
    assert (story.state, episode(story.facts)) == ("working", ("witnesses", 1, False))
    story.looks(2, every=10, **NOTHING)
    assert story.state == "working"  # what was just heard outweighs witnesses that tell nothing
    story.looks(4, every=10, **NOTHING)
    assert (story.state, len(story.pages)) == ("stuck", 1)


def test_an_exited_is_no_sign_of_life() -> None:
    story = living("working")
    story.look(60, **NOTHING)
    story.say("exited")
    assert story.state == "detecting"
    assert (story.facts.quarantine and story.facts.quarantine.before) == "idle"


@pytest.mark.guards(
    "Doubt has a deadline: half an hour of looking without a sign of life ends a session, and reaps it.",
    against="Sessions nobody can tell anything of stay for ever, and cannot be deleted.",
    breaks=("sessions-doubt-for-ever",),
)
@pytest.mark.parametrize("seen", [NOTHING, {"pane": "dead"}], ids=["nothing", "contradictions"])
def test_doubt_ends_at_its_deadline(seen: dict[str, str]) -> None:
    story = living("idle")
    story.look(60, **seen)
    story.looks(int(DEADLINE / 60) - 1, every=60, **seen)
    assert story.state == "stuck"
    story.look(60, **seen)
    assert (story.state, story.facts.reason, story.reaped) == ("terminated", "probe_failure", [1])
    assert story.facts.evidence["blind_seconds"] == DEADLINE
    assert episode(story.facts) == ("witnesses", 1, False)


@pytest.mark.guards(
    "A deadline counts only the time without any sign of life.",
    against="An agent that is seen well every other minute is ended by the looks between.",
    breaks=("sessions-forget-signs-of-life",),
)
def test_a_sign_of_life_begins_the_deadline_anew() -> None:
    story = living("idle")
    story.wait(60)
    for _ in range(100):
        story.look(60, **NOTHING)
        story.look(60)
        story.look(1, **NOTHING)
    assert (story.facts.alive_since is None, len(story.pages)) == (False, 1)


def silent() -> Story:
    """A session that says it works, and of which nothing was heard since."""
    story = living("working")
    story.looks(int(SILENCE / 60), every=60)
    return story


@pytest.mark.guards(
    "An agent that says it works while nothing moves is doubted and told, and never ended for that.",
    against="A lost `Stop` hook leaves `working` for two days; or silence kills an agent that thinks.",
    breaks=("sessions-work-in-silence", "sessions-die-of-silence"),
)
def test_silence_at_work_is_told_and_never_ends_anybody() -> None:
    story = living("working")
    story.looks(int(SILENCE / 60) - 1, every=60)
    assert story.state == "working"
    story.looks(4, every=60)
    assert (story.state, episode(story.facts), len(story.pages)) == ("stuck", ("silence", 1, True), 1)
    assert "no signal, no output" in story.pages[0].text
    story.looks(500, every=60)
    assert (story.state, len(story.pages)) == ("stuck", 1)


@pytest.mark.parametrize("heard", ["signal", "output"])
def test_any_heartbeat_ends_a_silence(heard: str) -> None:
    story = silent()
    story.looks(3)
    assert story.state == "stuck"
    if heard == "signal":
        story.say("idle")
        assert story.state == "idle"
    else:
        story.look(output_at=story.now)
        assert story.state == "working"
    assert episode(story.facts) == ("silence", 1, False)
    assert story.facts.watch.quiet == 0


def test_the_exit_of_a_silent_agent_is_no_silence() -> None:
    story = silent()
    story.say("exited")
    assert (story.state, episode(story.facts)) == ("idle", ("silence", 1, False))


def test_output_alone_keeps_an_agent_at_work() -> None:
    story = living("working")
    for _ in range(60):
        story.look(60, output_at=story.now)
    assert (story.state, story.facts.episode) == ("working", None)


def test_a_silent_agent_that_nobody_sees_any_more_has_a_deadline() -> None:
    story = silent()
    story.looks(int(DEADLINE / 60), every=60, **NOTHING)
    assert (story.state, story.facts.reason) == ("terminated", "probe_failure")


def test_a_quarantine_ends_with_its_session() -> None:
    story = silent()
    story.look(process="dead", pane="dead", exit_status=1)
    assert (story.state, story.facts.reason) == ("terminated", "agent_process_exited")
    assert episode(story.facts) == ("silence", 1, False)
    assert story.facts.episode is not None
    assert story.facts.episode.outcome == "Ended: agent process exited."
