"""Owns the life of the process: makes every task, starts services in order, stops them in reverse, never half alive."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from weakref import WeakKeyDictionary

from holdfast.core import faults, logs

T = TypeVar("T")

_log = logs.get("lifecycle")

SERVICE_STARTED = faults.point("lifecycle.service_started", "a service has started, the next one has not")
STOPPING = faults.point("lifecycle.stopping", "the daemon was told to end and has stopped nothing yet")
SERVICE_STOPPED = faults.point("lifecycle.service_stopped", "a service has stopped, the one below it has not")

#: The signals that ask the daemon to drain and end; a second one ends it without draining.
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Death:
    """The end of a task that was to live on."""

    task: str
    error: BaseException | None  # None: it returned although it was to run for ever

    def __str__(self) -> str:
        """What the log and the last line on the terminal say."""
        if self.error is None:
            return f"the task {self.task!r} ended although it was to run for as long as the daemon"
        return f"the task {self.task!r} died: {type(self.error).__name__}: {self.error}"


# --- tasks -----------------------------------------------------------------------------------------------------

# asyncio keeps only weak references to tasks: without this one a task can vanish in the middle of its work.
_living: set[asyncio.Task[Any]] = set()
_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, Callable[[Death], None]] = WeakKeyDictionary()


def spawn(coro: Coroutine[Any, Any, T], *, name: str, forever: bool = False, vital: bool = True) -> asyncio.Task[T]:
    """Make a task: the only place that does.

    An error that leaves it takes the daemon down, and so does its return when it was to run `forever`; cancelling it is
    the orderly way to end it. A task that is not `vital` is one whose maker awaits it and answers for its errors.
    """
    task = asyncio.create_task(coro, name=name)
    _living.add(task)
    task.add_done_callback(_living.discard)
    if vital:
        task.add_done_callback(_mourn_forever if forever else _mourn)
    return task


def _mourn(task: asyncio.Task[Any], *, forever: bool = False) -> None:
    watcher = _watchers.get(task.get_loop())
    # Without a watcher (a test) the error stays on the task, for whoever awaits it and for asyncio to report.
    if watcher is None or task.cancelled():
        return
    error = task.exception()
    if error is not None or forever:
        watcher(Death(task.get_name(), error))


def _mourn_forever(task: asyncio.Task[Any]) -> None:
    _mourn(task, forever=True)


# --- services --------------------------------------------------------------------------------------------------


class Service(Protocol):
    """A part of the daemon that runs. Stopping one that was not started, or is stopped, does nothing."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        ...

    async def start(self) -> None:
        """Return when it is of use to the services after it."""
        ...

    async def stop(self) -> None:
        """Finish what it has begun, then end."""
        ...


@dataclass(frozen=True)
class Part:
    """A service made of two functions."""

    name: str
    on_start: Callable[[], Awaitable[None]]
    on_stop: Callable[[], Awaitable[None]]

    async def start(self) -> None:
        """Start it."""
        await self.on_start()

    async def stop(self) -> None:
        """Stop it."""
        await self.on_stop()


async def _call(ready: Callable[[], None]) -> None:
    ready()


class Supervisor:
    """Runs services until a signal, a dying task or a failed start; then stops those that run, last one first."""

    def __init__(self, services: Sequence[Service], *, stop_seconds: float) -> None:
        self._services = tuple(services)
        self._stop_seconds = stop_seconds
        self._running: list[Service] = []
        self._ending = asyncio.Event()
        self._hurried = asyncio.Event()
        self._deadline: float | None = None
        self.deaths: list[Death] = []
        #: What went wrong while stopping, in words.
        self.overruns: list[str] = []

    @property
    def ending(self) -> bool:
        """Whether an end was asked for."""
        return self._ending.is_set()

    @property
    def grace(self) -> float:
        """Seconds that are left of the stop; none after a second signal."""
        if self._deadline is None or self._hurried.is_set():
            return 0.0
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    def end(self, reason: str) -> None:
        """Ask for an orderly end; asking again ends it without waiting for anything."""
        if self._ending.is_set():
            self._hurried.set()
            return
        _log.info("daemon ending", reason=reason, grace_seconds=self._stop_seconds)
        self._ending.set()

    async def run(self, ready: Callable[[], None] | None = None) -> int:
        """Start, call `ready`, live, stop; the exit status of the process. The error of a failed start is raised."""
        with self._watched(asyncio.get_running_loop()):
            failure = await self._start()
            if failure is None and not self._ending.is_set() and ready is not None:
                spawn(_call(ready), name="announcement")  # when it fails, that is a death like any other
            if failure is None:
                await self._ending.wait()
                STOPPING()
            await self._stop()
        if failure is not None:
            raise failure
        return 1 if self.deaths or self.overruns else 0

    @contextmanager
    def _watched(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        _watchers[loop] = self._died
        for number in END_SIGNALS:
            loop.add_signal_handler(number, self.end, f"{number.name} received")
        try:
            yield
        finally:
            del _watchers[loop]
            for number in END_SIGNALS:
                loop.remove_signal_handler(number)

    def _died(self, death: Death) -> None:
        self.deaths.append(death)
        _log.critical("task died", task=death.task, what=str(death), exc_info=death.error)
        if not self._ending.is_set():
            self.end(str(death))

    async def _start(self) -> BaseException | None:
        """Start in order, each one whole before the next; an end asked for meanwhile is obeyed in between."""
        for service in self._services:
            if self._ending.is_set():
                return None
            # A service that fails half-way may hold things: it is stopped like the ones that run.
            self._running.append(service)
            starting = spawn(service.start(), name=f"start {service.name}", vital=False)
            if not await self._until_started(starting):
                return None
            if (error := starting.exception()) is not None:
                return error
            _log.debug("service started", service=service.name)
            SERVICE_STARTED()
        return None

    async def _until_started(self, starting: asyncio.Task[None]) -> bool:
        """Wait for a start; once an end is asked for, no longer than the grace (a big migration goes on till then)."""
        asked = spawn(self._ending.wait(), name="end while starting", vital=False)
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not starting.done():
            hurried = spawn(self._hurried.wait(), name="second signal", vital=False)
            both = {starting, hurried}
            await asyncio.wait(both, timeout=self._stop_seconds, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
        if starting.done():
            return True
        self._overrun(f"{starting.get_name()} was still under way when the grace was over")
        starting.cancel()
        self._running.clear()
        return False

    async def _stop(self) -> None:
        """Stop in reverse within the grace; what does not make it is abandoned, which is as safe as kill -9."""
        deadline = self._deadline = asyncio.get_running_loop().time() + self._stop_seconds
        while self._running:
            service = self._running.pop()
            stopping = spawn(self._stop_one(service), name=f"stop {service.name}", vital=False)
            hurried = spawn(self._hurried.wait(), name="second signal", vital=False)
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            done, late = await asyncio.wait({stopping, hurried}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in late:
                task.cancel()
            if stopping not in done:
                why = "a second signal came" if hurried in done else f"{self._stop_seconds:g} s of grace were over"
                rest = ", ".join(each.name for each in (service, *reversed(self._running)))
                self._overrun(f"{why}: ended without waiting for: {rest}")
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({stopping}, timeout=0.1)
                return
            SERVICE_STOPPED()

    async def _stop_one(self, service: Service) -> None:
        try:
            await service.stop()
        except Exception as error:  # noqa: BLE001 - named loop: one service's error must not keep the others running
            if all(error is not death.error for death in self.deaths):  # whose death was told is not told again
                self._overrun(f"{service.name} failed to stop: {type(error).__name__}: {error}")
        else:
            _log.debug("service stopped", service=service.name)

    def _overrun(self, what: str) -> None:
        self.overruns.append(what)
        _log.error("stop failed", what=what)
