"""One turn of the runner at the store: writes what has come to an outcome, claims what there is room for; one unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import TYPE_CHECKING

from holdfast.core import faults, logs
from holdfast.core.propagation import claims
from holdfast.core.propagation.claims import Claimed, Due, Settled
from holdfast.core.propagation.foreign import unmet
from holdfast.core.propagation.plan import Answer, Ask, reached
from holdfast.core.store.port import Act

if TYPE_CHECKING:
    from holdfast.core.store.port import Store, Unit

SETTLED = faults.point("propagation.settled", "outcomes are written for good")

_ACT = Act("daemon", "propagations")

_log = logs.get("propagation")


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn brought back."""

    late: int
    answers: list[Answer]
    claimed: list[Claimed]


class Turns:
    """The turns of one process; each claim of theirs has a token of its own."""

    def __init__(self, store: Store, owner: str) -> None:
        #: Outcomes that came after their lease was lost; nothing of them was written.
        self.late = 0
        self._store = store
        self._owner = owner
        self._numbers = count(1)

    async def take(self, settled: list[Settled], asks: list[Ask]) -> Turn:
        """Write and claim."""
        tokens = [f"{self._owner}.{next(self._numbers)}" for _ in asks]

        def work(unit: Unit) -> Turn:
            late = claims.settle(unit, settled) if settled else 0
            answers, claimed = _claim_all(unit, asks, tokens)
            return Turn(late, answers, claimed)

        turn = await self._store.unit(_ACT, work, guarded=True)
        if settled:
            SETTLED()
        if turn.late:
            self.late += turn.late
            _log.warning("outcomes came too late", rows=turn.late)
        return turn


def _claim_all(unit: Unit, asks: Sequence[Ask], tokens: Sequence[str]) -> tuple[list[Answer], list[Claimed]]:
    """Claim for every kind that is asked for; one suspect at most, whatever its kind."""
    looks = [ask.kind.name for ask in asks if ask.look]
    due = claims.due(unit, looks) if looks else {}
    answers: list[Answer] = []
    claimed: list[Claimed] = []
    suspicious = _longest_waiting_suspect(asks, due, unit.at)
    for ask, token in zip(asks, tokens, strict=True):
        when = due.get(ask.kind.name)
        is_due = when is None or reached(when.fresh, unit.at) or (ask.suspect and reached(when.suspect, unit.at))
        blocked = unmet(ask.kind, unit) if is_due else None
        suspects: list[Claimed] = []
        fresh: list[Claimed] = []
        if blocked is None:
            if ask.kind.name == suspicious:
                suspects = claims.claim_suspect(unit, ask.kind, token)
            room = ask.limit - ask.kind.batch * len(suspects)
            if room > 0 and (when is None or reached(when.fresh, unit.at)):
                fresh = claims.claim(unit, ask.kind, token, room)
        answers.append(Answer(ask, len(fresh), len(suspects), when, blocked))
        claimed += suspects
        claimed += fresh
    return answers, claimed


def _longest_waiting_suspect(asks: Sequence[Ask], due: Mapping[str, Due], now: str) -> str | None:
    """The kind whose suspect has its turn: one that is due again and again must not keep the others from theirs."""
    waiting = [
        (when.suspect, ask.kind.name)
        for ask in asks
        if ask.suspect and (when := due.get(ask.kind.name)) is not None and when.suspect is not None
    ]
    at, kind = min(waiting, default=("", None))
    return kind if reached(at, now) else None


def batches(rows: list[Claimed]) -> Iterator[list[Claimed]]:
    """Rows as they are tried: those of cheap kinds together, a suspect always alone."""
    for (_, suspect), run in groupby(rows, key=lambda row: (row.kind.name, row.suspect)):
        of_kind = list(run)
        size = 1 if suspect else of_kind[0].kind.batch
        for start in range(0, len(of_kind), size):
            yield of_kind[start : start + size]
