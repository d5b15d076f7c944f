"""The decider: what is known of a session and one observation come to what is known then, and what is owed. Pure."""

from __future__ import annotations

from typing import assert_never

import msgspec

from holdfast.fleet.agents.declare import SignalKind
from holdfast.fleet.sessions.decide_look import look
from holdfast.fleet.sessions.decide_quarantine import close, release, told
from holdfast.fleet.sessions.facts import (
    Activity,
    Decision,
    Effect,
    Facts,
    Failed,
    Killed,
    Launched,
    Life,
    Observation,
    Probe,
    Settled,
    Signal,
    State,
    Taken,
    Unblocked,
)
from holdfast.fleet.sessions.transitions import TERMINAL, Mover, move

#: What an agent says, as a state. That it is done, or exits, is a claim: it waits, until more than that is known.
SAID: dict[SignalKind, State] = {
    "working": "working",
    "idle": "idle",
    "waiting_input": "needs_input",
    "blocked": "needs_input",
    "done": "idle",
    "exited": "idle",
}
#: What shows that an agent which had said it is done has gone on.
_GOES_ON: tuple[SignalKind, ...] = ("working", "waiting_input", "blocked")


def decide(facts: Facts, observation: Observation, now: str) -> Decision:
    """Take one observation into account; one that is stale, repeated or out of place changes nothing.

    `now` is only ever written down. Spans come from the boot-time clock of the looks, and no more than a minute is
    believed of any of them: a wall clock that is moved, or a machine that slept, ends nobody and pages nobody.
    """
    refused = None if isinstance(observation, Launched) else _fence(facts, observation)
    return Decision(facts, refused) if refused is not None else _decided(facts, observation, now)


def _decided(facts: Facts, observation: Observation, now: str) -> Decision:
    match observation:
        case Launched():
            return _launched(facts, observation, now)
        case Signal():
            return _heard(facts, observation, now)
        case Probe():
            return look(facts, observation, now)
        case Failed():
            return _failed(facts, observation, now)
        case Killed():
            return _killed(facts, observation, now)
        case Settled():
            return _settled(facts, now)
        case _:
            assert_never(observation)


def only_time(before: Facts, after: Facts) -> bool:
    """Whether nothing but the passing of watched time lies between them: what a caller may keep in memory a while."""
    return msgspec.structs.replace(after, watch=before.watch) == before and (
        (after.watch.death is None) == (before.watch.death is None)
    )


def _fence(facts: Facts, observation: Signal | Probe | Failed | Killed | Settled) -> Taken | None:
    """Why an observation is none of the present launch; None when it is."""
    if observation.launch < facts.launch:
        return "stale_launch"
    if isinstance(observation, Failed | Killed):
        unknown = observation.launch > max(facts.launch, 1)  # what never came to life can fail and be killed too
    else:
        unknown = observation.launch > facts.launch or not facts.launch
    if unknown:
        return "unknown_launch"
    if facts.state in TERMINAL:
        return "ended"
    if isinstance(observation, Failed) and facts.launch:
        return "stale_launch"  # it has come to life since, and what becomes of it now is told by looks
    if isinstance(observation, Probe) and facts.alive_since is None:
        return "unknown_launch"  # until it is proved alive, what is there is the business of its saga
    return None


def _launched(facts: Facts, launched: Launched, now: str) -> Decision:
    """A launch lives. One that signals were taken of before keeps them; a later one begins anew."""
    if launched.launch < facts.launch:
        return Decision(facts, "stale_launch")
    over = facts.state in TERMINAL
    if launched.launch == facts.launch and facts.launch:
        if over:
            return Decision(facts, "ended")
        if facts.alive_since is not None:
            return Decision(facts, "repeated")
        return Decision(msgspec.structs.replace(facts, launched_at=now, alive_since=now), "taken")
    if not launched.launch or not (over or facts.launch == 0):
        return Decision(facts, "unknown_launch")  # the present launch has not ended: one agent at a time
    if over:
        facts = msgspec.structs.replace(move(facts, "not_started", "restore", now, evidence={}), kill_asked_at=None)
    life = Life(launch=launched.launch, launched_at=now, alive_since=now)
    return Decision(msgspec.structs.replace(facts, **msgspec.structs.asdict(life)), "taken")


def _failed(facts: Facts, failed: Failed, now: str) -> Decision:
    evidence = told(facts, step=failed.step, error=failed.error) | dict(failed.left)
    if facts.kill_asked_at is not None:
        evidence |= {"kill_asked_at": facts.kill_asked_at}
        ended = move(facts, "terminated", "kill", now, reason="manually_killed", evidence=evidence)
    else:
        ended = move(facts, "terminated", "spawn", now, reason="error_in_process", evidence=evidence)
    return Decision(_over(ended, now), "taken")


def _killed(facts: Facts, killed: Killed, now: str) -> Decision:
    evidence = told(facts, kill_asked_at=facts.kill_asked_at, proved="nothing of it runs") | dict(killed.evidence)
    by: Mover = "cleanup" if killed.reason in {"auto_cleanup", "pr_merged"} else "kill"
    ended = move(facts, "terminated", by, now, reason=killed.reason, evidence=evidence)
    return Decision(_over(ended, now), "taken")


def _settled(facts: Facts, now: str) -> Decision:
    if facts.settled_at is not None:
        return Decision(facts, "repeated")
    return Decision(msgspec.structs.replace(facts, settled_at=now), "taken")


def _over(facts: Facts, now: str) -> Facts:
    reason = (facts.reason or "").replace("_", " ")
    facts = msgspec.structs.replace(facts, watch=msgspec.structs.replace(facts.watch, death=None))
    return close(facts, now, f"Ended: {reason}.")


def _heard(facts: Facts, signal: Signal, now: str) -> Decision:
    if signal.seq <= facts.seq:
        return Decision(facts, "repeated" if signal.seq == facts.seq else "stale_seq")
    was = facts.activity
    known = _noted(facts, signal, now)
    if facts.kill_asked_at is not None:
        return Decision(known, "taken")
    left = was is not None and was.state == "blocked" and signal.kind != "blocked"
    effects: tuple[Effect, ...] = (Unblocked(),) if left else ()
    return Decision(_moved(known, signal, now), "taken", effects)


def _noted(facts: Facts, signal: Signal, now: str) -> Facts:
    """What was said, written down; all but an `exited` is a heartbeat."""
    watch, done_at, settled_at = facts.watch, facts.done_at, facts.settled_at
    if signal.kind != "exited":
        death = watch.death
        if death is not None and signal.seq > death.seen:
            death = msgspec.structs.replace(death, beat=0.0)
        watch = msgspec.structs.replace(watch, quiet=0.0, death=death)
    if signal.kind == "done":
        done_at = now
    elif signal.kind in _GOES_ON:
        done_at = settled_at = None
    return msgspec.structs.replace(
        facts,
        seq=signal.seq,
        heard_at=now,
        activity=Activity(signal.kind, "signal", now),
        watch=watch,
        done_at=done_at,
        settled_at=settled_at,
    )


def _moved(facts: Facts, signal: Signal, now: str) -> Facts:
    """Where it leads. In quarantine, what is not newer than the doubt is no sign of life: it tells where to go back."""
    episode, said = facts.quarantine, SAID[signal.kind]
    if episode is None:
        return move(facts, said, "signal", now, evidence={})
    if episode.cause == "silence":
        return release(facts, "signal", now, f"Its agent was heard: {signal.kind}.", said)
    if signal.kind != "exited" and signal.seq > episode.opened:
        return release(facts, "signal", now, f"Its agent was heard: {signal.kind}.", said)
    return msgspec.structs.replace(facts, episode=msgspec.structs.replace(episode, before=said))
