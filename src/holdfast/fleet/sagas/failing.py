"""What a session is left as when a saga dies: said, out of hand, and whatever it made is ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.propagation import queue
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.sagas import hand
from holdfast.fleet.sagas.kinds import CLEANUP, KILL, RESTORE, SPAWN, Cleaning, Ending, Launching
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Failed, Killed
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.sessions.transitions import TERMINAL
from holdfast.notify.notices import raise_notice, resolve_about

if TYPE_CHECKING:
    from holdfast.core.propagation.kinds import Buried
    from holdfast.core.store.port import Row, Unit

#: The kind of the notice of an end that was given up.
UNENDED = "kill-failed"


def launch_died(unit: Unit, buried: Buried) -> None:
    """A launch was given up, or taken back: it has failed, and what there is of it is to go."""
    launching: Launching | None = buried.payload
    if launching is None:
        return
    let_go(unit, buried)
    why = buried.error or buried.reason
    row = unit.one(SQL.by_id, id=launching.session)
    if row is None or row["launch"] >= launching.launch:
        return  # it lives, or has lived: only its saga did not come to say so
    if _goes_on(unit, row, buried.id):
        return  # what has died long ago was taken away just now
    end_launch(unit, launching.session, launching.launch, why)
    if row["wanted"] == SPAWN.name.rpartition(".")[2]:
        conclude(unit, launching.session, Failed(launching.launch, "spawn", why))
    give_place_back(unit, launching.session)
    queue.enqueue(
        unit,
        KILL,
        Ending(launching.session, launching.launch, None, "a launch that was given up"),
        key=launching.session,
    )


def end_died(unit: Unit, buried: Buried) -> None:
    """An end was given up. Nobody works at it any more, so a session that lives is what looks find, as before."""
    ending: Ending = buried.payload
    let_go(unit, buried)
    row = unit.one(SQL.by_id, id=ending.session)
    if row is None:
        return
    why = (buried.error or buried.reason).rstrip(".")
    raise_notice(
        unit,
        kind=UNENDED,
        subject=f"session:{ending.session}",
        key=f"{UNENDED}:{ending.session}:{buried.id}",
        text=f"Ending {ending.session} was given up, so something of it may still run: {why}. "
        f"Mend that, then try again with: holdfast jobs redrive {buried.id}",
        scope=row["project"],
    )
    _lets_live(unit, ending, row, why)


def end_cancelled(unit: Unit, taken: Buried) -> None:
    """A person has taken an end back: nobody is told of it any more, and the session is what looks find."""
    ending: Ending | None = taken.payload
    if ending is None:
        return
    let_go(unit, taken)
    resolve_about(unit, UNENDED, f"session:{ending.session}")
    row = unit.one(SQL.by_id, id=ending.session)
    if row is not None and not any(each["kind"] == KILL.name for each in _live(unit, row, taken.id)):
        _lets_live(unit, ending, row, "its end was taken back by hand")


def _lets_live(unit: Unit, ending: Ending, row: Row, why: str) -> None:
    if ending.reason is None:
        return
    unit.run(SQL.call_off_end, id=ending.session)
    unit.announce(door.TOPIC)
    if row["alive_since"] is None and row["state"] not in TERMINAL:  # no look would ever find anything of it
        conclude(unit, ending.session, Failed(ending.launch, "kill", why))
        queue.enqueue(unit, CLEANUP, Cleaning(ending.session), key=ending.session)


def _live(unit: Unit, row: Row, besides: int) -> list[Row]:
    """What sagas still owe a session, besides one of them."""
    owed = unit.all(SQL.owed, session=row["id"])
    return [each for each in owed if each["state"] != "dead" and each["id"] != besides]


def _goes_on(unit: Unit, row: Row, besides: int) -> bool:
    """Whether the session waits for another start than that one, or has one under way."""
    if row["wanted"] is not None and row["admitted_at"] is None:
        return True
    return any(each["kind"] in {SPAWN.name, RESTORE.name} for each in _live(unit, row, besides))


def conclude(unit: Unit, session: str, observation: Failed | Killed) -> None:
    """The end of a session on a saga's word: its place is free, and nothing waits any more for its first launch."""
    door.observe(unit, session, observation)
    give_place_back(unit, session)
    row = unit.one(SQL.by_id, id=session)
    if row is None or row["launch"] or row["state"] not in TERMINAL:
        return
    for waiting in unit.all(SQL.unsaid, session=session):
        messages.gave_up(unit, waiting["id"], "its session ended before its agent was ever started")


def let_go(unit: Unit, buried: Buried) -> None:
    """Another saga may have the session."""
    if buried.payload is not None:
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
