"""What is wanted of pulls as rows: checks that are to run, a merge, and why one was refused; in the caller's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.propagation import queue
from holdfast.fleet.forges.kinds import CHECK, MERGE, PULL, Checking, Merging, Pulling
from holdfast.fleet.pulls import door, rows

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit
    from holdfast.fleet.forges.port import MergeHow
    from holdfast.fleet.pulls.facts import Pull

#: Announced by every unit after which other pulls are open than before, or stand elsewhere.
TOPIC = "pulls"


def look(unit: Unit, session: str, pull: str) -> None:
    """Owe a look at a pull."""
    queue.enqueue(unit, PULL, Pulling(session, pull), key=pull)


def check(unit: Unit, pull: str, *, anew: bool) -> None:
    """Owe the checks of a pull: what runs of them goes on, unless they are to begin anew."""
    if anew:
        queue.supersede(unit, CHECK, Checking(pull), key=pull)
    else:
        queue.enqueue(unit, CHECK, Checking(pull), key=pull)
    queue.resume(unit, CHECK, pull)


def merge(unit: Unit, pull: Pull, how: MergeHow, by: str) -> Pull:
    """Want a merge; a wish of somebody else that has not begun is replaced."""
    wanted = door.note(unit, pull, wanted=how, wanted_by=by, refused=None)
    queue.supersede(unit, MERGE, Merging(pull.id, how, by), key=pull.id)
    return wanted


def refuse(unit: Unit, pull: str, why: str, *, keep: bool = False) -> None:
    """Say why it was not merged; the wish is over, unless it is tried again by itself."""
    before = rows.read(unit, pull)
    if before is None or before.state != "open":
        return
    told = {"refused": why} if keep else {"refused": why, "wanted": None, "wanted_by": None}
    door.note(unit, before, **told)


def gave_up(unit: Unit, pull: str, why: str) -> None:
    """Nobody tries this merge any more."""
    refuse(unit, pull, why)
