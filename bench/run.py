"""One run: where it works, how long it may take, and who reports what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure
from bench.machine import Others


@dataclass(frozen=True)
class Run:
    """What every measurement is given."""

    folder: Path
    quick: bool
    #: Knows what other programs take, and must be told of what only looks like one.
    others: Others

    def rounds(self, full: int, quick: int = 3, *, budget: float = 15.0) -> Iterator[int]:
        """Paired rounds; on a slow or busy machine fewer than asked for, but never less than two where two were."""
        begin = time.monotonic()
        for number in range(quick if self.quick else full):
            if number > 1 and time.monotonic() - begin > budget:
                return
            yield number

    def place(self, name: str) -> Path:
        """A fresh folder of the run."""
        number = 0
        while (path := self.folder / f"{name}-{number}").exists():
            number += 1
        path.mkdir()
        return path


Measure = Callable[[Run], Iterable[Figure]]
