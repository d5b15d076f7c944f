"""The kinds of sagas: what each is asked for. One of a session is owed at a time, and is done in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.core.propagation.kinds import Buried, Kind, Timeouts
from holdfast.core.propagation.schedule import INTERACTIVE, STANDARD
from holdfast.fleet.sessions.facts import Reason

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit

#: A worktree of a big repository is written, or captured, in minutes; a cut between two tries does no harm.
_LONG = Timeouts(call=120, item=280, lease=290, rescue=300, drain=310, stop=320)


class Launching(msgspec.Struct, frozen=True):
    """A launch that is to come to life."""

    session: str
    launch: int


class Ending(msgspec.Struct, frozen=True):
    """An end that is to be brought about, or proved. Without a reason it is only about what is left of a launch."""

    session: str
    launch: int
    reason: Reason | None
    why: str


class Cleaning(msgspec.Struct, frozen=True):
    """A worktree whose work is to be kept, and which is then to be removed."""

    session: str


def _buried_launch(unit: Unit, row: Buried) -> None:
    from holdfast.fleet.sagas import failing  # noqa: PLC0415 - it writes sessions, whose door knows these kinds

    failing.launch_died(unit, row)


def _buried_work(unit: Unit, row: Buried) -> None:
    from holdfast.fleet.sagas import failing  # noqa: PLC0415

    failing.let_go(unit, row)


def _buried_end(unit: Unit, row: Buried) -> None:
    from holdfast.fleet.sagas import failing  # noqa: PLC0415

    failing.end_died(unit, row)


def _cancelled_end(unit: Unit, row: Buried) -> None:
    from holdfast.fleet.sagas import failing  # noqa: PLC0415

    failing.end_cancelled(unit, row)


SPAWN = Kind(
    name="fleet.spawn",
    doc="Makes a session's worktree and starts its agent.",
    payload=Launching,
    schedule=INTERACTIVE,
    unique="pending",
    concurrency=8,
    max_starts=3,
    timeouts=_LONG,
    buried=_buried_launch,
    cancelled=_buried_launch,
)
RESTORE = Kind(
    name="fleet.restore",
    doc="Starts the agent of an ended session again, in its own worktree and conversation.",
    payload=Launching,
    schedule=INTERACTIVE,
    unique="pending",
    concurrency=8,
    max_starts=3,
    timeouts=_LONG,
    buried=_buried_launch,
    cancelled=_buried_launch,
)
KILL = Kind(
    name="fleet.kill",
    doc="Ends an agent and everything it left behind, and proves that it is gone.",
    payload=Ending,
    schedule=INTERACTIVE,
    unique="pending",
    concurrency=8,
    buried=_buried_end,
    cancelled=_cancelled_end,
)
CLEANUP = Kind(
    name="fleet.cleanup",
    doc="Keeps the work of an ended session, then removes its worktree.",
    payload=Cleaning,
    schedule=STANDARD,
    unique="pending",
    concurrency=2,
    timeouts=_LONG,
    buried=_buried_work,
    cancelled=_buried_work,
)
KINDS = (SPAWN, RESTORE, KILL, CLEANUP)
