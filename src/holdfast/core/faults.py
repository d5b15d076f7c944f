"""Named points where a test can wait, raise or die; they cost one truth test and do nothing in production.

Every point is declared once, at import, and hit where the code could be torn. `make crash` walks the registry.
A subprocess is armed by `HOLDFAST_FAULTS="<point>=<action>[@<nth hit>][,...]"`, where the action is
`die` (os._exit, as kill -9 does), `stop` (SIGSTOP to itself, until the parent sends SIGCONT) or `raise`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from holdfast.core.errors import HoldfastError

#: The exit status of a process that died at a point: told apart from every other end.
DIED = 86


class FaultRaisedError(HoldfastError):
    """A test asked this point to raise."""

    code = "fault"


@dataclass
class _Armed:
    act: Callable[[], None]
    nth: int = 1
    hits: int = 0


@dataclass(frozen=True)
class Point:
    """A place between two instructions that a test can name."""

    name: str
    doc: str

    def __call__(self) -> None:
        """Pass, unless a test armed this point."""
        if _armed:
            _hit(self.name)

    async def passed(self) -> None:
        """Pass as `__call__` does, without holding the event loop while a test makes it wait."""
        if _armed:
            await asyncio.to_thread(_hit, self.name)


_points: dict[str, Point] = {}
_armed: dict[str, _Armed] = {}


def point(name: str, doc: str) -> Point:
    """Declare a point; a name belongs to one place."""
    if name in _points:
        message = f"fault point {name!r} is declared twice"
        raise ValueError(message)
    _points[name] = Point(name, doc)
    return _points[name]


def points() -> dict[str, Point]:
    """Every point declared by the modules imported so far."""
    return dict(_points)


def _hit(name: str) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    armed.hits += 1
    if armed.hits == armed.nth:
        armed.act()


@contextmanager
def armed(target: Point | str, act: Callable[[], None], *, nth: int = 1) -> Iterator[None]:
    """Run `act` at the nth hit of the point, in this process, for as long as the block lasts."""
    name = target if isinstance(target, str) else target.name
    if name not in _points:
        message = f"no fault point is called {name!r}"
        raise ValueError(message)
    _armed[name] = _Armed(act, nth)
    try:
        yield
    finally:
        del _armed[name]


@dataclass
class Gate:
    """Holds whoever reaches a point until the test opens it; `reached` tells the test that somebody came."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    limit: float = 30.0

    def __call__(self) -> None:
        """Report and wait; a test that forgets to open the gate fails instead of hanging."""
        self.reached.set()
        if not self.opened.wait(self.limit):
            message = "the gate was not opened in time"
            raise FaultRaisedError(message)

    def open(self) -> None:
        """Let everybody through."""
        self.opened.set()


def raising(error: BaseException) -> Callable[[], None]:
    """An act that raises this error."""

    def act() -> None:
        raise error

    return act


def _die() -> None:
    os._exit(DIED)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


_ACTIONS: dict[str, Callable[[], None]] = {
    "die": _die,
    "stop": _stop,
    "raise": raising(FaultRaisedError("a fault was asked for here by HOLDFAST_FAULTS")),
}


def arm_from(text: str) -> None:
    """Arm what HOLDFAST_FAULTS names; a point that is not declared (yet) is armed all the same."""
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, action = entry.partition("=")
        verb, _, nth = action.partition("@")
        if verb not in _ACTIONS:
            message = f"HOLDFAST_FAULTS: {entry!r} is not <point>=<die|stop|raise>[@<nth>]"
            raise ValueError(message)
        _armed[name] = _Armed(_ACTIONS[verb], int(nth or 1))


arm_from(os.environ.get("HOLDFAST_FAULTS", ""))
