"""Blocking work on the things of sessions: one at a time for each, so that what was cut off ends before the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import msgspec

from holdfast.core import logs
from holdfast.core.store.port import Act
from holdfast.fleet import processes
from holdfast.fleet.runtimes.port import Handle
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.rows import SQL

if TYPE_CHECKING:
    from holdfast.core.store.port import Row, Store, Unit
    from holdfast.fleet.processes import Identity
    from holdfast.fleet.signals.spool import Batch, Spool

P = ParamSpec("P")
T = TypeVar("T")
#: Seconds that an agent has to end by itself when it is asked to.
GRACE_SECONDS = 5.0

_log = logs.get("fleet")


class Errands:
    """Work in threads, by session."""

    def __init__(self, store: Store, spool: Spool) -> None:
        self._store = store
        self._spool = spool
        self._under_way: dict[str, asyncio.Future[Any]] = {}

    async def run(self, session: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do this in a thread. Whoever is cancelled meanwhile leaves it running; the next one waits for its end."""
        while (earlier := self._under_way.get(session)) is not None and not earlier.done():
            await asyncio.wait({earlier})
        doing = asyncio.get_running_loop().run_in_executor(None, lambda: work(*args, **kwargs))
        self._under_way[session] = doing
        try:
            return await asyncio.shield(doing)
        finally:
            if doing.done() and self._under_way.get(session) is doing:
                del self._under_way[session]

    def marks(self, session: str, launch: int | None = None) -> dict[str, str]:
        """What in its environment shows a process to be of this session."""
        found = {"HOLDFAST_STORE": self._store.uuid, "HOLDFAST_SESSION": session}
        return found if launch is None else found | {"HOLDFAST_LAUNCH": str(launch)}

    async def end_processes(self, session: Row, *, launch: int, known: str | None) -> tuple[Identity, ...]:
        """End whatever belongs to a launch; those that nothing could end."""
        root = None if known is None else msgspec.json.decode(known, type=Handle).process
        marks = self.marks(session["id"], launch)
        ended = await self.run(session["id"], processes.end, lambda: processes.owned(root, marks), GRACE_SECONDS)
        return ended.stubborn

    async def drain(self, session: str) -> int:
        """Take what the hooks of a session have spooled; how many signals that were."""
        taken = 0
        while True:
            batch = await self.run(session, self._spool.read, session)
            if batch.garbage:
                _log.warning("a spool holds lines that are no signals", session=session, lines=batch.garbage)
            if batch.signals or batch.dropped:
                await self._store.unit(Act(f"session:{session}", "spool"), partial(_hear, batch=batch))
            await self.run(session, self._spool.settle, batch)
            taken += len(batch.signals)
            if not batch.more:
                return taken


def _hear(unit: Unit, batch: Batch) -> None:
    if unit.one(SQL.by_id, id=batch.session) is None:
        return  # the spool outlived its session's rows
    if batch.dropped:
        unit.run(SQL.note_lost, id=batch.session, total=batch.dropped)
    for each in batch.signals:
        door.hear(unit, batch.session, door.Said(each.launch, each.seq, None, each.event, each.detail), "spool")
