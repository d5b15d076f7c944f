"""The watch of pulls in this process: notices that branches and bases have moved, by the files in which they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.core import logs
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import HoldfastError, StoreClosed
from holdfast.core.lifecycle import spawn
from holdfast.fleet.forges import wishes
from holdfast.fleet.forges.desk import ACT, Desk
from holdfast.fleet.forges.local import refs
from holdfast.fleet.pulls.rows import SQL
from holdfast.fleet.workspaces.place import common_dir

if TYPE_CHECKING:
    from holdfast.core.pack import Means
    from holdfast.core.store.port import Row, Unit

#: Seconds after which the open pulls are read again although nobody told of news: a call can be lost.
_STALE_SECONDS = 60.0
#: A file that was written so short ago may be written once more without looking any different.
_RACY_NS = 50_000_000
_log = logs.get("forge")


def _now_ns() -> int:
    return int(SYSTEM.now().timestamp() * 1e9)


class _Repository:
    """One repository with open pulls: what is known of the branches that they are about."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.common = common_dir(path)
        self._seen: Mapping[str, refs.Print] | None = None
        self.at: dict[str, str] = {}

    def look(self, branches: set[str]) -> None:
        """Ask git where the branches are, if anything of their files has changed. Blocks."""
        prints = refs.prints(self.common, sorted(branches))
        if prints == self._seen:
            return
        newest = max((each[0] for each in prints.values() if each is not None), default=0)
        self.at = refs.read(self.path, branches)
        self._seen = None if _now_ns() - newest < _RACY_NS else prints


class PullWatch:
    """A service."""

    name = "pulls"

    def __init__(self, means: Means) -> None:
        self._means = means
        self._desk = means.one(Desk)
        self._wake = asyncio.Event()
        self._rows: list[Row] = []
        self._read_at: float | None = None
        self._repositories: dict[str, _Repository] = {}
        self._unlisten: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take over what earlier processes left, look at every open pull once, then watch."""
        if self._task is not None:
            return
        self._desk.begin()
        self._unlisten = self._means.store.on_topic(wishes.TOPIC, self._told)
        await asyncio.to_thread(self._desk.clear_up)
        await self._reload()
        await self._owe(self._rows)
        self._task = spawn(self._run(), name="pull watch", forever=True)

    async def stop(self) -> None:
        """Watch no more, and end the checks that run: whoever comes next runs them again."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._unlisten is not None:
            self._unlisten()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self._desk.runs.end_all()

    def _told(self) -> None:
        self._read_at = None
        self._wake.set()

    async def _run(self) -> None:
        seconds: float = self._means.settings.fleet.forge_seconds
        while True:
            try:
                await self._round()
            except StoreClosed:
                await asyncio.Event().wait()  # the daemon is on its way down and will cancel us
            except HoldfastError as error:
                if not error.retryable:
                    raise
                _log.warning("pulls cannot be looked at just now", error=error.message)
                self._read_at = None
            if self._rows or self._read_at is None:
                await self._means.clock.sleep(seconds)
            else:
                self._wake.clear()
                if self._read_at is not None:  # nobody told of news since they were read
                    await self._wake.wait()

    async def _round(self) -> None:
        now = self._means.clock.monotonic()
        if self._read_at is None or now - self._read_at > _STALE_SECONDS:
            await self._reload()
        if self._rows:
            moved = await asyncio.to_thread(self._moved, self._rows)
            await self._owe(moved)

    async def _reload(self) -> None:
        self._read_at = self._means.clock.monotonic()  # before the read: what comes during it is read again
        host = self._desk.fleet.host
        rows = await self._means.store.read(lambda reader: reader.all(SQL.open_of_forge, forge="local"))
        self._rows = [row for row in rows if row["host"] == host]
        wanted = {row["repository"] for row in self._rows}
        self._repositories = {path: each for path, each in self._repositories.items() if path in wanted}

    def _moved(self, rows: list[Row]) -> list[Row]:
        """The pulls whose branch or base is not where the row says. Blocks; a few `stat` where nothing moved."""
        moved = []
        branches: dict[str, set[str]] = {}
        for row in rows:
            branches.setdefault(row["repository"], set()).update((row["branch"], row["base"]))
        for path, names in branches.items():
            try:
                found = self._repositories.get(path)
                if found is None:
                    found = self._repositories[path] = _Repository(Path(path))
                found.look(names)
            except HoldfastError as error:
                _log.debug("a repository cannot be looked at", repository=path, error=error.message)
                continue
            moved += [row for row in rows if row["repository"] == path and _differs(row, found.at)]
        return moved

    async def _owe(self, rows: list[Row]) -> None:
        if not rows:
            return

        def work(unit: Unit) -> None:
            for row in rows:
                wishes.look(unit, row["session"], row["id"])

        await self._means.store.unit(ACT, work)


def _differs(row: Row, at: Mapping[str, str]) -> bool:
    known = row["head"], row["base_commit"]
    return (at.get(row["branch"]), at.get(row["base"], row["base_commit"])) != known
