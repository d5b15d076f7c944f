"""The one door of pulls: an observation, the facts it changes and what these owe, in the caller's unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.errors import NotFound
from holdfast.fleet.pulls import rows
from holdfast.fleet.pulls.reducer import Reduced, reduce
from holdfast.fleet.reactions import door as reactions

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Unit
    from holdfast.fleet.pulls.facts import Observation, Pull


def need(reader: Reader, pull: str) -> Pull:
    """The pull, or `NotFound`."""
    found = rows.read(reader, pull)
    if found is None:
        message = f"There is no pull {pull[:80]!r}. `holdfast pulls ls` lists them."
        raise NotFound(message)
    return found


def opened(unit: Unit, pull: Pull) -> None:
    """A pull that nobody knew is there."""
    rows.add(unit, pull)
    reactions.react(unit, pull.session)


def note(unit: Unit, before: Pull, **told: Any) -> Pull:
    """What is wanted of a pull, or why that was refused: which no forge tells."""
    after = msgspec.structs.replace(before, **told)
    if after != before:
        rows.write(unit, Reduced(after, scalar=True))
        reactions.react(unit, before.session)
    return after


def observe(unit: Unit, observation: Observation) -> Reduced:
    """Take an observation: what it means is decided, written, and owed."""
    before = need(unit, observation.pull)
    reduced = reduce(before, observation, unit.at)
    if reduced.news:
        rows.write(unit, reduced)
        reactions.react(unit, before.session)
    return reduced
