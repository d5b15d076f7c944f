"""The kinds of effects that tell of reactions: one for each, so that each waits, fails and is capped on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.core.propagation.kinds import Buried, Kind
from holdfast.core.propagation.schedule import INTERACTIVE
from holdfast.fleet.reactions.table import REACTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.core.store.port import Unit


class Telling(msgspec.Struct, frozen=True):
    """A nudge that is to be told, and for the how manieth time that is owed."""

    nudge: int
    round: int
    session: str


def _buried(unit: Unit, row: Buried) -> None:
    from holdfast.fleet.reactions import door  # noqa: PLC0415 - it owes effects of these kinds

    if row.payload is not None:
        door.died(unit, row.payload, row)


#: By the name of the reaction. The keys are used once: what a nudge is about is decided before, in a row of its own.
KINDS: Mapping[str, Kind[Telling]] = {
    reaction.name: Kind(
        name=f"reaction.{reaction.name}",
        doc=f"Tells {'the agent' if reaction.to == 'agent' else 'people'}. {reaction.doc}",
        payload=Telling,
        schedule=INTERACTIVE,
        unique="forever",
        buried=_buried,
    )
    for reaction in REACTIONS
}


def key_of(nudge: int, rounds: int) -> str:
    """What an effect is kept under."""
    return f"{nudge}:{rounds}"
