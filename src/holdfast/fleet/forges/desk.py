"""The forges of one process and the checks that run in it: what handlers and the watch of pulls share."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.core import logs
from holdfast.core.errors import StoreError
from holdfast.core.lifecycle import spawn
from holdfast.core.propagation import queue
from holdfast.core.store.port import Act
from holdfast.fleet.fleet import Fleet
from holdfast.fleet.forges.kinds import CHECK
from holdfast.fleet.forges.local.command import Bounds
from holdfast.fleet.forges.local.forge import LocalForge
from holdfast.fleet.forges.local.runs import Runs
from holdfast.fleet.forges.registry import Forges

if TYPE_CHECKING:
    from holdfast.core.pack import Means

ACT = Act("daemon", "pulls")
_log = logs.get("forge")


class Desk:
    """Made once in a process."""

    def __init__(self, means: Means) -> None:
        settings = means.settings.fleet
        self.fleet = means.one(Fleet)
        self.forges = Forges(self.fleet)
        bounds = Bounds(settings.check_seconds, settings.check_memory_mb, settings.check_disk_mb)
        folder = self.fleet.paths.data / "checks"
        self.runs = Runs(
            means.store.uuid, folder, bounds, settings.checks_at_once, self._told, self.fleet.person_environment
        )
        self._store = means.store
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """Know the event loop on which news of checks are taken."""
        self._loop = asyncio.get_running_loop()

    def clear_up(self) -> None:
        """End what earlier processes left running, and finish or take back what they were landing. Blocks."""
        self.runs.reap()
        forge = self.forges["local"]
        assert isinstance(forge, LocalForge)
        forge.recover()

    def _told(self, pull: str) -> None:
        """There is news of a pull's checks. Called in threads."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the daemon is over
                self._loop.call_soon_threadsafe(self._wake, pull)

    def _wake(self, pull: str) -> None:
        spawn(self._resume(pull), name=f"news of {pull}")

    async def _resume(self, pull: str) -> None:
        try:
            await self._store.unit(ACT, lambda unit: queue.resume(unit, CHECK, pull))
        except StoreError as error:  # who waits for them looks by itself, only later
            _log.warning("news of checks wait", pull=pull, error=error.message)
