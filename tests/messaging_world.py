"""An agent in a terminal, modelled so that anything can happen to it between any two steps, and a daemon beside it.

The delivery is the real one, over a real store.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from holdfast.core import faults
from holdfast.core.faults import FaultRaisedError
from holdfast.core.propagation import claims
from holdfast.core.propagation.job import Job
from holdfast.core.propagation.verdict import Counts, Failure, after_try
from holdfast.core.store.port import Row, Store, Unit
from holdfast.core.store.sql import query
from holdfast.fleet.agents.registry import agent
from holdfast.fleet.messages import rows
from holdfast.fleet.messages.delivery import Delivery
from holdfast.fleet.messages.kinds import MESSAGE
from holdfast.fleet.messages.words import OVER
from holdfast.fleet.processes import Identity
from holdfast.fleet.runtimes.port import Handle, RuntimeFailed, Screen
from holdfast.fleet.runtimes.recording import Chunk
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Probe, Reading
from manual_clock import ManualClock
from messaging import ACT, PROJECT, add_session, begin_launch, is_alive

POINTS = [name for name in faults.points() if name.startswith("message.")]
#: What can happen between two steps.
HAPPENINGS = (
    "crash", "dialog", "answer", "leave", "allow", "rest", "deaf", "swallow", "die", "hung", "later", "earlier", "slow",
)  # fmt: skip
SET_RIGHT = query("set_right", sqlite="UPDATE propagations SET next_attempt_at = :now WHERE next_attempt_at > :now")
_numbers = itertools.count(1)


@dataclass
class World:
    """An agent in its terminal, with everything that can happen to it."""

    plan: Iterator[str]
    clock: ManualClock
    session: str
    launch: int = 1
    seq: int = 0
    box: str = ""
    unread: list[str] = field(default_factory=list)  # keys and texts that it has not read yet
    dialog: bool = False
    working: bool = False
    alive: bool = True
    deaf: int = 0
    swallows: int = 0
    slow: int = 0
    hung: bool = False
    queued: list[str] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)
    pasted: list[str] = field(default_factory=list)
    into_dialog: list[str] = field(default_factory=list)
    output: bytearray = field(default_factory=bytearray)
    said: list[tuple[int, int, str, dict[str, Any]]] = field(default_factory=list)
    crash: str = ""
    put_back: bool = False
    #: Presses of Enter into an empty box.
    vain: int = 0

    # --- the runtime, as the port says it ---

    async def screen(self, handle: Handle) -> Screen:
        self.happen()
        self._reach(handle)
        if self.dialog:
            return Screen(("? Allow Bash [y/n] ",), 0, 19)
        lines = self.box.count("\n") + 1
        shown = f"[Pasted text: {len(self.box)} characters, {lines} lines]" if lines > 1 else self.box
        above = [f"» {text}" for text in self.consumed[-3:]]
        return Screen((*above, f"> {shown}"), len(above), 2 + len(shown))

    async def reads_lines(self, handle: Handle) -> bool:
        self._reach(handle)
        return False

    async def paste(self, handle: Handle, text: str) -> None:
        self._reach(handle)
        self.pasted.append(text)
        self._key(text)

    async def press(self, handle: Handle, key: str) -> None:
        self._reach(handle)
        self.vain += not self.box and not self.unread
        self._key("\r")

    def _reach(self, handle: Handle) -> None:
        if self.hung or not self.alive or handle.name != f"terminal-{self.launch}":
            raise RuntimeFailed("it does not answer")

    # --- the agent ---

    def _key(self, key: str) -> None:
        if self.dialog:
            self.into_dialog.append(key)
        self.unread.append(key)
        if not self.slow:
            self.read()

    def read(self) -> None:
        """Read what was typed, and go on."""
        for key in self.unread:
            if key != "\r":
                self.box += key
                self.output += f"\r> {key}".encode()
            elif self.swallows:
                self.swallows -= 1
            elif self.box:
                self.queued.append(self.box)
                self.box = ""
        self.unread.clear()
        self.take()

    def take(self) -> None:
        """An agent that rests takes what was submitted."""
        if self.queued and not self.working and not self.dialog:
            text = self.queued.pop(0)
            self.consumed.append(text)
            self.working = True
            self.output += f"\r\n» {text}\r\n".encode()
            self.say("submit", prompt=text)

    def say(self, event: str, **more: Any) -> None:
        self.seq += 1
        if self.deaf:
            self.deaf -= 1
        else:
            self.said.append((self.launch, self.seq, event, more))

    def rest(self) -> None:
        self.read()
        if self.working and not self.dialog:
            self.working = False
            self.say("stop")
            self.take()

    def calm(self) -> None:
        """Everything goes well from now on."""
        self.plan, self.hung, self.slow, self.swallows, self.deaf = iter(()), False, 0, 0, 0
        self.answer()
        self.read()

    def answer(self) -> None:
        if self.dialog:
            self.dialog = False
            self.say("resolved")
            self.read()

    def happen(self) -> None:
        """Between any two steps something may happen."""
        self.slow = max(0, self.slow - 1)
        if not self.slow:
            self.read()
        what = next(self.plan, "nothing")
        if what != "nothing":
            getattr(self, f"_{what}")()

    def _crash(self) -> None:
        self.crash = "crash"

    def _dialog(self) -> None:
        if self.working:
            self.read()
            self.dialog = True
            self.say("permission", tool="Bash")

    def _answer(self) -> None:
        self.answer()

    def _leave(self) -> None:
        """A person presses Esc: the agent rests, and says nothing of that."""
        if self.dialog:
            self.dialog = self.working = False
            self.read()

    def _allow(self) -> None:
        """A person answers, and the agent goes on without a word."""
        self.dialog = False

    def _rest(self) -> None:
        self.rest()

    def _deaf(self) -> None:
        self.deaf = 2

    def _swallow(self) -> None:
        self.swallows = 1

    def _die(self) -> None:
        self.alive = False

    def _hung(self) -> None:
        self.hung = not self.hung

    def _later(self) -> None:
        self.clock._now += timedelta(days=1)

    def _earlier(self) -> None:
        self.clock._now -= timedelta(hours=1)
        self.put_back = True

    def _slow(self) -> None:
        self.slow = 3


@dataclass
class History:
    """The daemon's side."""

    store: Store
    clock: ManualClock
    plan: Iterator[str] = field(default_factory=lambda: iter(()))
    world: World = field(init=False)
    delivery: Delivery = field(init=False)
    tokens: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.world = world = World(self.plan, self.clock, f"app-{next(_numbers)}")
        seen = Recorded(world)
        self.delivery = Delivery(self.store, self.clock, lambda _: world, agent, lambda _: seen, boot=lambda: world.seq)

    async def begin(self) -> None:
        """The agent lives, and rests."""

        def work(unit: Unit) -> None:
            add_session(unit, self.world.session)
            is_alive(unit, self.handle(), self.world.session)

        await self.store.unit(ACT, work)

    def handle(self) -> Handle:
        identity = Identity("boot", 1, 1)
        return Handle("tmux", f"terminal-{self.world.launch}", identity, identity)

    async def say(self, text: str) -> int:
        return await self.store.unit(
            ACT, lambda unit: rows.add(unit, self.world.session, PROJECT, kind="message", text=text, by="token:test")
        )

    async def message(self, number: int) -> Row:
        found = await self.store.read(lambda reader: rows.by_id(reader, number))
        assert found is not None
        return found

    async def hear(self) -> None:
        """Take what was said, and notice a death: the session is restored."""
        said, self.world.said = self.world.said, []

        def work(unit: Unit) -> None:
            for launch, seq, event, detail in said:
                door.hear(unit, self.world.session, door.Said(launch, seq, None, event, detail), "spool")

        if said:
            await self.store.unit(ACT, work)
        if not self.world.alive:
            await self.restore()

    async def restore(self) -> None:
        world = self.world

        def work(unit: Unit) -> None:
            readings = {"runtime": Reading("alive"), "pane": Reading("missing"), "process": Reading("dead")}
            door.observe(unit, world.session, Probe(world.launch - 1, unit.at, world.seq, readings))
            begin_launch(unit, world.session, world.launch)
            is_alive(unit, self.handle(), world.session, world.launch)

        world.launch += 1
        world.seq += 1
        world.alive, world.box, world.dialog, world.working = True, "", False, False
        world.queued.clear()
        world.unread.clear()
        await self.store.unit(ACT, work)

    async def turn(self) -> bool:
        """Try what is due; whether there was anything. A clock that was put back is set right, as the runner does."""
        if self.world.put_back:
            self.world.put_back = False
            await self.store.unit(ACT, lambda unit: unit.run(SET_RIGHT, now=unit.at))
        token = f"run.{next(self.tokens)}"
        found = await self.store.unit(ACT, lambda unit: claims.claim(unit, MESSAGE, token, 1))
        if not found:
            return False
        row = found[0]
        task = asyncio.ensure_future(self.delivery(Job(row, self.store)))
        while not task.done():
            if self.clock.sleeping:
                self.clock.advance(0.1)
                await self.hear()
            await asyncio.sleep(0)
        try:
            outcome: Any = task.result()
        except FaultRaisedError:
            outcome = Failure("the process died")
        then = None if isinstance(outcome, Failure) else outcome.then
        verdict = after_try(MESSAGE, Counts(0, 1), outcome, self.clock.stamp(), 0.0)
        await self.store.unit(ACT, lambda unit: claims.settle_one(unit, row, verdict, then))
        return True

    async def states(self) -> list[tuple[str, str]]:
        found = await self.store.read(lambda reader: rows.page(reader, self.world.session, 0, 100))
        return [(row["state"], row["text"]) for row in found]

    async def drive(self, turns: int) -> None:
        for _ in range(turns):
            if all(state in OVER for state, _ in await self.states()):
                return
            await self.hear()
            if not await self.turn():
                self.world.happen()
                self.clock.advance(1.0)


@contextmanager
def happening(world: World) -> Iterator[None]:
    """Things happen at every point too, and the process may die there."""

    def act() -> None:
        world.happen()
        if world.crash:
            world.crash = ""
            raise FaultRaisedError("died here")

    with ExitStack() as stack:
        for point in POINTS:
            stack.enter_context(faults.armed(point, act))
            faults._armed[point] = Always(act)
        yield


class Always(faults._Armed):
    """Armed for each hit."""

    @property
    def nth(self) -> int:  # type: ignore[override]
        return self.hits

    @nth.setter
    def nth(self, _: int) -> None:
        """Whatever was asked for."""


class Recorded:
    """What the terminal of the world showed."""

    def __init__(self, world: World) -> None:
        self.world = world

    def size(self) -> int:
        return len(self.world.output)

    def read(self, offset: int, limit: int) -> Chunk:
        data = bytes(self.world.output[offset : offset + limit])
        return Chunk(offset, data, offset + len(data), 0)
