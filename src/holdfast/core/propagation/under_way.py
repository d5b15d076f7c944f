"""What this process is doing: the rows whose leases it holds, and who is trying which of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.core.propagation.claims import Claimed
    from holdfast.core.propagation.kinds import Kind


@dataclass(eq=False, slots=True)
class Driver:
    """One task that tries rows, one after the other."""

    rows: list[Claimed]
    #: Called once, when there is room again.
    on_end: Callable[[Driver], None]
    task: asyncio.Task[None] | None = None
    #: What it is trying, and since when on the steady clock.
    trying: Claimed | None = None
    since: float = 0.0
    ended: bool = False
    #: Whether we have cancelled it; a handler may cancel itself, too.
    cut: bool = False

    @property
    def suspect(self) -> bool:
        """Whether it tries a row of which an earlier start came to no outcome."""
        return self.rows[0].suspect

    def ended_by(self, task: asyncio.Task[None]) -> None:
        """Its task is over; one that it has left behind says nothing."""
        if task is self.task:
            self.end()

    def cancel(self) -> None:
        """Break off what it is trying."""
        self.cut = True
        if self.task is not None:
            self.task.cancel()

    def end(self) -> None:
        """It takes up no room any more; saying so twice does nothing."""
        if not self.ended:
            self.ended = True
            self.on_end(self)


class UnderWay:
    """Rows from their claim until what became of them is written."""

    def __init__(self) -> None:
        self._drivers: dict[int, Driver] = {}
        self._claims: dict[int, Claimed] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, row_and_claim: tuple[int, str]) -> bool:
        row = self._claims.get(row_and_claim[0])
        return row is not None and row.claim == row_and_claim[1]

    def add(self, driver: Driver) -> None:
        """Rows are ours; one that we still try under a claim that was lost is broken off."""
        for row in driver.rows:
            before = self._claims.get(row.id)
            if before is not None:
                self.break_off(before)
            self._claims[row.id] = row
            self._drivers[row.id] = driver

    def forget(self, row: Claimed) -> None:
        """A row is not ours any more, or never to be written of; another claim of it is not meant."""
        if (row.id, row.claim) in self:
            del self._claims[row.id], self._drivers[row.id]

    def by_kind(self) -> list[tuple[Kind[Any], list[Claimed]]]:
        """The rows, by kind."""
        found: dict[str, list[Claimed]] = {}
        for row in self._claims.values():
            found.setdefault(row.kind.name, []).append(row)
        return [(rows[0].kind, rows) for rows in found.values()]

    def drivers(self) -> Iterator[Driver]:
        """Everyone who tries something, once."""
        return iter({id(driver): driver for driver in self._drivers.values()}.values())

    def rows(self) -> list[Claimed]:
        """Every row."""
        return list(self._claims.values())

    def break_off(self, row: Claimed) -> None:
        """Somebody else has the row: stop doing it. A batch goes on; what it does of that row counts for nothing."""
        if (row.id, row.claim) not in self:
            return
        driver = self._drivers[row.id]
        self.forget(row)
        if len(driver.rows) == 1:
            driver.cancel()
