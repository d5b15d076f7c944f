"""Who is told when a propagation dies, and when a dead one is started afresh or taken back; in the same unit of work.

Packs declare it. The death of a row of a kind that is known here comes as its kind's own `buried` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.core.propagation.kinds import Buried
    from holdfast.core.store.port import Unit


@dataclass(frozen=True, slots=True)
class Deathwatch:
    """What one pack does about the dead. Both may be called more than once for one row."""

    #: A row of a kind has just died.
    died: Callable[[Unit, str, Buried], object]
    #: The row of this number is dead no longer.
    undone: Callable[[Unit, int], object]


def tell_died(watches: Iterable[Deathwatch], unit: Unit, kind: str, row: Buried) -> None:
    """A row of a kind has died."""
    for watch in watches:
        watch.died(unit, kind, row)


def tell_undone(watches: Iterable[Deathwatch], unit: Unit, row_id: int) -> None:
    """A row is dead no longer."""
    for watch in watches:
        watch.undone(unit, row_id)
