"""Every forge that there is, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from holdfast.core.errors import Conflict
from holdfast.fleet.forges.local.forge import LocalForge

if TYPE_CHECKING:
    from holdfast.fleet.fleet import Fleet
    from holdfast.fleet.forges.port import Forge

#: What makes each of them for one process.
FORGES: Mapping[str, Callable[[Fleet], Forge]] = {"local": LocalForge}


class Forges:
    """The forges of one process, made when they are asked for."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._made: dict[str, Forge] = {}

    def __getitem__(self, name: str) -> Forge:
        """The forge of this name."""
        if name not in FORGES:
            message = f"There is no forge {name[:80]!r} in this version of Holdfast; there is {', '.join(FORGES)}."
            raise Conflict(f"{message} Change the project's with `holdfast project set`.")
        if name not in self._made:
            self._made[name] = FORGES[name](self._fleet)
        return self._made[name]
