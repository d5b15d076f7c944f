"""When a session's branch may be worth a pull: its agent says that it is done, or has rested for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.propagation import queue
from holdfast.fleet.forges.kinds import PULL, Pulling

if TYPE_CHECKING:
    from holdfast.core.store.port import Row, Unit
    from holdfast.fleet.sessions.facts import Facts

#: An agent that has been idle for so long, in seconds, may have forgotten to say that it is done.
REST_SECONDS = 60.0


def session_moved(unit: Unit, row: Row, before: Facts, after: Facts) -> None:
    """Owe a look at the branch when that may be due; one that came too early looks again by itself."""
    if after.done_at is not None and after.done_at != before.done_at:
        queue.supersede(unit, PULL, Pulling(row["id"]), key=row["id"])
    elif after.state == "idle" and before.state != "idle" and after.done_at is None:
        queue.enqueue(unit, PULL, Pulling(row["id"]), key=row["id"], at=queue.delayed(unit, REST_SECONDS))
