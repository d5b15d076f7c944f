"""The runner: does what is owed, as far as this process has handlers for it. Puts its parts together and ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.core import ids, logs
from holdfast.core.errors import HoldfastError
from holdfast.core.lifecycle import spawn
from holdfast.core.propagation.clockwatch import ClockWatch
from holdfast.core.propagation.keeper import LONGEST_GAP, SWEEP_SECONDS, Keeper, Own
from holdfast.core.propagation.kinds import DRAIN_SECONDS, Registry
from holdfast.core.propagation.loop import CUT_SECONDS, Loop
from holdfast.core.propagation.queue import TOPIC
from holdfast.core.propagation.strangers import Strangers

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.store.port import Store

_log = logs.get("propagation")


class Runner:
    """A service: the loop that claims and writes, and the one that keeps leases."""

    name = "propagation"

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        *,
        drain_seconds: float = DRAIN_SECONDS,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        #: Names this start of this process; leads every claim.
        self.owner = ids.new_id("run")
        self._store = store
        self._drain_seconds = drain_seconds
        self._loop = Loop(store, registry, clock, self.owner)
        self._strangers = Strangers(store, registry, clock, self.owner, LONGEST_GAP * sweep_seconds)
        own = Own(self.owner, self._loop.under_way, self._loop.execution, self._strangers)
        self._keeper = self._loop.keeper = Keeper(store, registry, clock, own, sweep_seconds)
        self._clockwatch = self._loop.clockwatch = ClockWatch(store, clock, self._loop.woken)
        self._tasks: list[asyncio.Task[None]] = []
        self._unlisten: Callable[[], None] | None = None

    @property
    def blocked(self) -> Mapping[str, str]:
        """Kinds that are not started, and why."""
        return self._loop.plan.blocked

    @property
    def late(self) -> int:
        """Outcomes that came after their lease was lost, since the start; nothing of them was written."""
        return self._loop.late

    @property
    def under_way(self) -> int:
        """How many rows are under way."""
        return len(self._loop.under_way)

    async def start(self) -> None:
        """Give back what a process that is gone had claimed, then begin."""
        if self._tasks:
            return
        self._loop.drain(on=False)
        await self._keeper.begin()
        await self._strangers.begin()
        await self._clockwatch.set_right()
        self._unlisten = self._store.on_topic(TOPIC, self._loop.woken)
        self._loop.woken()
        self._tasks = [
            spawn(self._loop.run(), name="propagation"),
            spawn(self._keeper.run(), name="propagation leases", forever=True),
        ]

    async def stop(self) -> None:
        """Claim no more, let what is under way come to its outcome, within the drain."""
        if not self._tasks:
            return
        loop, keeper = self._tasks
        self._tasks = []
        if self._unlisten is not None:
            self._unlisten()
        self._loop.drain(on=True)
        _, late = await asyncio.wait({loop}, timeout=self._drain_seconds)
        if late:
            _log.warning("stopped with work under way", rows=self.under_way, seconds=self._drain_seconds)
            await self._loop.cut_off()
            await asyncio.wait({loop}, timeout=CUT_SECONDS)
        for task in (loop, keeper):
            task.cancel()
        for task in (loop, keeper):
            with suppress(asyncio.CancelledError):
                await task
        with suppress(HoldfastError):  # its row is noticed to be still soon enough
            await self._strangers.end()
