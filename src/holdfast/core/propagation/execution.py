"""Tries rows: calls the handler within its time, and turns whatever comes of it into what is written."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core import faults, ids, logs
from holdfast.core.errors import StoreClosed, StoreError, StoreInDoubt, UnitTooLong
from holdfast.core.lifecycle import spawn
from holdfast.core.propagation import claims
from holdfast.core.propagation.claims import Claimed, Settled
from holdfast.core.propagation.foreign import FactsRefusedError, Raised, described, told, try_once
from holdfast.core.propagation.job import Job
from holdfast.core.propagation.outcome import Done, Outcome
from holdfast.core.propagation.schedule import store_pause
from holdfast.core.propagation.verdict import Failure, Verdict, after_try, cut_off
from holdfast.core.store.port import Act

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.propagation.kinds import Handler
    from holdfast.core.propagation.outcome import Then
    from holdfast.core.propagation.under_way import Driver, UnderWay
    from holdfast.core.store.port import Store

STARTING = faults.point("propagation.starting", "a row is claimed, its handler has not been called")
HAPPENED = faults.point("propagation.happened", "the handler has returned, nothing is written of it")

#: After running past its time so often, the unit of an outcome with facts is refused.
_TOO_LONG = 3
_log = logs.get("propagation")


class Execution:
    """Tries claimed rows with the handlers of this process."""

    def __init__(
        self, store: Store, clock: Clock, under_way: UnderWay, over: Callable[[Settled | Claimed], None]
    ) -> None:
        #: Whether nothing more is to be started.
        self.draining = False
        self._store = store
        self._under_way = under_way
        self._clock = clock
        #: Told of every try that is over: with what is to be written, or only the row when nothing is left to write.
        self._over = over
        #: Outcomes with facts that came after their lease was lost.
        self.late = 0

    def start(self, driver: Driver, handler: Handler) -> None:
        """Try the rows of a driver in a task of its own."""
        self._drive(driver, self._each(driver, handler))

    def _drive(self, driver: Driver, work: Coroutine[Any, Any, None]) -> None:
        driver.task = spawn(work, name=f"propagation {driver.rows[0].id}")
        driver.task.add_done_callback(driver.ended_by)

    def abandon(self, driver: Driver) -> None:
        """Give up a try that does not end although it was cancelled: it has failed, whatever it still does."""
        row, driver.trying = driver.trying, None
        if row is None:
            return
        failure = self._failed(row, "the handler did not end when its time was over, and was left behind", None)
        for never_tried in driver.rows[driver.rows.index(row) + 1 :]:
            self._over(Settled(never_tried, cut_off(never_tried.counts, self._clock.stamp())))
        self._drive(driver, self._conclude(row, failure))

    async def _each(self, driver: Driver, handler: Handler) -> None:
        """One row after the other; for most kinds there is one."""
        for row in driver.rows:
            if (row.id, row.claim) not in self._under_way:
                continue  # somebody else has it by now
            if self.draining:
                self._over(Settled(row, cut_off(row.counts, self._clock.stamp())))
                continue
            STARTING()
            driver.trying, driver.since = row, self._clock.monotonic()
            came_to = await self._try(driver, row, handler)
            if driver.trying is not row:
                return  # left behind meanwhile: the rows after this one were given back
            driver.trying = None
            HAPPENED()
            if type(came_to) is Done and came_to.then is None:
                self._over(Settled(row))
            elif came_to is None:
                self._over(row)
            else:
                await self._conclude(row, came_to)
        driver.end()  # sooner than the end of the task is told

    async def _try(self, driver: Driver, row: Claimed, handler: Handler) -> Outcome | Failure | None:
        """What came of it; none when the lease was lost and it is nobody's business here any more."""
        try:
            job: Job[Any] = Job(row, self._store)
        except msgspec.DecodeError as error:
            return self._failed(row, described(error), error)
        came_to = await try_once(handler, job, row.kind.timeouts.item, lambda: driver.cut)
        return self._failed(row, came_to.what, came_to.error) if isinstance(came_to, Raised) else came_to

    def _failed(self, row: Claimed, what: str, error: BaseException | None) -> Failure:
        said = told(what) or ""
        _log.warning("try failed", kind=row.kind.name, propagation=row.id, what=said, exc_info=error)
        return Failure(said)

    async def _conclude(self, row: Claimed, came_to: Outcome | Failure) -> None:
        """Leave what is only a verdict to the next claim's unit; write what brings facts in a unit of its own."""
        verdict = self._verdict(row, came_to)
        then = None if isinstance(came_to, Failure) else came_to.then
        if then is None and not _has_facts(row, verdict):
            self._over(Settled(row, verdict))
            return
        try:
            await self._write(row, verdict, then)
        except StoreClosed:
            pass  # the daemon is on its way down; the row is started again when it is up
        except (FactsRefusedError, StoreError) as error:
            await self._without_facts(row, error.__cause__ or error)
            return
        self._over(row)

    def _verdict(self, row: Claimed, came_to: Outcome | Failure) -> Verdict:
        verdict = after_try(row.kind, row.counts, came_to, self._clock.stamp(), ids.fraction())
        return replace(verdict, reason=told(verdict.reason), error=told(verdict.error))

    async def _without_facts(self, row: Claimed, error: BaseException) -> None:
        """The facts were refused: the try has failed. If it was the last one, the row dies without its kind's facts."""
        failure = self._failed(row, f"its facts were refused: {described(error)}", error)
        verdict = self._verdict(row, failure)
        try:
            await self._write(row, verdict, None)
        except StoreClosed:
            pass
        except (FactsRefusedError, StoreError) as again:
            _log.critical("what comes with a death was refused", propagation=row.id, exc_info=again)
            self._over(Settled(row, replace(verdict, bare=True)))
            return
        self._over(row)

    async def _write(self, row: Claimed, verdict: Verdict, then: Then | None) -> None:
        """Commit a verdict with its facts; a store that cannot just now is asked until it can."""
        act = Act(f"propagation:{row.id}", f"propagation:{row.id}")
        in_doubt, too_long = False, 0
        for failures in count(1):
            try:
                held = await self._store.unit(act, lambda unit: claims.settle_one(unit, row, verdict, then))
            except StoreClosed:
                raise
            except StoreError as error:
                if not (error.retryable or isinstance(error, StoreInDoubt)):  # in doubt: the fence tells
                    raise
                too_long += isinstance(error, UnitTooLong)
                if too_long == _TOO_LONG:
                    raise
                in_doubt = in_doubt or isinstance(error, StoreInDoubt)
                await self._clock.sleep(store_pause(failures))
            else:
                if not held and not in_doubt:
                    self.late += 1
                    _log.warning("outcome came too late", kind=row.kind.name, propagation=row.id)
                return


def _has_facts(row: Claimed, verdict: Verdict) -> bool:
    return verdict.state == "dead" and row.kind.buried is not None
