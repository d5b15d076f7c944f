"""What the reactions of one session come to now: what is owed, taken back, over, or so again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from holdfast.fleet.reactions.facts import Case, Charge, Nudge, Target, Wanted

Condition = Callable[[Case], Iterable[Wanted]]

ENDED = "its session has ended, so there is no agent to tell"
HOPELESS = "its agent took none of the messages about it"


@dataclass(frozen=True, slots=True)
class Reaction:
    """One kind of reaction."""

    name: str
    doc: str
    #: Whom it tells unless told otherwise, and whom it can tell.
    to: Target
    targets: tuple[Target, ...]
    #: So many different ones of what it is counted by (a check, a pull, a session); beyond it people are told once.
    cap: int
    #: In words, what `cap` counts by.
    by: str
    condition: Condition
    #: What it begins with, unless the project says otherwise.
    text: str
    #: Where what is beyond the cap is told of.
    beyond: str | None = "budget-spent"


@dataclass(frozen=True, slots=True)
class Owe:
    """It is to be told. A nudge that is there was missed, and is owed once more."""

    reaction: Reaction
    wanted: Wanted
    nudge: Nudge | None


@dataclass(frozen=True, slots=True)
class Miss:
    """It would be owed, and nobody is there to be told."""

    reaction: Reaction
    wanted: Wanted
    why: str


@dataclass(frozen=True, slots=True)
class TakeBack:
    """What was not told yet is not to be told any more."""

    nudge: Nudge
    why: str


@dataclass(frozen=True, slots=True)
class Over:
    """What people were told of is over."""

    nudge: Nudge


@dataclass(frozen=True, slots=True)
class Again:
    """What people were told of, and was over, is so again."""

    nudge: Nudge


Step = Owe | Miss | TakeBack | Over | Again


def target(case: Case, reaction: Reaction) -> Target:
    """Whom it tells in this project."""
    return case.rules.of(reaction.name).to or reaction.to


def holding(case: Case, reaction: Reaction) -> Sequence[Wanted]:
    """What its condition calls for, unless it is off."""
    if case.rules.of(reaction.name).off:
        return ()
    return tuple({wanted.signature: wanted for wanted in reaction.condition(case)}.values())


def steps(case: Case, reactions: Iterable[Reaction]) -> Iterator[Step]:
    """What is to be done, reaction by reaction in their order; what one comes to is no other's business."""
    for reaction in reactions:
        wanted = holding(case, reaction)
        known = {nudge.signature: nudge for nudge in case.nudges if nudge.reaction == reaction.name}
        yield from _settled(case, reaction, wanted, known.values())
        yield from _owed(case, reaction, wanted, known)


def _settled(case: Case, reaction: Reaction, wanted: Sequence[Wanted], known: Iterable[Nudge]) -> Iterator[Step]:
    """What becomes of what was owed before."""
    signatures = {each.signature for each in wanted}
    unheard = case.ended and target(case, reaction) == "agent"
    for nudge in known:
        if nudge.signature in signatures:
            if nudge.state == "over":
                yield Again(nudge)
            elif nudge.state == "owed" and unheard:
                yield TakeBack(nudge, ENDED)
        elif nudge.state == "owed" or nudge.waits:
            yield TakeBack(nudge, "what it was about is over")
        elif nudge.state == "told":
            yield Over(nudge)


def _owed(case: Case, reaction: Reaction, wanted: Sequence[Wanted], known: dict[str, Nudge]) -> Iterator[Step]:
    counting = _counting(wanted, known.values())
    for each in wanted:
        nudge = known.get(each.signature)
        if nudge is not None and (not nudge.missed or nudge.hopeless):
            continue
        within = allowed(case, reaction, each, counting)
        if not within:
            continue
        charged = msgspec.structs.replace(each, charged=within)
        if case.ended and target(case, reaction) == "agent":
            if nudge is None:
                yield Miss(reaction, charged, ENDED)
            continue
        yield Owe(reaction, charged, nudge)


def _counting(wanted: Sequence[Wanted], known: Iterable[Nudge]) -> list[Nudge]:
    """What was told, or is about to be."""
    signatures = {each.signature for each in wanted}
    return [
        nudge
        for nudge in known
        if not nudge.missed and (nudge.signature in signatures or not (nudge.state == "owed" or nudge.waits))
    ]


def _told(key: str, counting: Iterable[Nudge], but: str) -> set[str]:
    return {
        content for nudge in counting if nudge.signature != but for by, content in nudge.budget.charged if by == key
    }


def cap(case: Case, reaction: Reaction) -> int:
    """How many different ones may be told in this project."""
    return case.rules.of(reaction.name).cap or reaction.cap


def allowed(case: Case, reaction: Reaction, wanted: Wanted, counting: Iterable[Nudge]) -> tuple[Charge, ...]:
    """What of it is new and within the cap; with nothing of that, it is not owed."""
    most, counting = cap(case, reaction), tuple(counting)
    found = []
    for key, content in wanted.charged:
        told = _told(key, counting, wanted.signature)
        if content not in told and len(told) < most:
            found.append((key, content))
    return tuple(found)


def charged(case: Case, reaction: Reaction, wanted: Wanted) -> tuple[Charge, ...]:
    """What telling it now uses up."""
    known = [nudge for nudge in case.nudges if nudge.reaction == reaction.name]
    return allowed(case, reaction, wanted, _counting(holding(case, reaction), known))


def beyond(case: Case, reaction: Reaction) -> Iterator[tuple[Charge, Wanted]]:
    """What is new, and beyond the cap."""
    wanted = holding(case, reaction)
    known = [nudge for nudge in case.nudges if nudge.reaction == reaction.name]
    counting, most = _counting(wanted, known), cap(case, reaction)
    for each in wanted:
        for key, content in each.charged:
            told = _told(key, counting, "")
            if content not in told and len(told) >= most:
                yield (key, content), each


def unheard(case: Case, reaction: Reaction) -> Iterator[tuple[Wanted, str]]:
    """What is to be told to an agent that is not there, or that takes nothing."""
    if target(case, reaction) != "agent":
        return
    wanted = holding(case, reaction)
    known = {nudge.signature: nudge for nudge in case.nudges if nudge.reaction == reaction.name}
    counting = _counting(wanted, known.values())
    for each in wanted:
        nudge = known.get(each.signature)
        if nudge is not None and nudge.hopeless:
            yield each, HOPELESS
            continue
        open_still = nudge is None or nudge.missed or nudge.state == "owed"
        if case.ended and open_still and allowed(case, reaction, each, counting):
            yield each, ENDED
