"""One session whose agent is alive in a terminal, and the delivery of what is said to it: for tests of messages.

The agent is the built-in scripted one. It writes down exactly what it was given, so that its journal proves what was
typed into it and what was not.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

import runtimes
from holdfast.core.clock import SYSTEM
from holdfast.core.propagation.kinds import Handler, Kind, Registry
from holdfast.core.propagation.pack import PROPAGATION
from holdfast.core.propagation.runner import Runner
from holdfast.core.store.pack import CORE
from holdfast.core.store.port import Act, Reader, Row, Store, Unit
from holdfast.core.store.sql import query
from holdfast.fleet import FLEET, processes
from holdfast.fleet.agents.declare import Start
from holdfast.fleet.agents.registry import agent
from holdfast.fleet.messages import rows
from holdfast.fleet.messages.delivery import Delivery
from holdfast.fleet.messages.kinds import MESSAGE
from holdfast.fleet.reactions.handling import handlers
from holdfast.fleet.runtimes.port import Handle, Place, Runtime
from holdfast.fleet.runtimes.recording import Recording
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Launched
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.signals import hook
from holdfast.fleet.signals.spool import Spool
from holdfast.notify import NOTIFY

PACKS = (CORE, PROPAGATION, NOTIFY, FLEET)
ACT = Act("token:test", "request:test")
LIMIT = 30.0
SESSION, PROJECT = "app-1", "app"
NOTICES = query("notices", sqlite="SELECT kind, key, text, resolved_at FROM notices ORDER BY id")
LIVE = query("live", sqlite="SELECT count(*) AS n FROM propagations WHERE kind = 'fleet.message' AND state <> 'dead'")
UNTOLD = query("untold", sqlite="SELECT id FROM nudges WHERE state = 'owed' AND reaction <> 'no-signal'")
OWED = query("owed", sqlite="SELECT * FROM propagations WHERE kind = 'fleet.message' ORDER BY id")


def add_session(unit: Unit, session: str = SESSION, name: str = "scripted", launch: int = 1) -> None:
    """The rows of a session whose first launch has begun and is not alive."""
    unit.run(
        SQL.add,
        id=session,
        project=PROJECT,
        number=int(session.rpartition("-")[2]),
        kind="task",
        title="a session",
        agent=name,
        speaks=agent(name).speaks,
        options="{}",
        runtime="tmux",
        host="here",
        repository="/nowhere",
        branch=f"holdfast/{session}",
        base="main",
        base_commit="0" * 40,
        at=unit.at,
    )
    begin_launch(unit, session, launch)


def begin_launch(unit: Unit, session: str = SESSION, launch: int = 1) -> None:
    unit.run(SQL.begin_launch, session=session, number=launch, purpose="spawn", at=unit.at, conversation="talk")


def is_alive(unit: Unit, handle: Handle | None = None, session: str = SESSION, launch: int = 1) -> None:
    """It lives, in this terminal."""
    text = msgspec.json.encode(handle).decode() if handle else None
    unit.run(SQL.launch_alive, session=session, number=launch, handle=text, at=unit.at)
    door.observe(unit, session, Launched(launch, "spawn"))


@dataclass
class Outside:
    """What outlives a daemon: the agent, its folders, its terminal's runtime."""

    folder: Path
    uuid: str
    session: str = SESSION
    kind: runtimes.Kind = runtimes.RUNTIMES[0]
    runtime: Runtime = field(init=False)
    spool: Spool = field(init=False)
    handle: Handle | None = None

    def __post_init__(self) -> None:
        for name in ("home", "tree", "runtime"):
            self.path(name).mkdir(parents=True, exist_ok=True)
        self.runtime = self.kind.make(self.path("runtime"), self.uuid)
        self.spool = Spool(self.folder / "spool")

    def path(self, name: str) -> Path:
        return self.folder / name if name == "runtime" else self.folder / self.session / name

    def recording(self, session: str = "") -> Recording:
        return Recording(self.folder / (session or self.session) / "record")

    async def launch(self, steps: str = "", prompt: str | None = None, number: int = 1) -> Handle:
        """Start the agent; it is there when it has opened its terminal."""
        options = {"steps": steps} if steps else {}
        home, tree = self.path("home"), self.path("tree")
        start = Start(self.session, number, tree, home, prompt, None, "talk", None, hook.command(), options)
        plan = agent("scripted").plan(start)
        for path, content in plan.files.items():
            path.write_bytes(content)
        env = {
            "HOLDFAST_STORE": self.uuid,
            "HOLDFAST_SESSION": self.session,
            "HOLDFAST_LAUNCH": str(number),
            "HOLDFAST_SPOOL": str(self.spool.path(self.session)),
        }
        place = Place(f"hf{self.uuid[:8]}-{self.session}-{number}", tree, plan.argv, env, self.path("record"))
        self.handle = await self.runtime.launch(place)
        await soon(lambda: any(each["kind"] == "start" and each["launch"] == number for each in self.journal()))
        return self.handle

    async def run(self, *argv: str) -> Handle:
        """Start a program that says nothing of itself."""
        place = Place(f"hf{self.uuid[:8]}-{self.session}-1", self.path("tree"), argv, {}, self.path("record"))
        self.handle = await self.runtime.launch(place)
        return self.handle

    def journal(self) -> list[dict[str, Any]]:
        """What the agent was given, in order."""
        path = self.path("home") / "journal.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def consumed(self) -> list[str]:
        return [each["text"] for each in self.journal() if each["kind"] in {"message", "prompt"}]

    def answers(self) -> list[dict[str, Any]]:
        """Keys that reached a dialog."""
        return [each for each in self.journal() if each["kind"] == "typed_into_dialog"]

    async def submit_by_hand(self) -> None:
        """A person attaches and presses Enter."""
        before = len(self.consumed())
        handle = await self.runtime.find(f"hf{self.uuid[:8]}-{self.session}-1")
        assert handle is not None
        await self.runtime.press(handle, "enter")
        await soon(lambda: len(self.consumed()) > before)

    def touch(self, name: str) -> None:
        (self.path("home") / name).touch()

    async def end(self) -> None:
        """End the agent, and the server of its terminal."""
        marks = {"HOLDFAST_STORE": self.uuid}
        root, server = (self.handle.process, self.handle.server) if self.handle else (None, None)
        await asyncio.to_thread(processes.end, lambda: processes.owned(root, marks), 0.2)
        if self.handle is not None:
            await asyncio.to_thread(processes.end, [self.handle.process], 0.2)
            await self.runtime.forget(self.handle.name)
        await self.runtime.close()
        if server is not None:
            await asyncio.to_thread(processes.end, lambda: [server] if processes.state(server) == "alive" else [], 0.5)


@dataclass
class Stage:
    """A store with the session in it, and what is outside."""

    store: Store
    outside: Outside

    async def begin(self, steps: str = "", prompt: str | None = None) -> None:
        """The agent lives, and rests."""
        await self.lives(await self.outside.launch(steps, prompt), "scripted")
        await self.pump()

    async def lives(self, handle: Handle, name: str) -> None:
        """The rows say that this agent lives."""

        def work(unit: Unit) -> None:
            add_session(unit, self.outside.session, name)
            is_alive(unit, handle, self.outside.session)

        await self.store.unit(ACT, work)

    async def say(self, text: str, kind: Any = "message") -> int:
        session = self.outside.session
        return await self.store.unit(
            ACT, lambda unit: rows.add(unit, session, PROJECT, kind=kind, text=text, by="token:test")
        )

    async def message(self, number: int) -> Row:
        found = await self.store.read(lambda reader: rows.by_id(reader, number))
        assert found is not None
        return found

    async def states(self) -> list[str]:
        found = await self.store.read(lambda reader: rows.page(reader, self.outside.session, 0, 100))
        return [row["state"] for row in found]

    async def notices(self) -> list[Row]:
        return await self.store.read(lambda reader: reader.all(NOTICES))

    async def pump(self) -> None:
        """Take what the agent has said."""
        await hear_all(self.store, self.outside.spool)

    async def until(self, so: Callable[[Reader], object]) -> None:
        """Take what the agent says until this is so in the store."""
        async with asyncio.timeout(LIMIT):
            while True:
                await self.pump()
                if await self.store.read(so):
                    return
                await SYSTEM.sleep(0.01)

    async def reached(self, number: int, *states: str) -> Row:
        """Until a message is in one of these states."""
        await self.until(lambda reader: (rows.by_id(reader, number) or {"state": ""})["state"] in states)
        return await self.message(number)

    async def settled(self) -> None:
        """Until nothing is owed to anybody."""
        await self.until(lambda reader: reader.one(LIVE) == {"n": 0})

    @asynccontextmanager
    async def delivering(self, kind: Kind[Any] = MESSAGE, **more: Any) -> AsyncIterator[Runner]:
        """Bring messages to agents meanwhile, and tell people of them."""
        delivery = Delivery(self.store, SYSTEM, lambda _: self.outside.runtime, agent, self.outside.recording)
        known: dict[Kind[Any], Handler] = {kind: delivery, **handlers(self.store, SYSTEM)}
        runner = Runner(self.store, Registry(known, known), SYSTEM, drain_seconds=0.0, **more)
        await runner.start()
        try:
            yield runner
        finally:
            await runner.stop()


async def hear_all(store: Store, spool: Spool) -> None:
    for session in await asyncio.to_thread(spool.pending):
        batch = await asyncio.to_thread(spool.read, session)

        def work(unit: Unit, session: str = session, batch: Any = batch) -> bool:
            if unit.one(SQL.by_id, id=session) is None:
                return False
            for each in batch.signals:
                door.hear(unit, session, door.Said(each.launch, each.seq, None, each.event, each.detail), "spool")
            return True

        if await store.unit(ACT, work):
            await asyncio.to_thread(spool.settle, batch)


async def soon(so: Callable[[], object]) -> None:
    """Look until it is so."""
    async with asyncio.timeout(LIMIT):
        while not so():
            await SYSTEM.sleep(0.01)


def environment(**more: str) -> dict[str, str]:
    """The environment of a process of ours."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(("src", "tests")), **more}
