"""Quarantines: opened by doubt, counted look by look, told to a person once, ended by evidence or a deadline. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.fleet.sessions.facts import Cause, Effect, Episode, Facts, Page, Probe, Reap, State
from holdfast.fleet.sessions.transitions import Mover, move

#: Looks that are closer together than this count once.
GRAIN = 5.0
#: No more than this is believed to have been watched between two looks: beyond it nobody looked.
LONGEST_STEP = 60.0
#: Doubt becomes `stuck` at this many looks in a row with the same evidence, or after this many seconds of it.
UNCHANGED, DOUBT = 3, 300.0
#: Seconds of looking without a sign of life and without a proof of death, after which a session is ended.
DEADLINE = 1800.0
#: Looks that must find all well, one after the other, before a quarantine of the witnesses is over.
HEALTHY = 2
#: Seconds within which a doubt that comes back is the same quarantine, and pages nobody again.
COOL_DOWN = 1800.0

_DIGITS = re.compile(r"\d+")


def span(since: int, until: int) -> float:
    """Seconds watched between two looks, by the boot-time clock: the wall clock may be set to any day meanwhile."""
    return min(max(0.0, (until - since) / 1e9), LONGEST_STEP) if since else 0.0


def told(facts: Facts, **more: Any) -> dict[str, Any]:
    """The evidence at hand: what every witness says, and what was last heard."""
    return {
        "launch": facts.launch,
        "witnesses": {
            name: {"verdict": witness.verdict, "since": witness.since, "detail": witness.detail}
            for name, witness in sorted(facts.witnesses.items())
        },
        "said": facts.activity.state if facts.activity else None,
        "heard_at": facts.heard_at,
        "output_at": facts.output_at,
        **more,
    }


def close(facts: Facts, now: str, outcome: str) -> Facts:
    """End the quarantine, if one is open, in words; the state is moved by the caller."""
    episode = facts.quarantine
    if episode is None:
        return facts
    closed = max(episode.counted, facts.watch.look)
    return msgspec.structs.replace(
        facts, episode=msgspec.structs.replace(episode, closed_at=now, closed=closed, outcome=outcome)
    )


def release(facts: Facts, by: Mover, now: str, outcome: str, to: State | None = None) -> Facts:
    """End the quarantine well: back to the state before it, or to what has been said since."""
    episode = facts.quarantine
    if episode is None:
        return facts
    return close(move(facts, to or episode.before, by, now, evidence={}), now, outcome)


def relief(facts: Facts, probe: Probe, now: str) -> Facts:
    """A look found all well: a sign of life, and soon the end of a quarantine that the witnesses had caused."""
    episode = facts.quarantine
    if episode is None or (episode.healthy and span(episode.counted, probe.seq) < GRAIN):
        return facts
    healthy = episode.healthy + 1
    episode = msgspec.structs.replace(episode, healthy=healthy, counted=probe.seq, blind=0.0, unchanged=0)
    facts = msgspec.structs.replace(facts, episode=episode)
    return release(facts, "probe", now, "Its witnesses are well again.") if healthy >= HEALTHY else facts


def seen(facts: Facts, probe: Probe) -> Facts:
    """A look found a sign of life, and nothing that speaks for or against what is doubted."""
    episode = facts.quarantine
    if episode is None or not episode.blind:
        return facts
    return msgspec.structs.replace(facts, episode=msgspec.structs.replace(episode, counted=probe.seq, blind=0.0))


def doubt(facts: Facts, probe: Probe, now: str, cause: Cause, *, blind: bool) -> tuple[Facts, tuple[Effect, ...]]:
    """A look that settles nothing; `blind` when it did not even find a sign of life."""
    episode = facts.quarantine
    if episode is None:
        return _opened(facts, probe, now, cause), ()
    step = span(episode.counted, probe.seq)
    if step < GRAIN:
        return msgspec.structs.replace(facts, episode=msgspec.structs.replace(episode, healthy=0)), ()
    digest = _digest(facts, cause)
    episode = msgspec.structs.replace(
        episode,
        counted=probe.seq,
        attempts=episode.attempts + 1,
        evidence_hash=digest,
        unchanged=episode.unchanged + 1 if digest == episode.evidence_hash else 1,
        healthy=0,
        watched=episode.watched + step,
        blind=episode.blind + step if blind else 0.0,
    )
    return _judged(msgspec.structs.replace(facts, episode=episode), episode, now)


def _opened(facts: Facts, probe: Probe, now: str, cause: Cause) -> Facts:
    last, digest = facts.episode, _digest(facts, cause)
    fresh = Episode(
        number=last.number + 1 if last else 1,
        cause=cause,
        launch=facts.launch,
        started_at=now,
        before=facts.state,
        opened=probe.seq,
        counted=probe.seq,
        attempts=1,
        evidence_hash=digest,
        unchanged=1,
    )
    if last is not None and _same(last, facts, probe, cause):
        fresh = msgspec.structs.replace(
            fresh,
            number=last.number,
            started_at=last.started_at,
            attempts=last.attempts + 1,
            escalated_at=last.escalated_at,
        )
    facts = msgspec.structs.replace(facts, episode=fresh)
    return move(facts, "detecting", "decider", now, evidence=_evidence(facts, fresh))


def _same(last: Episode, facts: Facts, probe: Probe, cause: Cause) -> bool:
    """Whether a doubt is the last one come back."""
    soon = 0 <= probe.seq - last.closed < COOL_DOWN * 1e9
    return last.launch == facts.launch and last.cause == cause and soon


def _judged(facts: Facts, episode: Episode, now: str) -> tuple[Facts, tuple[Effect, ...]]:
    if episode.blind >= DEADLINE:
        evidence = _evidence(facts, episode, blind_seconds=round(episode.blind))
        ended = move(facts, "terminated", "decider", now, reason="probe_failure", evidence=evidence)
        return close(ended, now, "Ended: nothing proved that it lives."), (Reap(facts.launch),)
    certain = episode.unchanged >= UNCHANGED or episode.watched >= DOUBT
    if facts.state != "detecting" or not certain:
        return facts, ()
    facts = move(facts, "stuck", "decider", now, evidence=_evidence(facts, episode))
    if episode.escalated_at is not None:
        return facts, ()
    facts = msgspec.structs.replace(facts, episode=msgspec.structs.replace(episode, escalated_at=now))
    return facts, (Page("agent-stuck", words(facts, episode)),)


def _evidence(facts: Facts, episode: Episode, **more: Any) -> Mapping[str, Any]:
    return told(
        facts,
        cause=episode.cause,
        doubted_since=episode.started_at,
        attempts=episode.attempts,
        evidence_hash=episode.evidence_hash,
        **more,
    )


def _digest(facts: Facts, cause: Cause) -> str:
    """The evidence without its ages: every number in it may be one."""
    said = [
        (name, witness.verdict, _DIGITS.sub("#", witness.detail)) for name, witness in sorted(facts.witnesses.items())
    ]
    return hashlib.sha256(msgspec.json.encode([cause, said])).hexdigest()[:16]


def words(facts: Facts, episode: Episode) -> str:
    """What people are told of an episode."""
    if episode.cause == "silence":
        minutes = round(facts.watch.quiet / 60)
        return (
            f"{facts.id} says that it works, and for {minutes} minutes nothing was heard of it: no signal, no output. "
            f"See `holdfast explain {facts.id}`, then send it a message or kill it."
        )
    said = ", ".join(f"{name} {witness.verdict}" for name, witness in sorted(facts.witnesses.items()))
    return (
        f"Nobody can tell whether {facts.id} lives ({said or 'nothing answers'}) after {episode.attempts} looks. "
        f"See `holdfast explain {facts.id}`."
    )
