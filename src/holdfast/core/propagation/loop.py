"""The runner's loop: asks the store turn by turn, so that a process never crosses itself.

Each turn writes the outcomes that have gathered and claims as many rows as there is room for: what is free is started
at once, each row under a lease of its own. The wake-up is cleared before the store is asked: whatever becomes due
meanwhile wakes the loop again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from holdfast.core import faults, logs
from holdfast.core.errors import DuplicateRow, HoldfastError, StoreClosed, StoreInDoubt
from holdfast.core.lifecycle import spawn
from holdfast.core.propagation.claims import Claimed, Settled
from holdfast.core.propagation.execution import Execution
from holdfast.core.propagation.foreign import ConditionFailedError
from holdfast.core.propagation.plan import Ask, Plan
from holdfast.core.propagation.redrive import notice_release
from holdfast.core.propagation.schedule import store_pause
from holdfast.core.propagation.turns import Turn, Turns, batches
from holdfast.core.propagation.under_way import Driver, UnderWay
from holdfast.core.propagation.verdict import cut_off

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.propagation.clockwatch import ClockWatch
    from holdfast.core.propagation.keeper import Keeper
    from holdfast.core.propagation.kinds import Handler, Registry
    from holdfast.core.store.port import Store

CLAIMED = faults.point("propagation.claimed", "rows are claimed for good, none of them has been started")

#: Seconds between two looks of a process that others may enqueue for, lest an announcement be lost.
_NET_SECONDS = 1.0
#: The longest sleep while anything is scheduled: the wall clock may be put forward, or the machine suspended.
_LONGEST_SLEEP = 30.0
#: Seconds for what was cut off to end.
CUT_SECONDS = 1.0

_log = logs.get("propagation")


class Loop:
    """Asks, starts, writes; until it drains and nothing is under way any more."""

    keeper: Keeper
    clockwatch: ClockWatch

    def __init__(self, store: Store, registry: Registry, clock: Clock, owner: str) -> None:
        self.plan = Plan(registry.served())
        self.under_way = UnderWay()
        self.execution = Execution(store, clock, self.under_way, self._over)
        self._store = store
        self._clock = clock
        self._turns = Turns(store, owner)
        self._handlers: Mapping[str, Handler] = registry.handlers
        self._outbox: list[Settled] = []
        self._wake = asyncio.Event()
        self._draining = False

    @property
    def late(self) -> int:
        """Outcomes that came after their lease was lost; nothing of them was written."""
        return self._turns.late + self.execution.late

    def woken(self) -> None:
        """Anything may have become due."""
        self.plan.woken()
        self._wake.set()

    def drain(self, *, on: bool) -> None:
        """Claim and start no more; or do so again."""
        self._draining = self.execution.draining = on
        self._wake.set()

    async def cut_off(self) -> None:
        """Break off what the drain was too short for: nobody has crashed, so its rows are as if not started."""
        tasks = {driver.task for driver in self.under_way.drivers() if driver.task is not None}
        for driver in list(self.under_way.drivers()):
            driver.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CUT_SECONDS)
        told = {(each.row.id, each.row.claim) for each in self._outbox}
        for row in self.under_way.rows():
            if (row.id, row.claim) not in told:
                self._over(Settled(row, cut_off(row.counts, self._clock.stamp())))

    async def run(self) -> None:
        """Turn after turn; sleeps when there is nothing to write and nothing to ask."""
        failures = 0
        while not (self._draining and not self.under_way):
            self._wake.clear()  # before the store is asked: what becomes due from here on wakes us again
            settled, self._outbox = self._outbox, []
            asks: list[Ask] = []
            try:
                await self._look_around()
                asks = [] if self._draining else self.plan.asks(self._clock.stamp(), self._clock.monotonic())
                if not settled and not asks:
                    await self._rest()
                    continue
                turn = await self._turns.take(settled, asks)
            except StoreClosed:
                return  # the daemon is on its way down
            except ConditionFailedError as failed:
                _log.error("a condition failed", kind=failed.kind, what=str(failed), exc_info=failed.__cause__)
                self._outbox = settled + self._outbox
                self.plan.refuse(failed.kind, str(failed), self._clock.monotonic())
                self.plan.unanswered(ask for ask in asks if ask.kind.name != failed.kind)
            except HoldfastError as error:
                if not (error.retryable or isinstance(error, DuplicateRow | StoreInDoubt)):
                    raise
                _log.warning("the queue cannot be asked just now", error=error.message)
                self._outbox = settled + self._outbox
                self.plan.unanswered(asks)
                self.keeper.doubt()
                failures += 1
                await self._clock.sleep(store_pause(failures))
            else:
                failures = 0
                for each in settled:
                    self.under_way.forget(each.row)
                self._take(turn)

    def _take(self, turn: Turn) -> None:
        """Forget what is written, start what was claimed."""
        self.plan.answered(turn.answers, self._clock.stamp(), self._clock.monotonic())
        if not turn.claimed:
            return
        CLAIMED()
        self.keeper.stir()
        for batch in batches(turn.claimed):
            driver = Driver(batch, self._ended)
            self.under_way.add(driver)
            self.plan.started(batch[0].kind, suspect=driver.suspect)
            self.execution.start(driver, self._handlers[batch[0].kind.name])

    def _ended(self, driver: Driver) -> None:
        self.plan.ended(driver.rows[0].kind, suspect=driver.suspect)
        self._wake.set()

    def _over(self, over: Settled | Claimed) -> None:
        """A try is over; what is to be written of it goes with the next turn."""
        if isinstance(over, Settled):
            self._outbox.append(over)
            self._wake.set()
        else:
            self.under_way.forget(over)

    async def _look_around(self) -> None:
        """Whether effects are held, and whether somebody has moved the clock."""
        if await notice_release(self._store):  # by somebody else, maybe in another process
            self.plan.woken()
        self.plan.held = self._store.effects_held
        await self.clockwatch.check()

    async def _rest(self) -> None:
        """Until there is something to ask, or somebody wakes us."""
        pause = None if self._draining else self.plan.pause(self._clock.stamp(), self._clock.monotonic())
        if pause is not None:
            pause = min(pause, _LONGEST_SLEEP)
        if self._store.dialect == "postgres" and not self._draining:
            pause = _NET_SECONDS if pause is None else min(pause, _NET_SECONDS)
        if pause is None:
            await self._wake.wait()
            return
        alarm = spawn(self._alarm(pause), name="propagation alarm", vital=False)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()

    async def _alarm(self, pause: float) -> None:
        await self._clock.sleep(pause)
        if self._store.dialect == "postgres":
            self.woken()  # somebody else may have enqueued, and the word of it been lost
        self._wake.set()
