"""Dead letters: people are told of every propagation that dies, until somebody starts it afresh or takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.instants import parse_stamp, seconds, stamp
from holdfast.core.propagation.deaths import Deathwatch
from holdfast.core.propagation.kinds import Buried
from holdfast.core.store.sql import load
from holdfast.notify import notices
from holdfast.notify.effects import KINDS, Send

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit

SQL = load("holdfast.notify", "letters.sql")

DEAD_LETTER, SEND_FAILED = "dead-letter", "send-failed"
_OURS = frozenset(kind.name for kind in KINDS)
#: Deaths that nobody was told of are looked for so far back, in seconds.
_BACK = 86_400.0
#: So many are set right in one unit of work.
_CHUNK = 200
_LONGEST_ERROR = 500


def died(unit: Unit, kind: str, row: Buried) -> None:
    """A propagation has died. The death of a send is only kept: to send it would be to go round in a circle."""
    why = f"{row.reason}: {row.error}"[:_LONGEST_ERROR] if row.error else row.reason
    what = f"Job {row.id} of {kind} is dead ({why})."
    subject = f"jobs:{kind}"
    if kind in _OURS:
        payload = row.payload
        if isinstance(payload, Send):
            subject = f"channel:{payload.channel}"
            what = f"Channel {payload.channel} could not be given notice {payload.notice} ({why})."
    notices.raise_notice(
        unit,
        kind=SEND_FAILED if kind in _OURS else DEAD_LETTER,
        subject=subject,
        key=f"{DEAD_LETTER}:{row.id}:{unit.at}",
        text=f"{what} Look at it with `holdfast jobs show {row.id}`, then start it afresh with "
        f"`holdfast jobs redrive {row.id}` or take it back with `holdfast jobs cancel {row.id}`.",
        scope="system",
    )


def undone(unit: Unit, row_id: int) -> None:
    """It is dead no longer."""
    notices.resolve_all(unit, f"{DEAD_LETTER}:{row_id}")


WATCH = Deathwatch(died, undone)


def set_right(unit: Unit) -> int:
    """Tell of deaths that came without their facts, and resolve what a pack has taken back by itself; how many."""
    since = stamp(parse_stamp(unit.at) - seconds(_BACK))
    untold = unit.all(SQL.untold, since=since, limit=_CHUNK)
    for row in untold:
        died(unit, row["kind"], Buried(row["id"], row["key"], None, row["reason"] or "", row["error"]))
    outlived = unit.all(SQL.outlived, limit=_CHUNK)
    for row in outlived:
        notices.resolve(unit, row["key"])
    return len(untold) + len(outlived)
