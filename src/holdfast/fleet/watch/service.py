"""The watch of one process: adopts at the start, is woken by ends and by news, sweeps while anything lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.core import logs
from holdfast.core.errors import HoldfastError, StoreClosed
from holdfast.core.lifecycle import spawn
from holdfast.fleet import processes
from holdfast.fleet.sessions import admission, door
from holdfast.fleet.watch.adoption import adopt
from holdfast.fleet.watch.sweep import ACT, Sweep

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader
    from holdfast.fleet.fleet import Fleet

#: Seconds until the next look while a death waits for the rest of its story.
_HURRIED_SECONDS = 0.25
#: Seconds to wait for a store that cannot answer.
_PAUSE = 2.0
_log = logs.get("fleet")


class Watch:
    """A service."""

    name = "fleet"

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._sweep = Sweep(fleet)
        self._wake = asyncio.Event()
        self._stale = True
        self._waiting = False
        #: By process: how to stop watching for its end.
        self._ends: dict[processes.Identity, Callable[[], None]] = {}
        self._unlisten: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Adopt what lives, then watch."""
        if self._task is not None:
            return
        self._unlisten = self._fleet.means.store.on_topic(door.TOPIC, self._told)
        await adopt(self._fleet, self._sweep)
        self._task = spawn(self._run(), name="fleet watch", forever=True)

    async def stop(self) -> None:
        """Look no more; everything that runs goes on."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._unlisten is not None:
            self._unlisten()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        for unwatch in self._ends.values():
            unwatch()
        self._ends.clear()
        await self._fleet.close()

    def _told(self) -> None:
        """Something lives, or has ended, or waits."""
        self._stale = True
        self._wake.set()

    async def _run(self) -> None:
        while True:
            pause = _PAUSE
            try:
                pause = await self._round()
            except StoreClosed:
                await asyncio.Event().wait()  # the daemon is on its way down and will cancel us
            except HoldfastError as error:
                if not error.retryable:
                    raise
                _log.warning("the fleet cannot be looked at just now", error=error.message)
                self._stale = True
            if pause > 0:
                await self._sleep(pause)
            else:
                await self._wake.wait()

    async def _round(self) -> float:
        """Look at everything once; the seconds until the next look, none while nothing lives and nobody waits."""
        self._wake.clear()  # before the look: what comes during it wakes us again
        if self._stale:
            self._stale = False
            await self._admit()
            await self._sweep.reload()
            self._watch_ends()
        elif self._waiting:
            await self._admit()
        targets = self._sweep.targets
        if not targets and not self._waiting:
            return 0
        if targets:
            if await self._sweep.look():
                self._watch_ends()
            await self._hear()
            await asyncio.to_thread(self._prune, list(targets))
        settings = self._fleet.means.settings.fleet
        return _HURRIED_SECONDS if self._sweep.hurried else float(settings.sweep_seconds)

    async def _admit(self) -> None:
        """Let in who waits, as far as there is room."""
        store, caps = self._fleet.means.store, self._fleet.caps()

        def waiting(reader: Reader) -> bool:
            return bool(admission.waiting(reader, caps.host))

        self._waiting = await store.read(waiting)
        if self._waiting:
            await store.unit(ACT, lambda unit: admission.admit(unit, caps))
            self._waiting = await store.read(waiting)

    async def _hear(self) -> None:
        """Take what hooks could only spool."""
        for session in await asyncio.to_thread(self._fleet.spool.pending):
            await self._fleet.errands.drain(session)

    def _prune(self, sessions: list[str]) -> None:
        keep: int = self._fleet.means.settings.fleet.record_bytes
        for session in sessions:
            self._fleet.recording(session).prune(keep)

    def _watch_ends(self) -> None:
        """Be woken by the kernel when a process ends, so that nobody has to look for it again and again."""
        wanted = set()
        for target in self._sweep.targets.values():
            wanted |= {target.handle.process, target.handle.server}
        for identity in [each for each in self._ends if each not in wanted]:
            self._ends.pop(identity)()
        for identity in wanted - self._ends.keys():
            self._ends[identity] = processes.watch(identity, self._wake.set)

    async def _sleep(self, seconds: float) -> None:
        alarm = spawn(self._alarm(seconds), name="fleet alarm", vital=False)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()

    async def _alarm(self, seconds: float) -> None:
        await self._fleet.means.clock.sleep(seconds)
        self._wake.set()
