"""The one door of reactions: what the facts of a session and its pulls owe now, in the caller's unit of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from holdfast.core import faults
from holdfast.core.instants import parse_stamp
from holdfast.core.propagation import queue
from holdfast.fleet.reactions import rows
from holdfast.fleet.reactions.decide import Again, Miss, Over, Owe, TakeBack, steps
from holdfast.fleet.reactions.facts import Budget
from holdfast.fleet.reactions.kinds import KINDS, Telling, key_of
from holdfast.fleet.reactions.table import REACTIONS
from holdfast.notify.notices import reopen, resolve

if TYPE_CHECKING:
    from holdfast.core.propagation.kinds import Buried
    from holdfast.core.store.port import Unit
    from holdfast.fleet.messages.words import State as MessageState
    from holdfast.fleet.reactions.facts import Case, Nudge

SQL = rows.SQL
OWED = faults.point("reaction.owed", "a reaction is owed in the unit of its fact, which has not committed")


def react(unit: Unit, session: str) -> None:
    """Owe what the facts of this session and of its pulls now call for, and take back what they do not any more."""
    case = rows.case_of(unit, session, unit.at)
    if case is None:
        return
    for step in tuple(steps(case, REACTIONS)):
        match step:
            case Owe():
                _owe(unit, case, step)
            case Miss():
                _add(unit, case, step, "suppressed", step.why)
            case TakeBack():
                _take_back(unit, step.nudge, step.why)
            case Over():
                resolve(unit, notice_key(session, step.nudge))
                _settle(unit, step.nudge.id, "over", None)
            case Again():
                reopen(unit, notice_key(session, step.nudge))
                _settle(unit, step.nudge.id, "told", None)
            case _:
                assert_never(step)


def message_moved(unit: Unit, message: int, session: str, start: MessageState, end: MessageState) -> None:
    """A message has moved along its table: one that a reaction sent may have been missed, or its end be unknown."""
    if "unknown" in {start, end}:
        react(unit, session)
    elif end in {"failed", "suppressed"}:
        nudge = unit.one(SQL.of_message, message=message)
        if nudge is not None and nudge["state"] == "sent":
            react(unit, session)


def died(unit: Unit, telling: Telling, row: Buried) -> None:
    """What was to tell of a nudge is dead."""
    reason = row.error or row.reason
    nudge = unit.one(SQL.nudge, id=telling.nudge)
    if nudge is None or (nudge["state"], nudge["rounds"]) != ("owed", telling.round):
        return
    budget = msgspec.structs.replace(rows.budget_of(nudge["budget"]), row=row.id)
    unit.run(SQL.die, id=telling.nudge, reason=reason, budget=rows.budget_text(budget), at=unit.at)
    react(unit, telling.session)


def notice_key(session: str, nudge: Nudge) -> str:
    """The key of the notice by which people are told of a nudge."""
    if nudge.reaction == "dead-letter":  # resolved with all that was said of that job, once it is dead no longer
        return f"{nudge.reaction}:{nudge.signature}:{session}"
    return f"{nudge.reaction}:{session}:{nudge.signature}"


def _owe(unit: Unit, case: Case, step: Owe) -> None:
    if step.nudge is None:
        number, rounds = _add(unit, case, step, "owed", None), 1
        if number is None:
            return
    else:
        number, rounds = step.nudge.id, step.nudge.rounds + 1
        budget = rows.budget_text(Budget(step.wanted.charged, step.wanted.about))
        unit.run(SQL.owe_again, id=number, rounds=step.nudge.rounds, budget=budget, at=unit.at)
    due = step.wanted.due
    at = parse_stamp(due) if due is not None and due > unit.at else None
    telling = Telling(number, rounds, case.facts.id)
    queue.enqueue(unit, KINDS[step.reaction.name], telling, key=key_of(number, rounds), at=at)
    OWED()


def _add(unit: Unit, case: Case, step: Owe | Miss, state: str, reason: str | None) -> int | None:
    wanted = step.wanted
    row = unit.one(
        SQL.add,
        session=case.facts.id,
        project=case.project,
        reaction=step.reaction.name,
        signature=wanted.signature,
        pull=wanted.pull,
        budget=rows.budget_text(Budget(wanted.charged, wanted.about)),
        state=state,
        reason=reason,
        at=unit.at,
        settled_at=None if state == "owed" else unit.at,
    )
    return None if row is None else int(row["id"])


def _take_back(unit: Unit, nudge: Nudge, why: str) -> None:
    from holdfast.fleet.messages import rows as messages  # noqa: PLC0415 - messages tell reactions what became of them

    _settle(unit, nudge.id, "suppressed", why)
    if nudge.state == "owed":
        queue.cancel(unit, KINDS[nudge.reaction], key_of(nudge.id, nudge.rounds), why)
    elif nudge.message is not None:
        messages.suppress(unit, nudge.message, why)


def _settle(unit: Unit, nudge: int, state: str, reason: str | None) -> None:
    unit.run(SQL.settle, id=nudge, state=state, reason=reason, at=unit.at)
