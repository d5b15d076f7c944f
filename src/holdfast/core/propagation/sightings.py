"""Who is alive, told by what moves: nobody's clock is believed but our own steady one. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Of = TypeVar("Of", bound=Hashable)
Mark = TypeVar("Mark", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Sign(Generic[Of, Mark]):
    """A sign of life as it was read: whose, how it looked, and how long it may look the same."""

    of: Of
    mark: Mark
    lasts: float


class Sightings(Generic[Of, Mark]):
    """Since when each sign has looked the same. Wall clocks, ours or others', may jump: they play no part."""

    def __init__(self, longest_gap: float = float("inf")) -> None:
        #: After a longer time without a look nothing is known: whoever could not be seen may have moved all along.
        self._longest_gap = longest_gap
        self._looked = float("-inf")
        self._since: dict[Of, tuple[Mark, float]] = {}

    def lapsed(self, signs: Iterable[Sign[Of, Mark]], steady: float) -> list[Sign[Of, Mark]]:
        """The signs that have not moved for as long as they last; whoever is not among these is forgotten."""
        if steady - self._looked > self._longest_gap:
            self._since = {}
        self._looked = steady
        kept: dict[Of, tuple[Mark, float]] = {}
        found = []
        for sign in signs:
            before = self._since.get(sign.of)
            since = before[1] if before is not None and before[0] == sign.mark else steady
            kept[sign.of] = (sign.mark, since)
            if steady - since >= sign.lasts:
                found.append(sign)
        self._since = kept
        return found
