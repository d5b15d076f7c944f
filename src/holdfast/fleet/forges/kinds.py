"""The kinds of effects about pulls: to open or look at one, to run its checks, to merge it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from holdfast.core.propagation.kinds import Buried, Kind, Timeouts
from holdfast.core.propagation.schedule import INTERACTIVE, STANDARD

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit

#: Git at a big repository takes its time; a cut between two tries does no harm.
_LONG = Timeouts(call=120, item=280, lease=290, rescue=300, drain=310, stop=320)


class Pulling(msgspec.Struct, frozen=True):
    """A session whose branch may be worth a pull, or one pull that is to be looked at."""

    session: str
    pull: str | None = None
    #: Who asked for it; none where it follows from what the agent does.
    by: str | None = None


class Checking(msgspec.Struct, frozen=True):
    """A pull whose head is to be checked."""

    pull: str


class Merging(msgspec.Struct, frozen=True):
    """A merge that is wanted."""

    pull: str
    how: Literal["ff", "merge", "squash"]
    by: str


def _buried_merge(unit: Unit, row: Buried) -> None:
    from holdfast.fleet.forges import wishes  # noqa: PLC0415 - it owes effects of this kind

    if row.payload is not None:
        wishes.gave_up(unit, row.payload.pull, f"The merge was given up ({row.reason}): {row.error or 'no outcome'}")


def _buried_check(unit: Unit, row: Buried) -> None:
    from holdfast.fleet.forges import settling  # noqa: PLC0415 - it owes effects of this kind

    if row.payload is not None:
        settling.let_go(unit, row.payload.pull, f"It was given up ({row.reason}): {row.error or 'no outcome'}")


# Keys are the pull's id, or the session's where a pull may be opened: these look different, and are lanes of their own.
PULL = Kind(
    name="fleet.pull",
    doc="Opens a pull of a session's branch, or looks at one as it stands now.",
    payload=Pulling,
    schedule=STANDARD,
    unique="pending",
    concurrency=4,
    timeouts=_LONG,
)
CHECK = Kind(
    name="fleet.check",
    doc="Runs the project's checks on the commit that a pull stands at.",
    payload=Checking,
    schedule=STANDARD,
    unique="pending",
    concurrency=16,
    buried=_buried_check,
)
MERGE = Kind(
    name="fleet.merge",
    doc="Merges a pull into its base, or says why not.",
    payload=Merging,
    schedule=INTERACTIVE,
    unique="pending",
    concurrency=4,
    timeouts=_LONG,
    buried=_buried_merge,
)
KINDS = (PULL, CHECK, MERGE)
