"""What one look at a session comes to: its end, doubt, or life; and what its terminal says of its agent. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from holdfast.fleet.sessions.decide_quarantine import DEADLINE, GRAIN, close, doubt, release, relief, seen, span, told
from holdfast.fleet.sessions.facts import (
    Activity,
    Death,
    Decision,
    Effect,
    Facts,
    Probe,
    Reap,
    Reason,
    Verdict,
    Witness,
    WitnessName,
)
from holdfast.fleet.sessions.transitions import move

#: Seconds for which a death waits for the rest of its story: the exit status, or whether the runtime is gone too.
SETTLE = 5.0
#: Seconds for which a heartbeat that is newer than the death puts off the end; never beyond the deadline.
DELAY = 30.0
#: Seconds without signal and output after which an agent that says it works is doubted.
SILENCE = 600.0
#: Seconds without output after which an agent that has no hooks counts as idle.
QUIET = 15.0
#: Seconds for which a signal outweighs witnesses that tell nothing.
FRESH = 30.0

#: What a look says: the terminal or the boot is gone; the process is, and all is told of it; the process is, and
#: something is not told yet; nothing certain; it lives.
Finding = Literal["lost", "exited", "dying", "doubtful", "well"]
_Came = tuple[Facts, tuple[Effect, ...]]


def read(facts: Facts, probe: Probe, *, moved: bool) -> Finding:
    """What the witnesses together say. A witness that failed, or was not asked, says nothing about the session.

    A runtime that finds no trace of a server (`missing`) has not proved that the one of this session is gone: somebody
    may have removed its socket. Only together with the process that counts.
    """
    runtime, process = _verdict(probe, "runtime"), _verdict(probe, "process")
    pane = _verdict(probe, "pane") if runtime == "alive" else "failed"
    gone = process in {"dead", "missing"}
    if probe.rebooted or runtime == "dead" or pane == "missing" or (gone and runtime == "missing"):
        return "lost"
    exit_known = probe.exit_status is not None or probe.exit_signal is not None
    if gone:
        return "exited" if pane == "dead" and exit_known else "dying"
    if process == "failed" and pane == "dead" and exit_known:
        return "exited"
    if pane == "alive" or (process == "alive" and pane != "dead"):
        return "well"
    beats = 0 <= probe.seq - facts.seq < FRESH * 1e9 if facts.seq else False
    return "well" if beats or (moved and pane != "dead") else "doubtful"


def look(facts: Facts, probe: Probe, now: str) -> Decision:
    """Take a look into account."""
    watch = facts.watch
    if not probe.rebooted and probe.seq <= watch.look:  # after a reboot the clock of the looks has begun anew
        return Decision(facts, "repeated" if probe.seq == watch.look else "stale_seq")
    step = span(watch.look, probe.seq)
    moved = _moved(facts, probe, step)
    known = _recorded(facts, probe, now, step, moved=moved)
    if facts.kill_asked_at is not None:
        return _kept(facts, known, (), step)
    finding = read(facts, probe, moved=moved)
    if watch.death is not None and _verdict(probe, "process") != "alive":
        if finding in {"well", "doubtful"} or (finding == "exited" and watch.death.beat is not None):
            finding = "dying"
    elif watch.death is not None:
        known = msgspec.structs.replace(known, watch=msgspec.structs.replace(known.watch, death=None))
    after, effects = _judged(known, probe, now, finding, step, moved=moved)
    return _kept(facts, after, effects, step)


def timed(facts: Facts) -> bool:
    """Whether anything about it depends on how long it has been watched; what is not timed costs no writes."""
    waits_for_output = facts.speaks == "output" and facts.state == "not_started"
    return facts.watch.death is not None or facts.quarantine is not None or facts.state == "working" or waits_for_output


def _verdict(probe: Probe, name: Literal["runtime", "pane", "process"]) -> Verdict:
    reading = probe.readings.get(name)
    return "failed" if reading is None else reading.verdict


def _sighted(probe: Probe) -> bool:
    """Whether output could be seen at all: an outage of the runtime is nobody's silence."""
    return _verdict(probe, "runtime") == "alive"


def _moved(facts: Facts, probe: Probe, step: float) -> bool:
    """Whether the terminal shows news that count. Stamps are compared only for being the same: clocks are moved."""
    if probe.output_at is None or probe.output_at == facts.output_at:
        return False
    wakes = facts.speaks == "output" and facts.state in {"not_started", "idle"}
    waited_for = wakes or facts.watch.death is not None or facts.quarantine is not None
    return waited_for or step >= GRAIN or not facts.watch.look


def _recorded(facts: Facts, probe: Probe, now: str, step: float, *, moved: bool) -> Facts:
    """What the look adds to what is known, before anything is decided."""
    witnesses: dict[WitnessName, Witness] = dict(facts.witnesses)
    for name, reading in probe.readings.items():
        was = witnesses.get(name)
        if was is None or (was.verdict, was.detail) != (reading.verdict, reading.detail):
            since = was.since if was is not None and was.verdict == reading.verdict else now
            witnesses[name] = Witness(reading.verdict, since, reading.detail)
    passed = min(step, span(facts.seq, probe.seq)) if facts.seq else step
    if not _sighted(probe):
        passed = 0.0
    return msgspec.structs.replace(
        facts,
        witnesses=witnesses,
        output_at=probe.output_at if moved else facts.output_at,
        watch=msgspec.structs.replace(facts.watch, look=probe.seq, quiet=0.0 if moved else facts.watch.quiet + passed),
    )


def _kept(before: Facts, after: Facts, effects: tuple[Effect, ...], step: float) -> Decision:
    """Leave everything as it was where a look brought no news, or only the passing of less time than counts."""
    same = msgspec.structs.replace(after, watch=before.watch) == before
    same = same and (after.watch.death is None) == (before.watch.death is None)
    if same and (step < GRAIN or not timed(after)) and before.watch.look:
        return Decision(before, "taken")
    return Decision(after, "taken", effects)


def _judged(facts: Facts, probe: Probe, now: str, finding: Finding, step: float, *, moved: bool) -> _Came:
    match finding:
        case "lost":
            return _ended(facts, probe, now, "runtime_lost")
        case "exited":
            return _ended(facts, probe, now, "agent_process_exited")
        case "dying":
            return _dying(facts, probe, now, step, moved=moved)
        case "doubtful":
            return doubt(facts, probe, now, "witnesses", blind=True)
        case "well":
            return _well(facts, probe, now, moved=moved)


def _ended(facts: Facts, probe: Probe, now: str, reason: Reason) -> _Came:
    """The end, proved; the leftovers (a dead pane, what the agent has left behind) are to be reaped."""
    death = facts.watch.death
    evidence = told(
        facts,
        looked_at=probe.looked_at,
        rebooted=probe.rebooted,
        exit_status=probe.exit_status,
        exit_signal=probe.exit_signal,
        first_seen_at=death.seen_at if death else now,
    )
    owes_nothing = facts.done_at is not None and facts.settled_at is not None
    if reason == "agent_process_exited" and probe.exit_status == 0 and owes_nothing:
        evidence |= {"done_at": facts.done_at, "settled_at": facts.settled_at}
        ended = move(facts, "done", "probe", now, evidence=evidence)
    else:
        ended = move(facts, "terminated", "probe", now, reason=reason, evidence=evidence)
    ended = msgspec.structs.replace(ended, watch=msgspec.structs.replace(ended.watch, death=None))
    return close(ended, now, f"Ended: {reason.replace('_', ' ')}."), (Reap(facts.launch),)


def _dying(facts: Facts, probe: Probe, now: str, step: float, *, moved: bool) -> _Came:
    """The process is gone. Heartbeats newer than that put the end off (a wrapper exited), and never veto it."""
    death = facts.watch.death
    if death is None:
        death = Death(seen=probe.seq, seen_at=now)
    else:
        beat = None if death.beat is None else death.beat + step
        if moved and _verdict(probe, "pane") != "dead":
            beat = 0.0
        death = msgspec.structs.replace(death, watched=death.watched + step, beat=beat)
    facts = msgspec.structs.replace(facts, watch=msgspec.structs.replace(facts.watch, death=death))
    settled = death.watched >= SETTLE if death.beat is None else death.beat >= DELAY
    if settled or death.watched >= DEADLINE:
        return _ended(facts, probe, now, "agent_process_exited")
    return facts, ()


def _well(facts: Facts, probe: Probe, now: str, *, moved: bool) -> _Came:
    if facts.quarantine is not None and facts.quarantine.cause == "silence":
        if not moved:
            return doubt(facts, probe, now, "silence", blind=False) if _sighted(probe) else (seen(facts, probe), ())
        return release(facts, "probe", now, "Its terminal shows something new."), ()
    if facts.quarantine is not None:
        return relief(facts, probe, now), ()  # what else there is to say can wait for the next look
    if facts.speaks == "output":
        facts = _by_output(facts, now, moved=moved)
    said = facts.activity
    claims = facts.state == "working" and said is not None and (said.state, said.source) == ("working", "signal")
    if claims and facts.watch.quiet >= SILENCE:
        return doubt(facts, probe, now, "silence", blind=False)
    return facts, ()


def _by_output(facts: Facts, now: str, *, moved: bool) -> Facts:
    """What the terminal alone says of an agent without hooks; never against its own word that it needs input."""
    if facts.activity is not None and facts.activity.source == "signal":
        return facts  # it says by itself what it does; then its output is a sign of life and nothing more
    works = facts.activity is not None and facts.activity.source == "output"
    if moved and facts.state in {"not_started", "idle"}:
        said = msgspec.structs.replace(facts, activity=Activity("working", "output", now))
        return move(said, "working", "probe", now, evidence={})
    rests = facts.state == "not_started" or (facts.state == "working" and works)
    if not moved and rests and facts.watch.quiet >= QUIET:
        said = msgspec.structs.replace(facts, activity=Activity("idle", "output", now))
        return move(said, "idle", "probe", now, evidence={})
    return facts
