"""The kind of effect that brings a message to its agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.core.propagation.kinds import Buried, Kind, Timeouts
from holdfast.core.propagation.schedule import INTERACTIVE

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit


class Saying(msgspec.Struct, frozen=True):
    """A message that is to reach its agent."""

    message: int
    session: str
    #: Whether it goes before what was said earlier: what an agent that goes on is told of its interruption.
    first: bool = False


def _lane(saying: Saying) -> str:
    """What is said to a session is said in order; while something goes first, the others wait by themselves."""
    return f"{saying.session} first" if saying.first else saying.session


def _buried(unit: Unit, row: Buried) -> None:
    from holdfast.fleet.messages import rows  # noqa: PLC0415 - it owes effects of this kind

    if row.payload is None:
        return  # of a version that this one cannot read: which message it was is not known
    rows.gave_up(unit, row.payload.message, f"its delivery was given up ({row.reason}): {row.error or 'no outcome'}")


def _cancelled(unit: Unit, row: Buried) -> None:
    from holdfast.fleet.messages import rows  # noqa: PLC0415 - it owes effects of this kind

    if row.payload is not None:
        rows.called_off(unit, row.payload.message, "its delivery was cancelled by hand")


# A runtime or a store that does not answer makes it wait, which is no failure: what fails is a bug, and soon over.
MESSAGE: Kind[Saying] = Kind(
    name="fleet.message",
    doc="Types a message to an agent, submits it, and finds out whether the agent has it.",
    payload=Saying,
    schedule=INTERACTIVE,
    lane=_lane,
    concurrency=16,
    timeouts=Timeouts(call=20, item=28, lease=38),  # a large text goes as fast as the agent reads it
    buried=_buried,
    cancelled=_cancelled,
)
