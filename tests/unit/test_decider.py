"""The decider on what agents say and sagas report: fences, states, ends, and what a launch begins with."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.fleet.agents.declare import SIGNAL_KINDS, SignalKind
from holdfast.fleet.sessions.decider import decide
from holdfast.fleet.sessions.facts import (
    Facts,
    Failed,
    Killed,
    Launched,
    Life,
    Observation,
    Settled,
    Signal,
    State,
    Unblocked,
)
from holdfast.fleet.sessions.transitions import TransitionRefused
from session_story import NOTHING, SECOND, START, Story, fresh, living

STATES: dict[SignalKind, State] = {
    "working": "working",
    "idle": "idle",
    "waiting_input": "needs_input",
    "blocked": "needs_input",
    "done": "idle",
    "exited": "idle",
}


@pytest.mark.parametrize("kind", SIGNAL_KINDS)
def test_the_first_signal_moves_a_session_on_and_tells_its_source(kind: SignalKind) -> None:
    story = living(None)
    assert story.state == "not_started"
    decision = story.say(kind)
    assert (decision.taken, story.state, decision.effects) == ("taken", STATES[kind], ())
    activity = story.facts.activity
    assert activity is not None
    assert (activity.state, activity.source, activity.at) == (kind, "signal", story.now)
    assert (story.facts.seq, story.facts.heard_at) == (story.boot, story.now)


@pytest.mark.guards(
    "A signal of an earlier launch, or one older than the newest, changes nothing of a session.",
    against="A late hook of an agent that is gone sets the state of the one that lives.",
    breaks=("sessions-hear-earlier-launches", "sessions-hear-late-signals"),
)
def test_a_late_signal_changes_nothing() -> None:
    story = living()
    story.tell(Killed(1, "manually_killed"))
    story.launch(2, "restore")
    story.say("idle")
    before = story.facts
    stale = story.say("blocked", launch=1)
    late = story.say("blocked", seq=before.seq - 1)
    again = story.say("blocked", seq=before.seq)
    beyond = story.say("blocked", launch=3)
    assert [stale.taken, late.taken, again.taken, beyond.taken] == [
        "stale_launch",
        "stale_seq",
        "repeated",
        "unknown_launch",
    ]
    assert story.facts == before


def test_before_its_first_launch_a_session_hears_and_sees_nothing() -> None:
    story = Story()
    assert story.say("working").taken == "unknown_launch"
    assert story.look().taken == "unknown_launch"
    assert story.tell(Settled(0)).taken == "unknown_launch"
    assert story.tell(Launched(0, "spawn")).taken == "unknown_launch"
    assert story.facts == fresh()


def test_signals_that_overtake_the_proof_of_life_are_kept() -> None:
    story = Story(fresh(launch=1))
    story.say("working")
    assert story.look(process="dead").taken == "unknown_launch"  # the saga's business until it is proved alive
    assert story.launch().taken == "taken"
    assert (story.state, story.facts.alive_since) == ("working", story.now)
    assert story.launch().taken == "repeated"


@pytest.mark.guards(
    "That an agent says it exits is a claim: only a look ends the session, and whatever it says later counts again.",
    against="A wrong `exited` makes every later hook deaf.",
    breaks=("sessions-believe-exited",),
)
def test_a_wrong_exited_makes_nobody_deaf() -> None:
    story = living()
    story.say("exited")
    assert (story.state, story.facts.alive_since is None) == ("idle", False)
    story.look()
    assert story.say("working").taken == "taken"
    assert story.state == "working"


def test_leaving_a_permission_lets_held_messages_be_looked_at_again() -> None:
    story = living("blocked")
    assert story.say("blocked").effects == ()
    assert story.say("working").effects == (Unblocked(),)
    assert story.say("idle").effects == ()


def test_a_kill_that_was_asked_for_lets_nothing_else_be_decided() -> None:
    story = living("idle")
    story.facts = msgspec.structs.replace(story.facts, kill_asked_at=story.now)
    story.say("working")
    story.look(process="dead")
    story.looks(40, every=60, **NOTHING)
    assert (story.state, story.facts.episode, story.effects) == ("idle", None, [])
    activity, witness = story.facts.activity, story.facts.witnesses["process"]
    assert (activity and activity.state, witness.verdict) == ("working", "failed")
    story.tell(Killed(1, "manually_killed", {"signal": "SIGTERM"}))
    assert (story.state, story.facts.reason) == ("terminated", "manually_killed")
    assert story.facts.evidence["signal"] == "SIGTERM"
    assert story.facts.evidence["kill_asked_at"] is not None


@pytest.mark.parametrize("launch", [0, 1])
def test_what_never_lived_can_fail_and_be_killed(launch: int) -> None:
    failed = decide(fresh(), Failed(launch, "workspace", "no space left"), START).facts
    assert (failed.state, failed.reason) == ("terminated", "error_in_process")
    assert (failed.evidence["step"], failed.evidence["error"]) == ("workspace", "no space left")
    killed = decide(fresh(), Killed(launch, "manually_killed"), START).facts
    assert (killed.state, killed.reason) == ("terminated", "manually_killed")
    assert killed.evidence["proved"] == "nothing of it runs"


@pytest.mark.guards(
    "A spawn that has come to life cannot fail any more: what becomes of the session is told by looks.",
    against="A saga that is given up after it has started the agent ends a session that lives.",
    breaks=("sessions-fail-while-they-live",),
)
def test_what_has_come_to_life_cannot_fail_to() -> None:
    story = living("working")
    before = story.facts
    assert story.tell(Failed(1, "spawn", "given up")).taken == "stale_launch"
    assert story.facts == before


def test_what_a_failed_spawn_could_not_take_back_is_in_its_evidence() -> None:
    failed = decide(fresh(), Failed(1, "setup", "status 3", {"worktree": "/w", "stays": "busy"}), START).facts
    assert (failed.evidence["worktree"], failed.evidence["stays"]) == ("/w", "busy")


def test_a_spawn_that_fails_because_it_was_killed_is_killed() -> None:
    asked = fresh(kill_asked_at=START)
    ended = decide(asked, Failed(1, "launch", "cancelled"), START).facts
    assert (ended.reason, ended.evidence["error"]) == ("manually_killed", "cancelled")


def test_a_kill_has_no_reason_that_is_not_its_own() -> None:
    with pytest.raises(TransitionRefused, match="shop-1 cannot go from working to terminated"):
        living().tell(Killed(1, "probe_failure"))
    for reason in ("auto_cleanup", "pr_merged"):
        story = living()
        story.tell(Killed(1, reason))
        assert story.facts.reason == reason


@pytest.mark.guards(
    "What has ended stays ended, with its reason and evidence, until a later launch lives.",
    against="A hook or a look that comes late brings an ended session back to life, or changes why it ended.",
    breaks=("sessions-rise-from-the-dead",),
)
def test_only_a_restore_leaves_the_end() -> None:
    story = living()
    story.tell(Killed(1, "manually_killed"))
    ended = story.facts
    later: list[Observation] = [
        Signal(1, story.boot + SECOND, "working"),
        story.probe(),
        story.probe(process="dead"),
        Failed(1, "launch", "no"),
        Killed(1, "auto_cleanup"),
        Settled(1),
        Launched(1, "adoption"),
    ]
    assert [story.tell(observation).taken for observation in later] == ["ended"] * len(later)
    assert story.facts == ended
    assert story.launch(2, "restore").taken == "taken"
    assert story.state == "not_started"


@pytest.mark.guards(
    "A launch begins with nothing of the one before: not its signals, its witnesses, its reason, nor a kill.",
    against="A restored session is stuck, or deaf, by what was known of its former launch.",
    breaks=("sessions-restore-with-old-signals",),
)
def test_a_restored_session_begins_anew() -> None:
    story = living("done")
    story.tell(Settled(1))
    story.looks(10, **NOTHING)
    assert story.state == "stuck"
    story.facts = msgspec.structs.replace(story.facts, kill_asked_at=story.now)
    story.tell(Killed(1, "manually_killed"))
    story.launch(2, "restore")
    facts = story.facts
    life = {name: getattr(facts, name) for name in Life.__struct_fields__}
    assert life == msgspec.structs.asdict(Life(launch=2, launched_at=story.now, alive_since=story.now))
    assert (facts.state, facts.reason, facts.evidence, facts.kill_asked_at) == ("not_started", None, {}, None)
    assert facts.quarantine is None
    boot_clock_of_a_reboot = Signal(2, 5, "working")
    assert story.tell(boot_clock_of_a_reboot).taken == "taken"


def test_one_launch_at_a_time() -> None:
    story = living()
    before = story.facts
    assert story.launch(2, "restore").taken == "unknown_launch"
    story.tell(Killed(1, "manually_killed"))
    story.launch(2, "restore")
    assert story.launch(1, "adoption").taken == "stale_launch"
    assert story.facts.launch == before.launch + 1


def test_facts_and_observations_survive_json() -> None:
    story = living("done")
    story.looks(3, **NOTHING)
    again = msgspec.json.decode(msgspec.json.encode(story.facts), type=Facts)
    assert again == story.facts
    probe = story.probe(process="dead", exit_status=3)
    assert msgspec.json.decode(msgspec.json.encode(probe), type=Observation) == probe
