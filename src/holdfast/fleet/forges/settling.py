"""What follows when a session's pulls have moved: a merge by policy, its end, that it is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.core import faults
from holdfast.core.propagation import queue
from holdfast.core.store.sql import load
from holdfast.fleet.forges import wishes
from holdfast.fleet.forges.kinds import MERGE
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.pulls import door as pulls_door
from holdfast.fleet.pulls import rows
from holdfast.fleet.pulls.facts import FINISHED, Observation, is_green
from holdfast.fleet.sagas.kinds import KILL, Ending
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Settled
from holdfast.fleet.sessions.transitions import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.core.store.port import Row, Unit
    from holdfast.fleet.pulls.facts import Pull
    from holdfast.fleet.sessions.facts import Facts

SQL = load("holdfast.fleet.forges", "forges.sql")
#: Who merges where no person asked for it.
POLICY = "policy"
_LONGEST = 2000

SETTLED = faults.point("forge.settled", "what follows of a pull's new state is owed in a unit that has not committed")


def settle(unit: Unit, session: str) -> None:
    """Owe and note whatever the pulls of a session now call for; asked again it changes nothing."""
    row, facts = door.need(unit, session)
    project = unit.one(SQL.project, id=row["project"])
    pulls = rows.of_session(unit, session)
    by_policy = project is not None and project["merge_by"] == POLICY
    if project is not None and by_policy and facts.done_at is not None:
        for pull in pulls:
            if _may_merge(pull):
                wishes.merge(unit, pull, project["merge_how"], POLICY)
    if pulls and all(pull.state == "merged" for pull in pulls) and _rests(unit, facts):
        _end(unit, row, facts, pulls)
    elif _is_settled(facts, pulls, by_policy=by_policy):
        door.observe(unit, session, Settled(facts.launch))
    SETTLED()


def let_go(unit: Unit, pull: str, why: str) -> None:
    """Nobody runs the checks of a pull any more: those that have not come to an end could not be run."""
    before = rows.read(unit, pull)
    if before is None or before.state != "open":
        return
    ended = tuple(
        msgspec.structs.replace(
            check, state="errored", step="could not be run", tail=why[:_LONGEST], finished_at=unit.at
        )
        for check in before.head_checks
        if check.state not in FINISHED
    )
    if ended:
        after = pulls_door.observe(unit, Observation(pull=pull, checks=ended)).pull
        queue.resume(unit, MERGE, pull)
        settle(unit, after.session)


def _may_merge(pull: Pull) -> bool:
    """Whether the policy merges it: nothing is open, and nothing has refused it as it stands."""
    asked = pull.wanted is not None or pull.refused is not None
    fits = pull.state == "open" and pull.stage == "ready" and pull.fit == "clean"
    return fits and not asked and pull.review in {"none", "approved"} and is_green(pull)


def _rests(unit: Unit, facts: Facts) -> bool:
    """Whether its agent lives, waits for nobody, and is to be told nothing more."""
    waits = facts.alive_since is not None and facts.state == "idle" and facts.kill_asked_at is None
    return waits and unit.one(messages.SQL.under_way, session=facts.id) is None


def _end(unit: Unit, row: Row, facts: Facts, pulls: Sequence[Pull]) -> None:
    """Its work has landed: its agent is ended as by a kill, with the reason that it is."""
    names = ", ".join(pull.id for pull in pulls)
    unit.run(door.SQL.ask_to_end, id=row["id"], at=unit.at)
    ending = Ending(row["id"], facts.launch, "pr_merged", f"merged: {names}")
    queue.supersede(unit, KILL, ending, key=row["id"])


def _is_settled(facts: Facts, pulls: Sequence[Pull], *, by_policy: bool) -> bool:
    """Whether an agent that says it is done owes nothing: its checks are over and well, what is to be merged is."""
    if facts.done_at is None or facts.settled_at is not None or facts.state in TERMINAL:
        return False
    left = [pull for pull in pulls if pull.state == "open"]
    return all(is_green(pull) for pull in left) and not (by_policy and left)
