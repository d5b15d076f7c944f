"""The fleet of one process: puts its runtimes, agents, folders and spool together for handlers, services and routes."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.errors import Conflict, Invalid, NotFound, Unavailable
from holdfast.fleet import processes
from holdfast.fleet.agents.registry import agent, installed
from holdfast.fleet.errands import Errands
from holdfast.fleet.paths import Paths
from holdfast.fleet.processes import Usage
from holdfast.fleet.runtimes.port import Handle, NotThere, Runtime, Screen
from holdfast.fleet.runtimes.process import ProcessRuntime
from holdfast.fleet.runtimes.recording import Recording
from holdfast.fleet.runtimes.tmux import TmuxRuntime
from holdfast.fleet.sessions.admission import Caps, spare_memory_mb
from holdfast.fleet.sessions.creation import BRANCHES, Order, Prepared
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.signals.spool import Spool
from holdfast.fleet.workspaces import worktree
from holdfast.fleet.workspaces.diff import Diff, diff
from holdfast.fleet.workspaces.kept import Restored, restore_at

if TYPE_CHECKING:
    from holdfast.core.access.tokens import NewToken
    from holdfast.core.pack import Means
    from holdfast.core.store.port import Row

#: What must be free on the disk of the data folder before a worktree is made.
_DISK_BYTES = 200 * 1024 * 1024


class Fleet:
    """What this process needs to run agents; nothing of it begins before it is asked for."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self.paths = Paths(means.settings.data)
        self.host: str = means.settings.host
        self.spool = Spool(self.paths.spool)
        self.errands = Errands(means.store, self.spool)
        self._runtimes: dict[str, Runtime] = {}
        self._usable: set[str] = set()

    # --- names and places --------------------------------------------------------------------------------------

    def name(self, session: str, launch: int) -> str:
        """What everything outside is called that belongs to a launch."""
        return f"hf{self.means.store.uuid[:8]}-{session}-{launch}"

    def runtime(self, name: str) -> Runtime:
        """The runtime of that name."""
        if name not in self._runtimes:
            self._runtimes[name] = _make_runtime(name, self.paths.runtime(name), self.means.store.uuid)
        return self._runtimes[name]

    def missing(self, name: str) -> str | None:
        """What a runtime lacks on this machine, in words; what was there once is not looked for again. Blocks."""
        if name not in self._usable:
            lacking = self.runtime(name).available()
            if lacking is not None:
                return lacking
            self._usable.add(name)
        return None

    def usual_runtime(self) -> str:
        """Where new sessions run; `Unavailable` where that cannot be. Blocks."""
        wanted: str = self.means.settings.fleet.runtime
        if wanted == "auto":
            wanted = "process" if self.missing("tmux") else "tmux"
        lacking = self.missing(wanted)
        if lacking is not None:
            raise Unavailable(lacking)
        return wanted

    def recording(self, session: str) -> Recording:
        """What the terminal of a session has shown."""
        return Recording(self.paths.record(session))

    def caps(self) -> Caps:
        """What bounds the fleet now."""
        settings = self.means.settings.fleet
        return Caps(settings.max_sessions, self.host, spare_memory_mb(settings.min_free_memory_mb))

    def person_environment(self) -> dict[str, str]:
        """What this daemon was started with, without what is its own: also not the secrets that it signs with."""
        secret = {channel.secret_env for channel in self.means.settings.channels.values()}
        return {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HOLDFAST_", "TMUX")) and name not in secret
        }

    def agent_environment(self, session: Row, launch: int, secret: str | None) -> dict[str, str]:
        """The environment of an agent: the person's own, without what is the daemon's, and what names the session."""
        env = self.person_environment()
        env |= self.errands.marks(session["id"], launch)
        env |= {
            "HOLDFAST_PROJECT": session["project"],
            "HOLDFAST_URL": self.means.url,
            "HOLDFAST_SPOOL": str(self.spool.path(session["id"])),
        }
        return env if secret is None else env | {"HOLDFAST_TOKEN": secret}

    # --- tokens ------------------------------------------------------------------------------------------------

    def know_token(self, token: NewToken, scope: str, earlier: str | None) -> None:
        """A token of an agent was stored; an earlier one of the same launch is refused from now on."""
        if self.means.tokens is not None:
            self.means.tokens.added(token, scope)
            if earlier is not None:
                self.means.tokens.ended(earlier)

    def forget_token(self, token: str) -> None:
        """A token was revoked."""
        if self.means.tokens is not None:
            self.means.tokens.ended(token)

    # --- for routes --------------------------------------------------------------------------------------------

    async def prepare(self, order: Order) -> Prepared:
        """Check all that a session needs before anything is made of it."""
        row = await self.means.store.read(lambda reader: reader.one(SQL.project, id=order.project))
        if row is None:
            message = f"There is no project {order.project[:80]!r}. `holdfast project ls` lists them."
            raise NotFound(message)
        name = order.agent or row["agent"]
        if name is None:
            message = (
                f"Which agent? Project {order.project!r} names none. Give `agent`; `holdfast agents ls` lists them."
            )
            raise Invalid(message, field="agent")
        options: Mapping[str, Any] = msgspec.json.decode(row["options"]) | dict(order.options)
        declared = agent(name)
        numbered = await self.means.store.read(lambda reader: reader.one(SQL.number_of, project=order.project))
        branch = order.branch or f"{BRANCHES}{order.project}-{1 + (numbered['last'] if numbered else 0)}"
        base = await self._checked(Path(row["path"]), branch, order.base or row["base"])
        path = os.environ.get("PATH", os.defpath)
        if await asyncio.to_thread(installed, declared, options, path) is None:
            message = f"The agent {name!r} is not installed: {declared.binary or 'its command'} is not on the PATH."
            raise Conflict(f"{message} {declared.install}", field="agent")
        runtime = await asyncio.to_thread(self.usual_runtime)
        return Prepared(
            order=order,
            repository=row["path"],
            agent=name,
            speaks=declared.speaks,
            options=options,
            runtime=runtime,
            host=self.host,
            base=base.name,
            base_commit=base.commit,
        )

    async def _checked(self, repo: Path, branch: str, base: str | None) -> worktree.Base:
        """Where the branch begins; git is asked two things at once, because a person waits."""
        free = shutil.disk_usage(self.paths.data).free
        if free < _DISK_BYTES:
            message = (
                f"The disk of {self.paths.data} has {free // 2**20} MB left, too little for a worktree. Make room."
            )
            raise Unavailable(message)
        asked = self.errands.ask(worktree.base_of, repo, base), self.errands.ask(worktree.require_free, repo, branch)
        found, taken = await asyncio.gather(*asked, return_exceptions=True)
        for answer in (found, taken):  # a repository that is not there is told before anything about its branches
            if isinstance(answer, BaseException):
                raise answer
        assert isinstance(found, worktree.Base)
        return found

    async def handle(self, session: str) -> tuple[Row, Handle]:
        """The row of a session that lives, and the handle of its launch."""

        def work(reader: Any) -> tuple[Row | None, Row | None]:
            row = reader.one(SQL.by_id, id=session)
            return row, None if row is None else reader.one(SQL.launch, session=session, number=row["launch"])

        row, launch = await self.means.store.read(work)
        if row is None:
            message = f"There is no session {session[:80]!r}. `holdfast ls` lists them."
            raise NotFound(message)
        if row["alive_since"] is None or launch is None or launch["handle"] is None:
            message = f"Session {session} does not live, so it has no terminal. See: holdfast show {session}"
            raise Conflict(message)
        return row, msgspec.json.decode(launch["handle"], type=Handle)

    async def screen(self, session: str) -> Screen:
        """What the terminal of a session shows."""
        row, handle = await self.handle(session)
        try:
            return await self.runtime(row["runtime"]).screen(handle)
        except NotThere as error:
            raise Conflict(error.message) from None

    async def attach(self, session: str) -> list[str]:
        """The command by which a person joins a session's terminal."""
        row, handle = await self.handle(session)
        return list(self.runtime(row["runtime"]).attach(handle))

    async def diff(self, session: str, limit: int) -> Diff:
        """What a session has changed, against where it began."""
        row = await self.means.store.read(lambda reader: reader.one(SQL.by_id, id=session))
        if row is None:
            message = f"There is no session {session[:80]!r}. `holdfast ls` lists them."
            raise NotFound(message)
        if row["workspace"] is None:
            message = f"Session {session} has no worktree. Its kept work: holdfast kept ls"
            raise Conflict(message)
        return await self.errands.ask(diff, Path(row["workspace"]), row["base_commit"], limit)

    async def kept_restore(self, ref: str, path: str | None) -> Restored:
        """Put kept work back, where a person wants it or in a folder of its own below the data folder."""
        row = await self.means.store.read(lambda reader: reader.one(SQL.kept_by_ref, ref=ref))
        if row is None:
            message = f"There is no kept work {ref[:200]!r}. `holdfast kept ls` lists it."
            raise NotFound(message)
        target = self.paths.restored(ref) if path is None else Path(path)
        return await self.errands.bring(restore_at, Path(row["repository"]), ref, target)

    async def usage(self, sessions: Iterable[str]) -> dict[str, Usage]:
        """Memory and processor time of the process trees of sessions that live."""
        wanted = set(sessions)
        rows = await self.means.store.read(lambda reader: reader.all(SQL.alive_launches, host=self.host))
        roots = {
            row["id"]: msgspec.json.decode(row["handle"], type=Handle).process
            for row in rows
            if row["id"] in wanted and row["handle"] is not None
        }
        found = await asyncio.to_thread(processes.usage, roots.values())
        return {session: found[root] for session, root in roots.items() if root in found}

    async def close(self) -> None:
        """End what is being made, and let go of the runtimes; what runs there goes on."""
        await self.errands.close()
        for runtime in self._runtimes.values():
            await runtime.close()


def _make_runtime(name: str, home: Path, store: str) -> Runtime:
    match name:
        case "tmux":
            return TmuxRuntime(home, store)
        case "process":
            return ProcessRuntime(home, store)
    message = f"There is no runtime {name!r}."
    raise Unavailable(message)
