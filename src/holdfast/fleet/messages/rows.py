"""Messages as rows: added, moved along the table, and settled where evidence comes, always in the caller's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.propagation import queue
from holdfast.core.store.sql import load
from holdfast.fleet.messages import evidence, words
from holdfast.fleet.messages.kinds import MESSAGE, Saying
from holdfast.fleet.messages.words import AFTER, BEFORE, OVER, Kind, State

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit

SQL = load("holdfast.fleet.messages", "messages.sql")


def topic(session: str) -> str:
    """Announced by every unit that may bring evidence for a message to this session."""
    return f"fleet.session.{session}"


def add(unit: Unit, session: str, project: str, *, kind: Kind, text: str, by: str) -> int:
    """Say something to an agent: the number of the message. It goes out after all that was said before it.

    A notice goes out before: an agent that goes on is to know that it was interrupted before it reads anything else. An
    earlier one that it was never told says nothing that this one does not.
    """
    cleaned = words.sayable(kind, text)
    if kind == "notice":
        for untold in unit.all(SQL.untold, session=session):
            suppress(unit, untold["id"], "it was interrupted once more, and is told of that")
    row = unit.one(
        SQL.add,
        session=session,
        project=project,
        kind=kind,
        reason=cleaned.words,
        at=unit.at,
        by=by,
        text=cleaned.text,
    )
    assert row is not None  # the statement returns the row that it writes
    queue.enqueue(unit, MESSAGE, Saying(int(row["id"]), session, first=kind == "notice"), key=session)
    return int(row["id"])


def given(unit: Unit, message: int, launch: int, offset: int = 0) -> bool:
    """The command line of this launch, which lives, carries the text; whether that is news.

    Belongs into the unit that says that the launch lives: a prompt that still waits then is typed. The launch's output
    is recorded from the offset on.
    """
    row = unit.one(SQL.head, id=message)
    if row is None or row["state"] not in BEFORE:
        return False
    move(unit, message, row["state"], "submitted", None)
    unit.run(SQL.intend, id=message, launch=launch, offset_at=offset)
    look_again(unit, row["session"])
    return True


def move(unit: Unit, message: int, start: State, end: State, reason: str | None) -> bool:
    """Move a message that is where it is thought to be; whether it was. Reactions are told of it.

    What was left out of its text stays in its reason.
    """
    words.check(start, end)
    row = unit.one(SQL.head, id=message)
    if row is None or row["state"] != start:
        return False
    said = words.reason_of(reason, row["reason"])
    if not unit.run(SQL.move, id=message, start=start, end=end, reason=said, at=unit.at):
        return False
    _tell(unit, row, end)
    if row["kind"] == "notice" and end in OVER:
        look_again(unit, row["session"])  # what was said before it has waited for that
    return True


def suppress(unit: Unit, message: int, why: str) -> bool:
    """Take back what has not been typed; whether that was in time."""
    row = unit.one(SQL.head, id=message)
    if row is None or row["state"] not in BEFORE:
        return False
    return move(unit, message, row["state"], "suppressed", why)


def heard(unit: Unit, session: str, launch: int, submitted: str | None) -> int | None:
    """An agent has said something; `submitted` is the text that was submitted to it, where it told that.

    Belongs into the unit that takes the signal. The message that it is evidence for, if it is: that one is confirmed.
    """
    look_again(unit, session)
    if submitted is None:
        return None
    rows = unit.all(SQL.undecided, session=session, launch=launch)
    # The same words may have been said twice: what is under way comes before what was given up.
    for row in sorted(rows, key=lambda row: (row["state"] == "unknown", row["id"])):
        if evidence.is_submission(row["text"], submitted):
            move(unit, row["id"], row["state"], "confirmed", "the agent said that it was submitted")
            return int(row["id"])
    return None


def look_again(unit: Unit, session: str) -> None:
    """Let messages of a session that wait be looked at now, if there are any: agents say a lot when there are none."""
    if unit.one(SQL.under_way, session=session) is None:
        return
    queue.resume(unit, MESSAGE, session)
    unit.announce(topic(session))


def gave_up(unit: Unit, message: int, why: str) -> None:
    """Nobody does anything about it any more."""
    row = unit.one(SQL.head, id=message)
    if row is not None and row["state"] in BEFORE | AFTER:
        move(unit, message, row["state"], "failed" if row["state"] in BEFORE else "unknown", why)


def called_off(unit: Unit, message: int, why: str) -> None:
    """A person has taken back its delivery: what was not typed never is; of what was, nobody looks for evidence."""
    row = unit.one(SQL.head, id=message)
    if row is not None and row["state"] in BEFORE | AFTER:
        move(unit, message, row["state"], "suppressed" if row["state"] in BEFORE else "unknown", why)


def page(reader: Reader, session: str, after: int, limit: int) -> list[Row]:
    """Messages of a session in their order, from behind one of them."""
    return reader.all(SQL.page, session=session, after=after, limit=limit)


def by_id(reader: Reader, message: int) -> Row | None:
    """One message."""
    return reader.one(SQL.by_id, id=message)


def _tell(unit: Unit, row: Row, end: State) -> None:
    """Reactions learn of it: people are told of an end that nobody can know, and that is over when it is known."""
    from holdfast.fleet.reactions import door  # noqa: PLC0415 - it takes messages back

    door.message_moved(unit, row["id"], row["session"], row["state"], end)
