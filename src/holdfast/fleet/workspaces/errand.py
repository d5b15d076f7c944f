"""What a thread works for: the marks of the processes that it starts, and whether it may start another one."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from holdfast.core.errors import Unavailable


@dataclass(slots=True, eq=False)
class Errand:
    """A piece of blocking work, which others can call off."""

    #: What is put into the environment of every git of it, and so of the filters that git runs.
    marks: Mapping[str, str]
    _called_off: bool = False
    _starting: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """What this thread starts meanwhile is started for this errand."""
        token = _present.set(self)
        try:
            yield
        finally:
            _present.reset(token)

    def call_off(self) -> None:
        """It starts no process any more; those that it has started are there to be found when this returns."""
        with self._starting:
            self._called_off = True

    @contextmanager
    def starts(self) -> Iterator[Mapping[str, str]]:
        """A process is started for it: its marks; `Unavailable` once it was called off."""
        with self._starting:
            if self._called_off:
                message = "This was called off: its session is to end, or the daemon. Nothing is to be done about it."
                raise Unavailable(message)
            yield self.marks


_present: ContextVar[Errand | None] = ContextVar("errand", default=None)


@contextmanager
def starting() -> Iterator[Mapping[str, str]]:
    """Around the start of a process: the marks that it has to bear, if this thread works for an errand."""
    errand = _present.get()
    if errand is None:
        yield {}
        return
    with errand.starts() as marks:
        yield marks
