"""How a session's status came about: every rule that was asked, and what is known, from whom, how old. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.fleet.sessions.facts import Episode, Facts, Witness, WitnessName
from holdfast.fleet.sessions.status import RULES, Axis, Case, Pull, Status, age, shown

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
_SOURCES = {"signal": "said by a signal", "output": "told by its terminal", "probe": "found by a look"}


class Asked(msgspec.Struct, frozen=True):
    """One rule that was asked, in order; the last one has decided."""

    rule: str
    axis: Axis
    status: Status | None
    saw: str


class Known(msgspec.Struct, frozen=True):
    """One thing that is known: what, from whom, since when, and how many seconds ago that is."""

    what: str
    source: str
    at: str | None = None
    age: float | None = None


class Owed(msgspec.Struct, frozen=True):
    """Something that is still to be done to the session: what, what keeps it waiting, and since when it is owed."""

    what: str
    why: str
    at: str


class Explanation(msgspec.Struct, frozen=True):
    """All of it, as JSON has it."""

    session: str
    status: Status
    axis: Axis
    asked: tuple[Asked, ...]
    known: tuple[Known, ...]
    #: The open quarantine, with the evidence that it stands on.
    quarantine: Episode | None
    #: Why it is where it is: of an end or a quarantine.
    evidence: Mapping[str, Any]

    def lines(self) -> list[str]:
        """All of it, as people read it."""
        found = [f"{self.session} is {self.status}, by its {'pull' if self.axis == 'pull' else 'agent'}."]
        found += [f"  {item.what}, {item.source}{_ago(item.age)}" for item in self.known]
        if self.quarantine is not None:
            found += [f"  quarantine {self.quarantine.number}: {line}" for line in _quarantine(self.quarantine)]
        found += [f"  evidence: {line}" for line in _flat(self.evidence)]
        found += [f"  rule {each.rule}: {each.saw} -> {each.status or 'goes on'}" for each in self.asked]
        return found


def explain(
    facts: Facts,
    now: str,
    *,
    witnesses: Mapping[WitnessName, Witness] | None = None,
    pulls: Sequence[Pull] = (),
    queued: bool = False,
    owed: Sequence[Owed] = (),
) -> Explanation:
    """Explain the status; `witnesses` are those of a fresh look, where somebody has just taken one.

    `owed` is what is still to be done to it, which the status does not say.
    """
    decided = shown(facts, now, pulls=pulls, queued=queued)
    case, asked = Case(facts, pulls, queued, now), []
    for rule in RULES:
        answer = rule.ask(case)
        asked.append(Asked(rule.name, rule.axis, answer.status, answer.saw))
        if answer.status is not None:
            break
    return Explanation(
        session=facts.id,
        status=decided.status,
        axis=decided.axis,
        asked=tuple(asked),
        known=(
            *_known(facts, now, facts.witnesses if witnesses is None else witnesses, pulls),
            *(Known(each.what, each.why, each.at, age(each.at, now)) for each in owed),
        ),
        quarantine=facts.quarantine,
        evidence=facts.evidence,
    )


def words(seconds: float) -> str:
    """A span in its largest unit: `2 days`, `1 minute`."""
    if seconds < 1:
        return "no time"
    name, size = next((name, size) for name, size in _UNITS if seconds >= size)
    count = int(seconds // size)
    return f"{count} {name}{'' if count == 1 else 's'}"


def _known(facts: Facts, now: str, witnesses: Mapping[WitnessName, Witness], pulls: Sequence[Pull]) -> Iterator[Known]:
    def item(what: str, source: str, at: str | None) -> Known:
        return Known(what, source, at, None if at is None else age(at, now))

    reason = f" ({facts.reason})" if facts.reason else ""
    yield item(f"state {facts.state}{reason}", "decided", facts.state_at)
    if facts.launch:
        lives = "alive" if facts.alive_since else "not alive"
        yield item(f"launch {facts.launch}, {lives}", "launched", facts.launched_at)
    if facts.activity is not None:
        yield item(f"activity {facts.activity.state}", _SOURCES[facts.activity.source], facts.activity.at)
    if facts.launch:
        says = "its hooks" if facts.speaks == "hooks" else "its agent has no hooks"
        yield item("newest signal" if facts.heard_at else "no signal of this launch", says, facts.heard_at)
        yield item("newest output" if facts.output_at else "no output of this launch", "its terminal", facts.output_at)
    for name, witness in sorted(witnesses.items()):
        detail = f" ({witness.detail})" if witness.detail else ""
        yield item(f"{name} {witness.verdict}{detail}", "since", witness.since)
    if facts.watch.death is not None:
        yield item("its process is gone, the end waits for the rest", "first seen", facts.watch.death.seen_at)
    if facts.kill_asked_at is not None:
        yield item("its end was asked for", "through the API", facts.kill_asked_at)
    for pull in pulls:
        yield item(f"pull {pull.status}", "its forge", None)


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds <= -1:
        return f", by a clock {words(-seconds)} ahead of now"
    return f" {words(seconds)} ago"


def _quarantine(episode: Episode) -> Iterator[str]:
    cause = "says that it works, and nothing moves" if episode.cause == "silence" else "its witnesses settle nothing"
    yield f"{cause}; since {episode.started_at}, {episode.attempts} looks, {words(episode.watched)} watched"
    told = f"a person was told at {episode.escalated_at}" if episode.escalated_at else "nobody was told yet"
    yield f"{told}; evidence {episode.evidence_hash}, the same {episode.unchanged} times in a row"


def _flat(evidence: Mapping[str, Any], under: str = "") -> Iterator[str]:
    for name, value in evidence.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{under}{name}.")
        else:
            yield f"{under}{name} = {'unknown' if value is None else value}"
