"""Owns the pools of threads: each kind of blocking work has a bounded one of its own, none waits for another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakMethod, WeakSet

from holdfast.core import logs

T = TypeVar("T")
#: Threads for what is short: looks at files and at /proc. Nothing that waits for another program is done there.
SHORT = 16

_log = logs.get("lanes")


class Lane:
    """A pool of threads for one kind of work."""

    def __init__(self, name: str, bound: int) -> None:
        self.name = name
        self.bound = bound
        #: What runs or waits; what its asker has abandoned counts until it ends.
        self.taken = 0
        self.threads = ThreadPoolExecutor(bound, thread_name_prefix=f"holdfast-{name}")
        _lanes.add(self)

    @property
    def running(self) -> int:
        """How many threads are at work."""
        return min(self.taken, self.bound)

    @property
    def waiting(self) -> int:
        """How much work waits for a thread."""
        return max(0, self.taken - self.bound)

    def begin(self, work: Callable[[], T]) -> tuple[asyncio.Future[T], Callable[[], bool]]:
        """Do this in a thread; and how it is taken back, which succeeds as long as none has taken it up."""
        submitted = self.threads.submit(work)
        doing = asyncio.wrap_future(submitted)
        self.taken += 1
        doing.add_done_callback(self._done)
        if self.waiting == 1:
            _log.warning("all threads of a lane are busy: what comes waits", lane=self.name, threads=self.bound)
        return doing, submitted.cancel

    async def do(self, work: Callable[[], T]) -> T:
        """Do this in a thread; whoever is cancelled meanwhile leaves it running."""
        return await outlasting(*self.begin(work))

    def shut(self) -> None:
        """Take nothing up any more; what runs goes on."""
        _lanes.discard(self)
        self.threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, _: asyncio.Future[Any]) -> None:
        self.taken -= 1


async def outlasting(doing: asyncio.Future[T], withdraw: Callable[[], bool]) -> T:
    """Wait for work that was begun. What no thread has taken up when its asker is cancelled is done for nobody."""
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        withdraw()
        raise


_lanes: WeakSet[Lane] = WeakSet()
#: What is done before the process leaves threads behind: what they have started is ended.
_last_acts: list[WeakMethod[Callable[[], None]]] = []


def every() -> Iterator[Lane]:
    """All lanes of this process, by name."""
    yield from sorted(_lanes, key=lambda lane: lane.name)


def before_leaving(act: Callable[[], None]) -> None:
    """Have this method called, once, where the process goes though threads of it do not end."""
    _last_acts.append(WeakMethod(act))


def leave_behind() -> None:
    """Do what is to be done before threads are left behind."""
    while _last_acts:
        act = _last_acts.pop()()
        if act is not None:
            with suppress(OSError):  # the process ends all the same; what is left is reaped by the next one
                act()


def unended(short: ThreadPoolExecutor, seconds: float) -> list[str]:
    """Shut all pools and wait for the threads that the interpreter would wait for; which still run then. Blocks."""
    short.shutdown(wait=False, cancel_futures=True)
    for lane in every():
        lane.shut()
    deadline = monotonic() + seconds
    awaited = [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
    for thread in awaited:
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - monotonic()))
    return [each.name for each in awaited if each is not threading.current_thread() and each.is_alive()]
