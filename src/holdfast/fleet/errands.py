"""Blocking work on the things of sessions: one at a time for each, so that what was cut off ends before the next."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec

from holdfast.core import lanes, logs
from holdfast.core.store.port import Act
from holdfast.fleet import processes
from holdfast.fleet.runtimes.port import Handle
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.standing import standing
from holdfast.fleet.workspaces.errand import Errand

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.core.store.port import Row, Store, Unit
    from holdfast.fleet.processes import Ended, Identity
    from holdfast.fleet.signals.spool import Batch, Spool

P = ParamSpec("P")
T = TypeVar("T")
#: Seconds that an agent has to end by itself when it is asked to.
GRACE_SECONDS = 5.0
#: Seconds that a git or a set-up command has when the daemon ends: it left nothing half done that a kill -9 would not.
_LAST_SECONDS = 0.2
#: Threads for worktrees and set-ups: more than the sagas that can be under way, for what some of these have abandoned.
_WORK = 32
#: Threads for questions to git that people wait for, for the ends of processes, and for spools.
_QUESTIONS, _ENDS, _SPOOLS = 16, 16, 4
#: What an errand's git is marked with: what it is for, and whose it is.
ERRAND, DAEMON = "HOLDFAST_ERRAND", "HOLDFAST_DAEMON"
_MAKING, _TAKING = "making", "taking"

_log = logs.get("fleet")


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """What is being done about a session now, or about its spool."""

    doing: asyncio.Future[Any]
    errand: Errand | None


class Errands:
    """Work in threads, by session. Each kind of it has threads of its own: a slow one is waited for by nobody else."""

    def __init__(self, store: Store, spool: Spool) -> None:
        self._store = store
        self._spool = spool
        self._under_way: dict[tuple[str, str], _UnderWay] = {}
        self._questions: set[Errand] = set()
        self._work = lanes.Lane("work", _WORK)
        self._asking = lanes.Lane("questions", _QUESTIONS)
        self._ending = lanes.Lane("ends", _ENDS)
        self._reading = lanes.Lane("spools", _SPOOLS)
        lanes.before_leaving(self._end_children)

    async def run(self, session: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make something of a session in a thread; a kill calls it off.

        Whoever is cancelled meanwhile leaves it running; the next one waits for its end.
        """
        errand = Errand(self._errand_marks(_MAKING, session))
        return await self._in_turn(self._work, ("session", session), partial(work, *args, **kwargs), errand)

    async def put_away(self, session: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Keep or remove something of a session, as `run`; only the end of the daemon calls it off."""
        errand = Errand(self._errand_marks(_TAKING, session))
        return await self._in_turn(self._work, ("session", session), partial(work, *args, **kwargs), errand)

    async def ask(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask git something that a person waits for."""
        return await self._freely(self._asking, partial(work, *args, **kwargs))

    async def bring(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make something that is of no session and may take long."""
        return await self._freely(self._work, partial(work, *args, **kwargs))

    async def _freely(self, lane: lanes.Lane, work: Callable[[], T]) -> T:
        errand = Errand(self._errand_marks("asking"))
        doing, withdraw = lane.begin(lambda: _done_for(errand, work))
        self._questions.add(errand)
        doing.add_done_callback(lambda _: self._questions.discard(errand))
        return await lanes.outlasting(doing, withdraw)

    async def _in_turn(
        self, lane: lanes.Lane, key: tuple[str, str], work: Callable[[], T], errand: Errand | None = None
    ) -> T:
        await self._turn(key)
        doing, withdraw = lane.begin(work if errand is None else lambda: _done_for(errand, work))
        mine = self._under_way[key] = _UnderWay(doing, errand)

        def over(_: asyncio.Future[T]) -> None:
            if self._under_way.get(key) is mine:
                del self._under_way[key]

        doing.add_done_callback(over)
        return await lanes.outlasting(doing, withdraw)

    async def _turn(self, key: tuple[str, str]) -> None:
        while (earlier := self._under_way.get(key)) is not None and not earlier.doing.done():
            await asyncio.wait({earlier.doing})

    def marks(self, session: str, launch: int | None = None) -> dict[str, str]:
        """What in its environment shows a process to be of this session."""
        found = {"HOLDFAST_STORE": self._store.uuid, "HOLDFAST_SESSION": session}
        return found if launch is None else found | {"HOLDFAST_LAUNCH": str(launch)}

    def _errand_marks(self, what: str, session: str | None = None) -> dict[str, str]:
        whose = {"HOLDFAST_STORE": self._store.uuid, DAEMON: owner()}
        return whose | {ERRAND: what} | ({} if session is None else self.marks(session))

    async def end_processes(self, session: Row, *, launch: int, known: str | None) -> tuple[Identity, ...]:
        """End whatever belongs to a launch, once nothing is done about its session; those that nothing could end."""
        root = None if known is None else msgspec.json.decode(known, type=Handle).process
        marks = self.marks(session["id"], launch)
        end = partial(processes.end, lambda: processes.owned(root, marks), GRACE_SECONDS)
        return (await self._in_turn(self._ending, ("session", session["id"]), end)).stubborn

    async def interrupt(self, session: str, launch: int, *, making: bool) -> Ended:
        """End the set-up of a launch and, where that is what is `making` it, what makes the worktree; at once.

        What is being taken away goes on: it would only begin anew.
        """
        marks = [self.marks(session, launch)]
        if making:
            marks.append(self.marks(session) | {ERRAND: _MAKING})
            found = self._under_way.get(("session", session))
            if found is not None and found.errand is not None and found.errand.marks[ERRAND] == _MAKING:
                found.errand.call_off()
        return await self._ending.do(lambda: processes.end(lambda: processes.owned(None, *marks), GRACE_SECONDS))

    async def standing(self, folder: Path) -> list[tuple[int, str]]:
        """Which processes of this user stand in a folder: pids and names."""
        return await self._ending.do(partial(standing, folder))

    async def drain(self, session: str) -> int:
        """Take what the hooks of a session have spooled; how many signals that were."""
        taken, key = 0, ("spool", session)
        while True:
            batch = await self._in_turn(self._reading, key, partial(self._spool.read, session))
            if batch.garbage:
                _log.warning("a spool holds lines that are no signals", session=session, lines=batch.garbage)
            if batch.signals or batch.dropped:
                await self._store.unit(Act(f"session:{session}", "spool"), partial(_hear, batch=batch))
            await self._in_turn(self._reading, key, partial(self._spool.settle, batch))
            taken += len(batch.signals)
            if not batch.more:
                return taken

    async def close(self) -> None:
        """Call everything off and end its children; threads that go on all the same are nobody's business any more."""
        if self._under_way or self._questions:
            await self._ending.do(self._end_children)
        for lane in (self._work, self._asking, self._ending, self._reading):
            lane.shut()

    def _end_children(self) -> None:
        """End what threads have started and still wait for. Blocks."""
        wanted = [{"HOLDFAST_STORE": self._store.uuid, DAEMON: owner()}]
        for (_, session), each in tuple(self._under_way.items()):
            if each.errand is not None:
                each.errand.call_off()
                if each.errand.marks[ERRAND] == _MAKING:  # no agent of it lives: what bears its mark is its set-up
                    wanted.append(self.marks(session))
        for errand in tuple(self._questions):
            errand.call_off()
        processes.end(lambda: processes.owned(None, *wanted), _LAST_SECONDS)


def owner() -> str:
    """Which daemon it is, as its errands' gits bear it."""
    pid = os.getpid()
    found = processes.identify(pid)
    return f"{pid}-{found.started if found is not None else 0}"


def is_left(mark: str) -> bool:
    """Whether the daemon of this mark is gone."""
    pid, _, started = mark.partition("-")
    if not (pid.isdigit() and started.isdigit()):
        return False
    return processes.state(processes.Identity(processes.boot_id(), int(pid), int(started))) == "dead"


def _done_for(errand: Errand, work: Callable[[], T]) -> T:
    with errand.under_way():
        return work()


def _hear(unit: Unit, batch: Batch) -> None:
    if unit.one(SQL.by_id, id=batch.session) is None:
        return  # the spool outlived its session's rows
    if batch.dropped:
        unit.run(SQL.note_lost, id=batch.session, total=batch.dropped)
    for each in batch.signals:
        door.hear(unit, batch.session, door.Said(each.launch, each.seq, None, each.event, each.detail), "spool")
