"""Tells what is owed: looks at the facts again, then writes the message or the notice and its record in one unit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from holdfast.core import faults
from holdfast.core.instants import parse_stamp
from holdfast.core.propagation import queue
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Wait
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.reactions import rows
from holdfast.fleet.reactions.decide import ENDED, charged, holding, target
from holdfast.fleet.reactions.door import notice_key, react
from holdfast.fleet.reactions.facts import Budget
from holdfast.fleet.reactions.kinds import KINDS, Telling, key_of
from holdfast.fleet.reactions.table import BY_NAME, RANK
from holdfast.fleet.reactions.texts import LOG_CHARACTERS, Material, logs_of, text_of
from holdfast.notify.notices import raise_notice

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from holdfast.core.clock import Clock
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.kinds import Handler, Kind
    from holdfast.core.store.port import Reader, Row, Store, Unit
    from holdfast.fleet.reactions.decide import Reaction
    from holdfast.fleet.reactions.facts import Case, Nudge, Wanted

SQL = rows.SQL
STARTED = faults.point("reaction.started", "what tells a reaction has begun, and nobody has been told")
TOLD = faults.point("reaction.told", "a message or a notice of a reaction is written in a unit that has not committed")

#: One that is declared earlier is told earlier, if it was owed at about the same time: for so long it is waited for.
_TURN_SECONDS = 5.0
_LOOK_SECONDS = 1.0


def handlers(store: Store, clock: Clock) -> Mapping[Kind[Any], Handler]:
    """The handlers of all reactions."""
    tells = Tells(store, clock)
    return dict.fromkeys(KINDS.values(), tells)


class Tells:
    """The handler of `reaction.*`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def __call__(self, job: Job[Telling]) -> Outcome:
        """Tell it, when its turn has come."""
        STARTED()
        now = self._clock.stamp()
        waits = await self._store.read(partial(_waits, telling=job.payload, now=now))
        if waits is not None:
            return waits
        return Done(partial(_tell, telling=job.payload))


def _waits(reader: Reader, telling: Telling, now: str) -> Outcome | None:
    """What is in the way of telling it now."""
    nudge = reader.one(SQL.nudge, id=telling.nudge)
    if nudge is None:
        return Cancel("the nudge is not there any more")
    age = (parse_stamp(now) - parse_stamp(nudge["owed_at"])).total_seconds()
    if not _stands(nudge, telling) or not 0 <= age < _TURN_SECONDS:
        return None
    for other in reader.all(SQL.going, session=nudge["session"], now=now):
        reaction = BY_NAME.get(other["reaction"])
        if reaction is not None and reaction.to == "agent" and RANK[reaction.name] < RANK[nudge["reaction"]]:
            return Wait(f"{reaction.name} is told first", _LOOK_SECONDS)
    return None


def _stands(nudge: Row, telling: Telling) -> bool:
    """Whether this is what is to be told of it: neither told nor taken back, nor owed anew since."""
    return nudge["state"] in {"owed", "dead"} and nudge["rounds"] == telling.round


def _tell(unit: Unit, telling: Telling) -> None:
    row = unit.one(SQL.nudge, id=telling.nudge)
    if row is None or not _stands(row, telling):
        return
    case = rows.case_of(unit, row["session"], unit.at)
    reaction = BY_NAME[row["reaction"]]
    nudge = None if case is None else case.nudge(row["reaction"], row["signature"])
    if case is None or nudge is None:
        return
    wanted = next((each for each in holding(case, reaction) if each.signature == nudge.signature), None)
    missing = _missing(case, reaction, wanted)
    if wanted is None or missing is not None:
        unit.run(SQL.settle, id=nudge.id, state="suppressed", reason=missing, at=unit.at)
    else:
        _say(unit, case, reaction, wanted, nudge)
    if row["state"] == "dead" or missing == ENDED:
        react(unit, case.facts.id)
    for other in unit.all(SQL.going, session=case.facts.id, now=unit.at):
        queue.resume(unit, KINDS[other["reaction"]], key_of(other["id"], other["rounds"]))


def _missing(case: Case, reaction: Reaction, wanted: Wanted | None) -> str | None:
    """Why it is not told."""
    if case.rules.of(reaction.name).off:
        return "the project has turned it off"
    if wanted is None:
        return "what it was about is over"
    if case.ended and target(case, reaction) == "agent":
        return ENDED
    return None


def _say(unit: Unit, case: Case, reaction: Reaction, wanted: Wanted, nudge: Nudge) -> None:
    """In one unit: the message or the notice, and the record of it with what it used up."""
    session, pull = case.facts.id, case.pull(wanted.pull)
    logs: list[Row] = []
    if reaction.name == "ci-failed" and pull is not None:
        logs = unit.all(SQL.logs, pull=pull.id, commit=pull.head, most=LOG_CHARACTERS)
    text = text_of(reaction, Material(case, wanted, logs_of(logs)))
    # More may have failed since it was owed: what is told now is used up now.
    told = Budget(charged(case, reaction, wanted) or nudge.budget.charged, wanted.about)
    message = None
    if target(case, reaction) == "agent":
        message = messages.add(unit, session, case.project, kind="message", text=text, by=f"reaction:{reaction.name}")
    else:
        raise_notice(
            unit,
            kind=reaction.name,
            subject=f"session:{session}" if pull is None else f"pull:{pull.id}",
            key=notice_key(session, nudge),
            text=text,
            scope=case.project,
        )
    TOLD()
    state = "told" if message is None else "sent"
    unit.run(SQL.tell, id=nudge.id, state=state, message=message, budget=rows.budget_text(told), at=unit.at)
