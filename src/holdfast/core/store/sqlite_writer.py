"""The one thread that writes to SQLite: what queued up during the last commit becomes the next group."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

import apsw

from holdfast.core import faults
from holdfast.core.errors import HoldfastError, StoreLost, UnitTooLong
from holdfast.core.store.port import Position
from holdfast.core.store.sqlite_errors import translated
from holdfast.core.store.sqlite_session import FOREVER, SAYS, Session, SqliteUnit

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable

    from apsw import SQLiteValue

    from holdfast.core.clock import Clock
    from holdfast.core.store.options import StoreOptions
    from holdfast.core.store.port import Act
    from holdfast.core.store.turnstile import Turnstile

    Job = tuple[Act, Callable[[Any], Any], Future[Any]]
    Outcome = tuple[Future[Any], Any, BaseException | None]

UNIT_DONE = faults.point("sqlite.unit.done", "a unit has run, its group has not committed")
BEFORE_COMMIT = faults.point("sqlite.commit.before", "all units of a group have run, nothing is committed")
AFTER_COMMIT = faults.point("sqlite.commit.after", "a group is committed, nobody has been told")

# A group is closed when it holds this many units, or has run for this long: its first unit waits for its last one.
_GROUP_UNITS = 512
_GROUP_SECONDS = 0.1

_BEGIN, _COMMIT, _ROLLBACK = SAYS.begin.sqlite, SAYS.commit.sqlite, SAYS.rollback.sqlite
_RELEASE, _UNDO, _LEAVE = SAYS.release.sqlite, SAYS.undo.sqlite, SAYS.leave.sqlite


class _GroupLostError(Exception):
    """The transaction is gone, and with it what the units before had done; `culprit` must not run again."""

    def __init__(self, reason: BaseException, culprit: Outcome | None = None) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.culprit = culprit


class Writer:
    """Runs units of work in groups, one transaction each, and answers after the commit."""

    def __init__(
        self,
        session: Session,
        *,
        options: StoreOptions,
        clock: Clock,
        turnstile: Turnstile,
        answer: Callable[[list[Outcome]], None],
    ) -> None:
        self.position = _position(session.execute(SAYS.position.sqlite).fetchall())
        #: The topics of committed units, for the event loop to take.
        self.announced: deque[str] = deque()
        self._topics: set[str] = set()
        self._session = session
        self._execute = session.execute
        self._options = options
        self._clock = clock
        self._turnstile = turnstile
        self._answer = answer
        self._inbox: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._backlog: deque[Job] = deque()
        self._ending = False

    def put(self, jobs: list[Job]) -> None:
        """Queue units; called on the event loop."""
        self._inbox.put(jobs)

    def finish(self) -> None:
        """Come to an end after what is queued."""
        self._inbox.put(None)

    def run(self) -> None:
        """The thread's body: groups until told to finish."""
        while self._take():
            with self._turnstile:
                self._serve(self._group())

    def _take(self) -> bool:
        """Move what is queued into the backlog, waiting if there is nothing; tells whether there is anything to do."""
        if not self._backlog and not self._ending:
            self._receive(self._inbox.get())
        while not self._ending:
            try:
                self._receive(self._inbox.get_nowait())
            except Empty:
                break
        return bool(self._backlog) or not self._ending

    def _receive(self, jobs: list[Job] | None) -> None:
        if jobs is None:
            self._ending = True
        else:
            self._backlog += jobs

    def _group(self) -> list[Job]:
        backlog = self._backlog
        return [backlog.popleft() for _ in range(min(len(backlog), _GROUP_UNITS))]

    def _serve(self, group: list[Job]) -> None:
        """Commit a group, then answer it."""
        try:
            outcomes = self._commit(group)
        except _GroupLostError as lost:
            self._serve_apart(group, lost)
        except Exception as error:  # noqa: BLE001 - the writer must outlive every surprise, or all would wait for ever
            self._answer(self._surprised(group, error))
        else:
            self._answer(outcomes)

    def _serve_apart(self, group: list[Job], lost: _GroupLostError) -> None:
        """Run a group that was lost again, unit by unit, so that a unit's fault is its own."""
        if lost.culprit is not None:
            self._answer([lost.culprit])
            rest = [job for job in group if job[2] is not lost.culprit[0]]
            if rest:
                self._serve(rest)
        elif len(group) == 1:
            self._answer([(group[0][2], None, lost.reason)])
        else:
            for job in group:
                self._serve([job])

    def _commit(self, group: list[Job]) -> list[Outcome]:
        """Run a group in one transaction; what its units gave, once that is durable."""
        try:
            self._execute(_BEGIN)
        except apsw.Error as error:  # nothing has run: none of them would fare better alone
            failure = translated(error, "beginning a group of units")
            return [(future, None, failure) for _, _, future in group]
        try:
            outcomes, wrote = self._run_all(group)
            BEFORE_COMMIT()
            came_to = self._execute(_LEAVE).fetchall() if wrote else None
            self._execute(_COMMIT)
        except (apsw.Error, HoldfastError) as error:
            self._roll_back()
            typed = error if isinstance(error, HoldfastError) else translated(error, "committing")
            raise _GroupLostError(typed) from error
        except _GroupLostError:
            self._roll_back()
            raise
        if came_to:
            self.position = _position(came_to)
        if self._topics:
            self.announced.extend(self._topics)
        AFTER_COMMIT()
        return outcomes

    def _run_all(self, group: list[Job]) -> tuple[list[Outcome], bool]:
        """Run the units of a group that fit into its time; the others go back to the head of the backlog."""
        alone = len(group) == 1
        outcomes: list[Outcome] = []
        self._topics.clear()  # of a group that was lost
        wrote = False
        started = now = self._clock.monotonic()
        for index, (act, work, future) in enumerate(group):
            if now - started > _GROUP_SECONDS:
                self._backlog.extendleft(reversed(group[index:]))
                del group[index:]
                break
            self._session.deadline = now + self._options.unit_seconds
            unit = SqliteUnit(self._session, self._clock, act, alone=alone)
            value, error = _outcome(work, unit)
            now = self._clock.monotonic()
            if now > self._session.deadline:
                error = self._too_long(act)
            self._session.deadline = FOREVER
            wrote = self._keep(unit, future, error, alone=alone) or wrote
            outcomes.append((future, value, error))
            if unit.topics and error is None:
                self._topics |= unit.topics
            UNIT_DONE()
        return outcomes, wrote

    def _keep(self, unit: SqliteUnit, future: Future[Any], error: BaseException | None, *, alone: bool) -> bool:
        """Keep what a unit did, or undo it if it failed; tells whether it left anything to commit."""
        unit.end()
        if error is not None and not self._session.connection.in_transaction:
            culprit = (future, None, error) if isinstance(error, UnitTooLong) else None
            raise _GroupLostError(error, culprit)
        if not unit.wrote:
            return False
        if error is None:
            if not alone:
                self._execute(_RELEASE)
            return True
        if alone:
            raise _GroupLostError(error)
        self._execute(_UNDO)
        self._execute(_RELEASE)
        return False

    def _too_long(self, act: Act) -> UnitTooLong:
        return UnitTooLong(
            f"a unit of work of {act.actor} ({act.cause}) ran for more than {self._options.unit_seconds:g} s and was "
            "undone; make it smaller"
        )

    def _roll_back(self) -> None:
        self._session.deadline = FOREVER
        if self._session.connection.in_transaction:
            self._execute(_ROLLBACK)

    def _surprised(self, group: list[Job], error: Exception) -> list[Outcome]:
        """Something that no rule foresees: say so to those who wait, and go on with a clean transaction."""
        with suppress(apsw.Error):
            self._roll_back()
        lost = StoreLost(f"the store's writer failed in a way it does not know ({error!r}); please report this")
        lost.__cause__ = error
        return [(future, None, lost) for _, _, future in group]


def _position(rows: list[tuple[SQLiteValue, ...]]) -> Position:
    writes, seq = cast("tuple[int, int]", rows[0])
    return Position(writes, seq)


def _outcome(work: Callable[[SqliteUnit], Any], unit: SqliteUnit) -> tuple[Any, BaseException | None]:
    """What a unit's work gave; whatever it raised is for its caller, never for the writer."""
    try:
        value = work(unit)
    except StopIteration as error:  # a future cannot carry it
        wrapped = RuntimeError("a unit of work raised StopIteration")
        wrapped.__cause__ = error
        return None, wrapped
    except BaseException as error:  # noqa: BLE001
        return None, error
    if unit.failure is not None:
        return None, unit.failure
    if type(value) is CoroutineType:
        value.close()
        return None, TypeError("a unit of work must be a plain function: it was given a coroutine function")
    return value, None
