"""The decider on what looks find: which witness proves an end, what only delays it, and what output alone tells."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from holdfast.fleet.agents.declare import SignalKind
from holdfast.fleet.sessions.decide_look import DELAY, QUIET, SETTLE
from holdfast.fleet.sessions.decide_quarantine import DEADLINE, LONGEST_STEP
from holdfast.fleet.sessions.decider import only_time
from holdfast.fleet.sessions.facts import Reap, Settled, Verdict
from session_story import NOTHING, Story, fresh, living

DAY = 86_400.0
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@pytest.mark.parametrize("status", [0, 3])
def test_an_exit_that_is_told_whole_ends_the_session_at_the_first_look(status: int) -> None:
    story = living()
    decision = story.look(pane="dead", process="dead", exit_status=status)
    assert (story.state, story.facts.reason) == ("terminated", "agent_process_exited")
    assert (story.facts.evidence["exit_status"], story.facts.evidence["exit_signal"]) == (status, None)
    assert story.facts.evidence["witnesses"]["process"]["verdict"] == "dead"
    assert (decision.effects, story.facts.alive_since) == ((Reap(1),), None)


@pytest.mark.guards(
    "How an agent exited is what somebody told; where nobody did, it is unknown, and never 0.",
    against="A runtime that does not know the exit status yet lets a crash pass for a clean end.",
    breaks=("sessions-take-unknown-for-zero",),
)
def test_an_unknown_exit_status_is_never_zero() -> None:
    story = living("done")
    story.tell(Settled(1))
    story.look(pane="dead", process="dead")
    assert story.state == "idle"  # the rest of the story may be told by the next look
    story.looks(2, every=SETTLE, pane="dead", process="dead")
    assert (story.state, story.facts.reason) == ("terminated", "agent_process_exited")
    assert story.facts.evidence["exit_status"] is None


def test_an_exit_status_that_is_told_late_counts() -> None:
    story = living()
    story.look(pane="dead", process="dead")
    story.look(pane="dead", process="dead", exit_signal=9)
    assert (story.state, story.facts.evidence["exit_signal"]) == ("terminated", 9)
    assert story.facts.evidence["first_seen_at"] < story.now


@pytest.mark.guards(
    "`done` takes all three: the agent said so, all that it owed is settled, and its process exited with 0.",
    against="An agent that merely exits with 0, or only says that it is done, counts as done.",
    breaks=("sessions-are-done-unsettled",),
)
@pytest.mark.parametrize(("said", "settled", "status"), list(product(["done", "idle"], [True, False], [0, 1])))
def test_done_is_said_and_settled_and_a_clean_exit(said: str, settled: bool, status: int) -> None:
    story = living("done" if said == "done" else "idle")
    if settled:
        story.tell(Settled(1))
    story.say("exited")
    story.look(pane="dead", process="dead", exit_status=status)
    all_of_it = (said, settled, status) == ("done", True, 0)
    assert story.state == ("done" if all_of_it else "terminated")
    assert story.facts.reason == (None if all_of_it else "agent_process_exited")
    assert story.facts.evidence["exit_status"] == status


def test_work_after_done_is_owed_again() -> None:
    story = living("done")
    story.tell(Settled(1))
    story.say("working")
    story.say("idle")
    story.look(pane="dead", process="dead", exit_status=0)
    assert story.state == "terminated"


@pytest.mark.guards(
    "A terminal that is gone while its runtime answers, and a runtime that is proved gone, end a session and reap it.",
    against="An agent whose terminal is gone lives on unseen, where nobody can talk to it.",
    breaks=("sessions-live-without-a-terminal",),
)
@pytest.mark.parametrize("process", VERDICTS)
@pytest.mark.parametrize("gone", [{"pane": "missing"}, {"runtime": "dead"}], ids=str)
def test_a_lost_terminal_ends_the_session_whatever_its_process_does(gone: dict[str, str], process: str) -> None:
    story = living()
    decision = story.look(**gone, process=process)
    assert (story.state, story.facts.reason, decision.effects) == ("terminated", "runtime_lost", (Reap(1),))


@pytest.mark.guards(
    "A runtime of which no trace is found is no proof: while the process lives, nobody is ended for it.",
    against="Somebody clears the folder of sockets, and every agent is reaped.",
    breaks=("sessions-die-with-a-socket",),
)
def test_a_runtime_without_a_trace_is_lost_only_together_with_the_process() -> None:
    story = living()
    story.looks(40, every=60, runtime="missing", pane="missing")
    assert (story.state, story.facts.episode, story.reaped) == ("working", None, [])
    story.look(runtime="missing", pane="missing", process="dead")
    assert (story.state, story.facts.reason) == ("terminated", "runtime_lost")


def test_a_pane_is_only_missing_when_the_runtime_answers() -> None:
    story = living()
    story.looks(30, every=60, runtime="failed", pane="missing")
    assert (story.state, story.facts.episode) == ("working", None)


def test_another_boot_ends_what_lived_in_the_one_before() -> None:
    story = living()
    story.boot = 5  # the boot-time clock has begun anew
    story.look(after=0, **NOTHING, rebooted=True)
    assert (story.state, story.facts.reason, story.facts.evidence["rebooted"]) == ("terminated", "runtime_lost", True)


@pytest.mark.guards(
    "An outage of the shared runtime says nothing about a session whose process lives.",
    against="One outage of the tmux server is read as the death of every session on the board.",
    breaks=("sessions-die-of-an-outage",),
)
@pytest.mark.parametrize("said", ["working", "idle"])
def test_an_outage_of_the_runtime_is_no_sessions_death(said: SignalKind) -> None:
    story = living(said)
    story.looks(200, every=60, runtime="failed", pane="failed")
    assert (story.state, story.facts.episode, story.effects) == (said, None, [])


def test_a_silence_that_nobody_could_have_heard_is_not_counted() -> None:
    story = living("working")
    story.looks(10, every=60)
    assert story.state == "detecting"
    before = story.facts.quarantine
    story.looks(60, every=60, runtime="failed", pane="failed")
    assert (story.state, story.facts.quarantine) == ("detecting", before)


@pytest.mark.guards(
    "Heartbeats newer than the death of the process put off the end, for half a minute each and never for good.",
    against="A wrapper that exits ends its agent; or an agent that only says it lives can never end.",
    breaks=("sessions-end-with-the-wrapper", "sessions-veto-their-death"),
)
def test_a_heartbeat_delays_a_death_and_never_vetoes_it() -> None:
    story = living()
    story.look(process="dead")
    assert story.state == "working"
    story.say("idle")
    story.looks(5, every=5, process="dead")
    assert story.state == "idle"
    story.looks(1, every=DELAY, process="dead")
    assert (story.state, story.facts.reason) == ("terminated", "agent_process_exited")

    for_ever = living()
    for_ever.look(process="dead")
    looks = 0
    while for_ever.state != "terminated":
        for_ever.say("working", after=5)
        for_ever.look(5, process="dead")
        looks += 1
        assert looks * 10 <= DEADLINE + 10
    assert looks * 10 >= DEADLINE - 10


def test_what_was_said_before_the_death_delays_nothing() -> None:
    story = living()
    story.look(process="dead")
    story.say("working", seq=story.facts.seq + 1)  # sent before the look, read from the spool after it
    story.say("exited")
    story.looks(1, every=SETTLE, process="dead")
    assert story.state == "terminated"


def test_output_of_a_living_pane_delays_and_the_last_words_of_a_dead_one_do_not() -> None:
    story = living()
    story.look(process="dead", output_at="2026-01-01T00:00:00.000000Z")
    story.look(6, process="dead", output_at="2026-01-01T00:00:06.000000Z")
    assert story.state == "working"
    dead = living()
    dead.look(process="dead", pane="dead", output_at="2026-01-01T00:00:00.000000Z")
    dead.look(6, process="dead", pane="dead", output_at="2026-01-01T00:00:06.000000Z")
    assert dead.state == "terminated"


def test_a_process_that_is_there_after_all_takes_its_death_back() -> None:
    story = living()
    story.look(process="dead")
    story.look()
    assert story.facts.watch.death is None
    story.looks(10)
    assert story.state == "working"


def test_a_pane_that_tells_an_exit_needs_no_process_witness() -> None:
    story = living()
    story.look(process="failed", pane="dead", exit_status=1)
    assert (story.state, story.facts.reason) == ("terminated", "agent_process_exited")


def test_looks_older_than_what_is_known_change_nothing() -> None:
    story = living()
    old = story.probe(process="dead", pane="dead", exit_status=0)
    new = story.probe(details={"pane": "a new word"})
    assert story.tell(new).taken == "taken"
    before = story.facts
    assert [story.tell(old).taken, story.tell(new).taken] == ["stale_seq", "repeated"]
    assert story.facts == before


@pytest.mark.guards(
    "A healthy look at a session that rests changes nothing at all, so that nothing of it need be written.",
    against="Forty idle sessions write forty rows with every sweep.",
    breaks=("sessions-note-every-look",),
)
@pytest.mark.parametrize(("speaks", "said"), [("hooks", "idle"), ("hooks", "waiting_input"), ("output", "idle")])
def test_a_session_that_rests_costs_no_writes(speaks: str, said: str) -> None:
    story = living("idle" if said == "idle" else "waiting_input", speaks=speaks)
    story.look()
    before = story.facts
    story.looks(500, every=2)
    assert story.facts is before


def test_looks_at_work_only_let_time_pass() -> None:
    story = living()
    story.look()
    for _ in range(30):
        before = story.facts
        story.look(2)
        assert only_time(before, story.facts)
    assert not only_time(before, story.look(2, process="dead").facts)


def test_output_alone_tells_work_from_rest() -> None:
    story = living(None, speaks="output")
    for minute in range(3):
        story.look(2, output_at=f"2026-01-02T03:0{minute}:00.000000Z")
        activity = story.facts.activity
        assert activity is not None
        assert (story.state, activity.source) == ("working", "output")
        still = story.facts.output_at
        story.looks(2, every=QUIET, output_at=still)
        assert story.state == "idle"


def test_output_of_an_agent_with_hooks_is_only_a_heartbeat() -> None:
    story = living("idle")
    story.look(6, output_at=story.now)
    assert (story.state, story.facts.output_at is None) == ("idle", False)


def test_output_says_nothing_against_an_agent_that_asks() -> None:
    story = living("blocked", speaks="output")
    decision = story.look(6, output_at=story.now)
    assert (story.state, decision.effects) == ("needs_input", ())


def test_a_silent_command_rests_after_a_while() -> None:
    story = living(None, speaks="output")
    story.looks(5, every=5)
    assert (story.state, story.facts.launch) == ("idle", 1)


@pytest.mark.guards(
    "However the wall clock is set, and however long nobody looked, that alone ends nobody and pages nobody.",
    against="A laptop that wakes, or a clock that is set, ends or doubts every session.",
    breaks=("sessions-believe-long-steps",),
)
@pytest.mark.parametrize("jump", [3650 * DAY, -3650 * DAY])
def test_a_moved_clock_and_a_long_sleep_end_nobody(jump: float) -> None:
    for seen in ({}, NOTHING, {"process": "alive", "pane": "dead"}):
        story = living()
        story.looks(8, every=LONGEST_STEP)
        story.look(1, **seen)
        state = story.state
        story.turn_clock(jump)
        story.wait(30 * DAY)
        story.look(0, **seen)
        assert (story.state, story.pages) == (state, [])
        assert story.say("idle").taken == "taken"
        assert story.state == "idle"


def test_without_any_reading_nobody_is_taken_for_dead() -> None:
    story = Story(fresh(launch=1))
    story.launch()
    story.look(runtime="failed", pane="missing", process="failed")
    assert story.state == "detecting"
