"""Brings a launch to life: worktree, set-up, token, files, runtime; each step once, however often it is tried."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core import faults
from holdfast.core.access import tokens
from holdfast.core.errors import Conflict, HoldfastError, Invalid
from holdfast.fleet.agents.declare import Plan, Start
from holdfast.fleet.agents.registry import agent
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.runtimes.port import Handle, Place, Runtime
from holdfast.fleet.sessions import door, losses
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.signals import hook
from holdfast.fleet.workspaces import kept, worktree
from holdfast.fleet.workspaces.bringing import bring
from holdfast.fleet.workspaces.place import Order as WorkOrder
from holdfast.fleet.workspaces.setup import Failure, setup

if TYPE_CHECKING:
    from holdfast.core.store.port import Row, Unit
    from holdfast.fleet.fleet import Fleet
    from holdfast.fleet.sagas.hand import Hand

#: All of a project's set-up commands together.
_SETUP_SECONDS = 240.0

WORKSPACE_MADE = faults.point("launch.workspace-made", "the worktree is there, its row is not written yet")
TOKEN_MADE = faults.point("launch.token-made", "the agent's token is stored, its files are not written yet")
FILES_WRITTEN = faults.point("launch.files-written", "the agent's files are written, it is not started yet")
STARTED = faults.point("launch.started", "the agent runs, and no row says so yet")
ALIVE = faults.point("launch.alive", "the row says that the agent lives, the saga is not settled yet")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Subject:
    """What is launched: the rows of the session, its project and the launch, as the saga found them."""

    session: Row
    project: Row
    launch: Row
    #: What the agent is asked first, and what it is told when it goes on after an interruption.
    prompt: Row | None
    notice: str | None
    #: The work that was kept when its worktree was removed, if it was.
    kept: str | None = None
    #: Whether an earlier try of this launch has begun.
    again: bool = False

    @property
    def id(self) -> str:
        """The session."""
        return str(self.session["id"])

    @property
    def number(self) -> int:
        """The launch."""
        return int(self.launch["number"])

    @property
    def options(self) -> dict[str, Any]:
        """What its agent is given."""
        found: dict[str, Any] = msgspec.json.decode(self.session["options"])
        return found


class SetupFailedError(HoldfastError):
    """A set-up command of the project failed: the agent was not started."""

    code = "setup_failed"
    http_status = 422


class Launch:
    """One launch of one session, from nothing to a proved life."""

    def __init__(self, fleet: Fleet, hand: Hand, subject: Subject) -> None:
        self._fleet = fleet
        self._hand = hand
        self._subject = subject
        #: Whether the worktree is made new, or was by an earlier try that has not come to the end of its set-up. Until
        #: then no row names it.
        self._anew = subject.session["workspace"] is None
        #: The step that is being done, for the evidence of a failure.
        self.step = "checks"
        #: Where the recorded output stood before this launch.
        self._recorded = 0

    @property
    def subject(self) -> Subject:
        """What is launched, as far as is known now."""
        return self._subject

    @property
    def _resumes(self) -> bool:
        """Whether it goes on with a conversation; where there is none yet, it is asked its prompt again."""
        return self._subject.launch["purpose"] == "restore" and self._subject.session["agent_session_id"] is not None

    @property
    def _asks(self) -> bool:
        """Whether it is asked its prompt."""
        return self._subject.prompt is not None and not self._resumes

    async def to_life(self) -> None:
        """Do every step. `HoldfastError` says why it cannot be, `UnwantedError` that it is not to be any more.

        An earlier try may have come as far as the agent: it has its prompt and its token, and is taken over as it is.
        """
        subject, fleet = self._subject, self._fleet
        runtime = fleet.runtime(subject.session["runtime"])
        if subject.again:
            self.step = "record"
            found = await runtime.find(fleet.name(subject.id, subject.number))
            if found is not None:
                path = fleet.paths.workspace(subject.session["project"], subject.id)
                await self._alive(found, self._plan(path))
                return
            await fleet.errands.end_processes(subject.session, launch=subject.number, known=None)
        self.step = "workspace"
        path = await self._workspace()
        self.step = "setup"
        if self._anew:
            await self._setup(path)
        self.step = "agent"
        secret = await self._token(path)
        plan = await asyncio.to_thread(self._write_files, path)
        await FILES_WRITTEN.passed()
        self.step = "runtime"
        place = Place(
            name=fleet.name(subject.id, subject.number),
            cwd=path,
            argv=plan.argv,
            env=fleet.agent_environment(subject.session, subject.number, secret) | dict(plan.env),
            record=fleet.paths.record(subject.id),
        )
        handle = await _launched(runtime, place)
        await STARTED.passed()
        self.step = "record"
        await self._alive(handle, plan)
        await ALIVE.passed()

    async def _workspace(self) -> Path:
        subject = self._subject
        order = work_order(self._fleet, subject.session, subject.project)
        if not self._anew and not await asyncio.to_thread(order.path.exists):
            # Somebody has deleted it: what is made in its place has to be made ready as if there had been none.
            await self._hand.step("workspace-missing", {"path": str(order.path)}, self._forget_workspace)
            self._anew = True
            self._subject = replace(subject, session=subject.session | {"workspace": None})
        path = await self._fleet.errands.run(subject.id, _standing, order, subject.kept, anew=self._anew)
        await WORKSPACE_MADE.passed()
        return path

    async def _setup(self, path: Path) -> None:
        commands: list[str] = msgspec.json.decode(self._subject.project["setup"])
        if not commands:
            return
        subject, fleet = self._subject, self._fleet
        await self._hand.step("setup", {"commands": len(commands)}, lambda _unit: None)
        env = fleet.agent_environment(subject.session, subject.number, None)
        log = fleet.paths.setup_log(subject.id)
        ended = await fleet.errands.run(subject.id, setup, path, commands, env, log, _SETUP_SECONDS)
        if isinstance(ended, Failure):
            message = f"{ended.words} Its last words: {ended.tail[-1_000:]}"
            raise SetupFailedError(message)

    def _forget_workspace(self, unit: Unit) -> None:
        unit.run(SQL.settle_workspace, id=self._subject.id, workspace=None)

    def _settle(self, unit: Unit, path: Path) -> None:
        unit.run(SQL.settle_workspace, id=self._subject.id, workspace=str(path))

    async def _token(self, path: Path) -> str:
        """A token of this launch alone; one of an earlier try is ended, its secret is known to nobody any more."""
        subject = self._subject
        token = tokens.new_token()

        def work(unit: Unit) -> str | None:
            self._settle(unit, path)
            if subject.kept is not None:
                unit.run(SQL.kept_restored, ref=subject.kept, at=unit.at)
            row = unit.one(SQL.launch, session=subject.id, number=subject.number)
            earlier = row["token"] if row else None
            if earlier is not None:
                tokens.revoke(unit, earlier)
            tokens.add(unit, token, f"session {subject.id}, launch {subject.number}", f"session:{subject.id}")
            unit.run(SQL.hold_token, session=subject.id, number=subject.number, token=token.id)
            return earlier

        earlier = await self._hand.step("workspace", {"path": str(path)}, work)
        self._fleet.know_token(token, f"session:{subject.id}", earlier)
        await TOKEN_MADE.passed()
        return token.secret

    def _plan(self, path: Path) -> Plan:
        """What the agent is started with; the same in every try."""
        subject = self._subject
        home = self._fleet.paths.home(subject.id)
        prompt = str(subject.prompt["text"]) if subject.prompt is not None and self._asks else None
        start = Start(
            session=subject.id,
            launch=subject.number,
            workspace=path,
            home=home,
            prompt=prompt,
            resume=subject.session["agent_session_id"] if self._resumes else None,
            fresh=subject.launch["conversation"],
            notice=subject.notice,
            hook=hook.command(),
            options=subject.options,
        )
        return agent(subject.session["agent"]).plan(start)

    def _write_files(self, path: Path) -> Plan:
        """Write what the agent finds when it starts; each file is whole or not there."""
        home = self._fleet.paths.home(self._subject.id)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        plan = self._plan(path)
        for target, content in plan.files.items():
            _write(target, content, (home, path / ".holdfast"))
        return plan

    async def _alive(self, handle: Handle, plan: Plan) -> None:
        """The row that says so, and whatever begins with it, in one unit."""
        subject = self._subject

        def work(unit: Unit) -> None:
            unit.run(
                SQL.launch_alive,
                session=subject.id,
                number=subject.number,
                handle=_encode(handle).decode(),
                at=unit.at,
            )
            door.launched(unit, subject.id, subject.number, "restore" if self._hand.saga == "restore" else "spawn")
            self._say(unit, plan)
            losses.settle(unit, self._fleet.host)
            self._hand.let_go(unit)

        # Somebody may have asked for its end meanwhile: that saga comes next, and finds it alive.
        await self._hand.step("alive", {"process": handle.process.pid}, work, wanted=False)

    def _say(self, unit: Unit, plan: Plan) -> None:
        """What the agent is asked or told first: its command line has it, or it is typed as every message is."""
        subject, prompt = self._subject, self._subject.prompt
        asked = prompt if self._asks else None
        if asked is not None and plan.typed is None:
            messages.given(unit, asked["id"], subject.number, self._recorded)
        elif plan.typed is not None and (asked is None or plan.typed != asked["text"]):
            messages.add(unit, subject.id, subject.session["project"], kind="notice", text=plan.typed, by="daemon")


def work_order(fleet: Fleet, session: Row, project: Row | None) -> WorkOrder:
    """The worktree of a session, as it was or is to be made."""
    return WorkOrder(
        repo=Path(session["repository"]),
        store=fleet.means.store.uuid,
        session=session["id"],
        branch=session["branch"],
        commit=session["base_commit"],
        path=fleet.paths.workspace(session["project"], session["id"]),
        copy=() if project is None else tuple(msgspec.json.decode(project["copy"])),
        link=() if project is None else tuple(msgspec.json.decode(project["link"])),
    )


async def _launched(runtime: Runtime, place: Place) -> Handle:
    try:
        return await runtime.launch(place)
    except FileNotFoundError as error:  # a program that the runtime itself needs, which was there when this was asked
        missing = await asyncio.to_thread(runtime.available)
        raise Conflict(missing or f"Something that the runtime {runtime.name} needs is missing: {error}.") from error


def _standing(order: WorkOrder, ref: str | None, *, anew: bool) -> Path:
    """The worktree, as it stands or as it was when it was removed; one that is new has the person's files too."""
    marker = worktree.marker_of(order)
    whole = marker is not None and marker.state == "whole"
    path = worktree.add(order).path if ref is None or whole else kept.restore(order, ref).path
    if anew and (whole or ref is not None):  # else they were brought when it was added
        bring(order.repo, path, order.copy, order.link)
    return path


def _write(target: Path, content: bytes, allowed: tuple[Path, ...]) -> None:
    if not any(target.is_relative_to(folder) for folder in allowed):
        message = f"{str(target)!r} lies neither in the agent's home nor in the workspace's own folder."
        raise Invalid(message)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in allowed:
        if folder.name == ".holdfast" and target.is_relative_to(folder):
            (folder / ".gitignore").write_text("*\n", "utf-8")
    # Whole or not at all; not synced, because every try writes it again.
    new = target.with_name(target.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
    new.rename(target)
