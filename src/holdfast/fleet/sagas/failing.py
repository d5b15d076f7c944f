"""What a session is left as when a saga dies: said, out of hand, and whatever it made is ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.propagation import queue
from holdfast.fleet.sagas import hand
from holdfast.fleet.sagas.kinds import KILL, SPAWN, Ending, Launching
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Failed
from holdfast.fleet.sessions.rows import SQL

if TYPE_CHECKING:
    from holdfast.core.propagation.kinds import Buried
    from holdfast.core.store.port import Unit


def launch_died(unit: Unit, buried: Buried) -> None:
    """A launch was given up: it has failed, and what there is of it is to go."""
    launching: Launching = buried.payload
    let_go(unit, buried)
    why = buried.error or buried.reason
    row = unit.one(SQL.by_id, id=launching.session)
    if row is None:
        return
    end_launch(unit, launching.session, launching.launch, why)
    if row["wanted"] == SPAWN.name.rpartition(".")[2]:
        door.observe(unit, launching.session, Failed(launching.launch, "spawn", why))
    give_place_back(unit, launching.session)
    queue.enqueue(
        unit,
        KILL,
        Ending(launching.session, launching.launch, None, "a launch that was given up"),
        key=launching.session,
    )


def let_go(unit: Unit, buried: Buried) -> None:
    """Another saga may have the session."""
    hand.let_go(unit, buried.payload.session, buried.id)


def end_launch(unit: Unit, session: str, number: int, outcome: str) -> None:
    """Nothing will come of this launch any more."""
    unit.run(
        SQL.ended_launch,
        session=session,
        number=number,
        at=unit.at,
        exit_status=None,
        exit_signal=None,
        outcome=outcome,
    )


def give_place_back(unit: Unit, session: str) -> None:
    """Let the next one of the queue have the place."""
    unit.run(SQL.release_place, id=session)
    unit.announce(door.TOPIC)
