"""What people ask of sessions that are there: their end, their return, their clean-up; decided in one unit each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.errors import Conflict
from holdfast.core.propagation import queue
from holdfast.fleet.sagas import failing
from holdfast.fleet.sagas.kinds import CLEANUP, KILL, RESTORE, SPAWN, Cleaning, Ending
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.admission import Caps, admit
from holdfast.fleet.sessions.facts import Killed
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.sessions.transitions import TERMINAL

if TYPE_CHECKING:
    from holdfast.core.store.port import Row, Unit


def _row(unit: Unit, session: str) -> Row:
    return door.need(unit, session)[0]


def ask_kill(unit: Unit, session: str, by: str) -> Row:
    """Ask for the end of a session; of one that waits in the queue it is the end at once."""
    row = _row(unit, session)
    if row["state"] in TERMINAL:
        if row["wanted"] is None:
            message = f"Session {session} has ended already ({row['reason'] or row['state']})."
            raise Conflict(message)
        # Of a restore that is under way nothing is to stay; one that has not begun just does not happen.
        queue.cancel(unit, RESTORE, session, "its end was asked for")
        unit.run(SQL.release_place, id=session)
        unit.announce(door.TOPIC)
        if row["saga"] is not None:
            _owe_kill(unit, row, by)
        return _row(unit, session)
    if row["admitted_at"] is None and not _begun(unit, row):
        unit.run(SQL.ask_to_end, id=session, at=unit.at)
        failing.conclude(unit, session, Killed(row["launch"], "manually_killed", {"by": by, "while": "queued"}))
        return _row(unit, session)
    queue.cancel(unit, SPAWN, session, "its end was asked for")
    _owe_kill(unit, row, by)
    return _row(unit, session)


def _owe_kill(unit: Unit, row: Row, by: str) -> None:
    """Owe the end of all launches that have begun by now; it takes the place of a tidying that has not started."""
    unit.run(SQL.ask_to_end, id=row["id"], at=unit.at)
    ending = Ending(row["id"], max(row["launch"], _begun(unit, row)), "manually_killed", f"asked for by {by}")
    queue.supersede(unit, KILL, ending, key=row["id"])


def _begun(unit: Unit, row: Row) -> int:
    """The number of the newest launch that was begun; 0 while none was."""
    found = unit.one(SQL.last_launch, session=row["id"])
    return int(found["number"] or 0) if found is not None else 0


def ask_restore(unit: Unit, session: str, caps: Caps) -> Row:
    """Put an ended session into the queue again; it starts at once if there is room."""
    row = _row(unit, session)
    if row["state"] not in TERMINAL:
        message = f"Session {session} has not ended: it is {row['state']}. There is nothing to restore."
        raise Conflict(message)
    if row["wanted"] is not None:
        message = f"Session {session} waits already to be restored."
        raise Conflict(message)
    if unit.one(SQL.project, id=row["project"]) is None:
        message = f"Session {session} cannot go on: its project was removed. Add it again with `holdfast project add`."
        raise Conflict(message)
    if row["launch"] == 0:
        message = f"Session {session} was never started, so there is nothing to go on with. Spawn another one."
        raise Conflict(message)
    unit.run(SQL.want_restored, id=session, at=unit.at)
    admit(unit, caps)
    unit.announce(door.TOPIC)
    return _row(unit, session)


def ask_restore_all(unit: Unit, caps: Caps) -> list[str]:
    """Restore whatever was lost with its runtime or its machine, which is the one of these caps; the ids."""
    found = [row["id"] for row in unit.all(SQL.lost, host=caps.host)]
    for session in found:
        unit.run(SQL.want_restored, id=session, at=unit.at)
    admit(unit, caps)
    unit.announce(door.TOPIC)
    return found


def ask_cleanup(unit: Unit, session: str | None, host: str) -> list[str]:
    """Have the worktrees of ended sessions removed, after their work was kept; the ids."""
    if session is None:
        found = [row["id"] for row in unit.all(SQL.remove_workspaces_of, host=host, project=None)]
    else:
        row = _row(unit, session)
        if row["state"] not in TERMINAL or row["wanted"] is not None:
            message = (
                f"Session {session} is {row['state']}: only what has ended is cleaned up. End it first: holdfast kill"
            )
            raise Conflict(f"{message} {session}")
        found = [] if row["workspace"] is None else [session]
    for each in found:
        queue.supersede(unit, CLEANUP, Cleaning(each), key=each)  # one that waits for its next try is done now
    return found
