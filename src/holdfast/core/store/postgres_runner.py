"""Runs units of work and reads on one connection: again when they crossed others or the connection broke."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from threading import Lock
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import psycopg

from holdfast.core import ids
from holdfast.core.errors import StoreBusy, StoreInDoubt, StoreLost
from holdfast.core.store.port import Act
from holdfast.core.store.postgres_errors import CommitInDoubt, Conflicted, ConnectionBroke
from holdfast.core.store.postgres_session import SQL, Session
from holdfast.core.store.postgres_unit import Deadline, PostgresReader, PostgresUnit

if TYPE_CHECKING:
    from holdfast.core.clock import Clock

#: How often a unit of work may cross others before its caller is told to come back later.
ATTEMPTS = 20
#: After so many crossings a unit of work runs with no other one of its kind beside it.
CALM_AFTER = 3
#: Seconds between two attempts: doubles from the first to the last, times a random fraction.
FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.1
#: Seconds between two questions for the outcome of a commit in doubt.
OUTCOME_PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a unit of work or a read."""

    result: Any = None
    error: BaseException | None = None
    #: The newest change-log number handed out, when something was written.
    writes: int | None = None
    #: Who is to be told of the commit.
    topics: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Shared:
    """What the writers of one store share."""

    clock: Clock
    seconds: float
    #: Waits, or returns at once when the store closes.
    pause: Callable[[float], object]
    calm: Lock = field(default_factory=Lock)


class UnitRunner:
    """Executes units of work, each as one transaction: serialisable, unless the unit guards what it writes itself."""

    def __init__(self, session: Session, shared: Shared) -> None:
        self._session = session
        self._shared = shared

    def run(self, act: Act | None, work: Callable[[Any], Any], *, guarded: bool = False) -> Done:
        """Run one unit until it is committed, has failed on its own account, or has crossed others too often."""
        assert act is not None
        deadline, broke = self._deadline(), False
        with ExitStack() as stack:
            for attempt in range(ATTEMPTS):
                if attempt == CALM_AFTER:
                    stack.enter_context(self._shared.calm)
                try:
                    return self._once(act, work, guarded=guarded)
                except Conflicted:
                    if deadline.passed:
                        break
                    self._shared.pause(_pause(attempt))
                except ConnectionBroke as error:
                    if broke:
                        raise StoreLost(error.message) from error
                    broke = True
        raise StoreBusy(f"the unit of work crossed others {attempt + 1} times; nothing was written, try again")

    def _deadline(self) -> Deadline:
        return Deadline(self._shared.clock, self._shared.seconds)

    def _once(self, act: Act, work: Callable[[Any], Any], *, guarded: bool) -> Done:
        connection = self._session.connection(guarded=guarded)
        unit = PostgresUnit(connection, self._deadline(), act, self._shared.clock.stamp())
        done = self._committed(unit, work)
        return replace(done, topics=unit.topics) if unit.topics else done

    def _committed(self, unit: PostgresUnit, work: Callable[[Any], Any]) -> Done:
        try:
            result = _plain(work(unit))
            return Done(result, writes=unit.commit())
        except CommitInDoubt as error:
            self._session.close()
            return Done(result, writes=self._settled(unit.xid or "", error))
        except BaseException as error:
            self._session.roll_back()
            if isinstance(unit.failed, Conflicted | ConnectionBroke) and unit.failed is not error:
                raise unit.failed from error  # whatever `work` made of it
            raise
        finally:
            unit.end()

    def _settled(self, xid: str, doubt: CommitInDoubt) -> int:
        """The log's position if the commit in doubt came through; raises ConnectionBroke if it surely did not."""
        deadline, closing, unanswered = self._deadline(), False, None
        # A server that restarts answers nobody for a while, then knows. It is asked no longer by a store that closes.
        while not deadline.passed and not (closing and unanswered):
            try:
                outcome, writes = self._outcome(xid)
            except (StoreLost, psycopg.Error) as error:
                unanswered = error
            else:
                if outcome == "committed":
                    return writes
                if outcome == "aborted":
                    raise ConnectionBroke(doubt.message) from doubt
            closing = bool(self._shared.pause(OUTCOME_PAUSE))
        raise StoreInDoubt(f"{_IN_DOUBT} ({doubt.message})") from (unanswered or doubt)

    def _outcome(self, xid: str) -> tuple[str | None, int]:
        """How the transaction ended, if it has, and how far the log has come."""
        connection = self._session.connection()
        try:
            found = connection.execute(SQL.outcome.postgres, {"xid": xid}).fetchone() or {}
            row = connection.execute(SQL.position.postgres).fetchone() or {}
            return found.get("outcome"), int(row.get("writes", 0))
        finally:
            self._session.roll_back()

    def rest(self) -> None:
        """Nothing is left to do after the caller has been answered."""

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


_IN_DOUBT = (
    "the connection broke while the commit was on its way and the database does not tell how it ended: "
    "look whether it is there before trying again, or repeat the request under the same Idempotency-Key, which does it "
    "once at most"
)


class ReadRunner:
    """Executes reads, each on one consistent view."""

    def __init__(self, session: Session, clock: Clock, seconds: float) -> None:
        self._session = session
        self._clock = clock
        self._seconds = seconds

    def run(
        self,
        _act: Act | None,
        work: Callable[[Any], Any],
        *,
        guarded: bool = False,  # noqa: ARG002 - a read writes nothing
    ) -> Done:
        """Run one read; once more if the connection turns out to be broken."""
        try:
            return self._once(work)
        except ConnectionBroke:
            try:
                return self._once(work)
            except ConnectionBroke as error:
                raise StoreLost(error.message) from error

    def _once(self, work: Callable[[Any], Any]) -> Done:
        reader = PostgresReader(self._session.connection(), Deadline(self._clock, self._seconds))
        try:
            result = _plain(work(reader))
            reader.check()
        except BaseException as error:
            self._session.roll_back()
            if isinstance(reader.failed, ConnectionBroke) and reader.failed is not error:
                raise reader.failed from error  # whatever `work` made of it
            raise
        else:
            return Done(result)
        finally:
            reader.end()

    def rest(self) -> None:
        """End the view, after the caller has been answered."""
        self._session.roll_back()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def _plain(value: Any) -> Any:
    """What the work gave; a coroutine would run after the transaction, so it is refused."""
    if type(value) is CoroutineType:
        value.close()
        raise TypeError("a unit of work must be a plain function: it was given a coroutine function")
    return value


def _pause(attempt: int) -> float:
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * ids.fraction())
