"""Pulls for tests: a person's repository, sessions that work on branches of it, and what minds pulls in a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from holdfast.core.clock import SYSTEM
from holdfast.core.pack import Means
from holdfast.core.propagation import queue
from holdfast.core.propagation.kinds import Registry
from holdfast.core.propagation.pack import PROPAGATION
from holdfast.core.propagation.runner import Runner
from holdfast.core.store.pack import CORE
from holdfast.core.store.port import Act, Reader, Row, Store, Unit
from holdfast.core.store.sql import query
from holdfast.fleet import FLEET
from holdfast.fleet.forges import asking, wishes
from holdfast.fleet.forges.desk import Desk
from holdfast.fleet.forges.handlers import Pulls
from holdfast.fleet.forges.kinds import CHECK, MERGE, PULL
from holdfast.fleet.forges.watching import PullWatch
from holdfast.fleet.pulls import rows
from holdfast.fleet.pulls.facts import Check, Pull
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Launched, Signal, SignalKind
from holdfast.fleet.sessions.rows import SQL
from holdfast.notify import NOTIFY
from holdfast.sections import FleetSettings
from repositories import git, repository

PACKS = (CORE, PROPAGATION, NOTIFY, FLEET)
ACT = Act("token:test", "request:test")
LIMIT = 30.0
PROJECT = "web"
ADD_PROJECT = query(
    "add_project",
    sqlite="INSERT INTO projects (id, path, agent, forge, checks, max_sessions, created_at, base, setup, copy, link, "
    "options, checks_how, merge_by, merge_how, reactions) VALUES (:id, :path, 'scripted', 'local', :checks, 4, :at, "
    "NULL, :setup, '[]', '[]', '{}', :checks_how, :merge_by, :merge_how, '{}')",
)
SET_CHECKS = query("set_checks", sqlite="UPDATE projects SET checks = :checks WHERE id = :id")
LIVE = query(
    "live",
    sqlite="SELECT id, kind, key, state, reason, error FROM propagations WHERE kind IN "
    "('fleet.pull', 'fleet.check', 'fleet.merge') ORDER BY id",
)
DUE = query(
    "due",
    sqlite="UPDATE propagations SET next_attempt_at = :at, not_before = NULL, decided_at = :at "
    "WHERE kind = 'fleet.pull' AND key = :key AND claim IS NULL",
)
KILLS = query("kills", sqlite="SELECT payload FROM propagations WHERE kind = 'fleet.kill' ORDER BY id")
RESTED = query("rested", sqlite="UPDATE sessions SET state_at = :at WHERE id = :id")


def commit(tree: Path, message: str, **files: str) -> str:
    """Commit these files on top of what a tree is at; the commit."""
    for name, content in files.items():
        path = tree / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "--allow-empty", "-m", message)
    return git(tree, "rev-parse", "HEAD")


@dataclass
class Life:
    """One life of a daemon, as far as it minds pulls."""

    means: Means
    desk: Desk
    runner: Runner
    watch: PullWatch


@dataclass
class Forge:
    """A project whose pulls are on the local forge."""

    store: Store
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    life: Life | None = None

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @property
    def data(self) -> Path:
        return self.folder / "own"

    # --- before --------------------------------------------------------------------------------------------------

    async def project(self, *checks: str, **more: str) -> None:
        """A registered repository with these checks."""
        import json

        if not self.repo.exists():
            repository(self.repo)
        given = {"setup": "[]", "checks_how": "in_order", "merge_by": "person", "merge_how": "merge", **more}
        text = json.dumps(list(checks))

        def work(unit: Unit) -> None:
            unit.run(ADD_PROJECT, id=PROJECT, path=str(self.repo), checks=text, at=unit.at, **given)

        await self.store.unit(ACT, work)

    async def session(self, number: int = 1) -> str:
        """A session that lives, with a worktree of its own."""
        name = f"{PROJECT}-{number}"
        tree = self.tree(name)
        git(self.repo, "worktree", "add", "-q", "-b", f"holdfast/{name}", str(tree), "main")

        def work(unit: Unit) -> None:
            unit.run(
                SQL.add, id=name, project=PROJECT, number=number, kind="worker", title=f"Task {number}",
                agent="scripted", speaks="hooks", options="{}", runtime="process", host="local",
                repository=str(self.repo), branch=f"holdfast/{name}", base="main",
                base_commit=git(self.repo, "rev-parse", "main"), at=unit.at,
            )  # fmt: skip
            unit.run(SQL.begin_launch, session=name, number=1, purpose="spawn", at=unit.at, conversation="talk")
            unit.run(SQL.launch_alive, session=name, number=1, handle=None, at=unit.at)
            door.observe(unit, name, Launched(1, "spawn"))

        await self.store.unit(ACT, work)
        return name

    def tree(self, session: str) -> Path:
        return self.folder / "trees" / session

    async def says(self, session: str, kind: SignalKind) -> None:
        """Its agent says something."""

        def work(unit: Unit) -> None:
            seq = door.need(unit, session)[1].seq + 1
            door.observe(unit, session, Signal(1, seq, kind))

        await self.store.unit(ACT, work)

    # --- a daemon ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def up(self, **more: Any) -> AsyncIterator[Life]:
        """A daemon that minds pulls."""
        given = {"forge_seconds": 0.1, **self.settings, **more}
        settings = SimpleNamespace(data=self.data, host="local", channels={}, fleet=FleetSettings(**given))
        means = Means(self.store, SYSTEM, settings, PACKS)
        desk = means.one(Desk)
        pulls = Pulls(desk)
        handlers: Any = {PULL: pulls.pull, CHECK: pulls.check, MERGE: pulls.merge}
        registry = Registry([kind for pack in PACKS for kind in pack.kinds], handlers)
        self.life = life = Life(means, desk, Runner(self.store, registry, SYSTEM, drain_seconds=5.0), PullWatch(means))
        await life.watch.start()
        await life.runner.start()
        try:
            yield life
        finally:
            await life.runner.stop()
            await life.watch.stop()
            self.life = None

    # --- what is known -------------------------------------------------------------------------------------------

    async def read(self, work: Callable[[Reader], Any]) -> Any:
        return await self.store.read(work)

    async def pull(self, number: int = 1) -> Pull:
        found: Pull | None = await self.read(lambda reader: rows.read(reader, f"{PROJECT}.{number}"))
        assert found is not None
        return found

    async def pulls(self, session: str) -> tuple[Pull, ...]:
        found: tuple[Pull, ...] = await self.read(lambda reader: rows.of_session(reader, session))
        return found

    async def owed(self) -> list[Row]:
        found: list[Row] = await self.read(lambda reader: reader.all(LIVE))
        return found

    async def until(self, so: Callable[[Pull], Any], number: int = 1) -> Pull:
        """Look until a pull is as it should be."""

        def look(reader: Reader) -> Pull | None:
            return rows.read(reader, f"{PROJECT}.{number}")

        found: Pull | None = None
        try:
            async with asyncio.timeout(LIMIT):
                while (found := await self.store.read(look)) is None or not so(found):
                    await SYSTEM.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"not in {LIMIT:g} s: {found}\n{await self.owed()}") from None
        return found

    async def hurry(self, session: str) -> None:
        """Let what is owed of a session's branch be due now."""

        def work(unit: Unit) -> None:
            unit.run(DUE, key=session, at=unit.at)
            unit.announce(queue.TOPIC)

        await self.store.unit(ACT, work)

    async def quiet(self) -> None:
        """Until nothing of pulls is owed any more."""
        await self.owes(lambda rows: not rows)

    async def owes(self, so: Callable[[list[Row]], Any]) -> None:
        """Until what is owed of pulls is so."""
        try:
            async with asyncio.timeout(LIMIT):
                while not so(await self.owed()):
                    await SYSTEM.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"owed: {await self.owed()}") from None

    # --- what people do ------------------------------------------------------------------------------------------

    async def ask(self, work: Callable[[Unit, Pull], Any], number: int = 1) -> Any:
        """Somebody asks something of a pull."""

        def act(unit: Unit) -> Any:
            found = rows.read(unit, f"{PROJECT}.{number}")
            assert found is not None
            return work(unit, found)

        return await self.store.unit(ACT, act)

    async def merge(self, number: int = 1, how: Any = None, by: str = "token:test") -> None:
        await self.ask(lambda unit, pull: asking.want_merge(unit, pull, how, by), number)

    async def look(self, number: int = 1) -> None:
        await self.ask(lambda unit, pull: wishes.look(unit, pull.session, pull.id), number)

    async def opened(self, number: int = 1, **files: str) -> Pull:
        """A session with one commit and a pull of it, whose checks are over."""
        session = await self.session(number)
        commit(self.tree(session), f"work {number}", **(files or {f"work{number}": f"{number}\n"}))
        await self.says(session, "working")
        await self.says(session, "done")
        return await self.until(lambda pull: pull.fit != "unknown" and over(pull), number)


def over(pull: Pull) -> bool:
    """Whether all checks of its head have come to an end, against the base as it is."""
    names = {check.name for check in pull.head_checks if check.finished_at and check.base_commit == pull.base_commit}
    return names >= set(pull.expected or ())


def check_of(pull: Pull, name: str | None = None) -> Check:
    """The check of the head; of this name, if there are several."""
    (found,) = [check for check in pull.head_checks if name in {None, check.name}]
    return found
