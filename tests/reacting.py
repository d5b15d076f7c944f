"""One session with a pull, over a real store and a clock that is moved by hand: for tests of reactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from holdfast.core.instants import parse_stamp
from holdfast.core.propagation.kinds import Handler, Kind, Registry
from holdfast.core.propagation.runner import Runner
from holdfast.core.store.port import Reader, Row, Store, Unit
from holdfast.core.store.sql import query
from holdfast.fleet.messages import rows as said
from holdfast.fleet.pulls import door as pulls
from holdfast.fleet.pulls.facts import Check, CheckState, Comment, Observation, Pull, Sight
from holdfast.fleet.reactions.handling import handlers
from holdfast.fleet.reactions.kinds import KINDS
from holdfast.fleet.sessions import door as sessions
from holdfast.fleet.sessions.facts import Probe, Reading, Signal
from manual_clock import ManualClock
from messaging import ACT, PROJECT, SESSION, add_session, is_alive

PULL = "app.1"
WELL, GONE = Reading("alive"), Reading("dead")
LIVE = query(
    "live",
    sqlite="SELECT count(*) AS n FROM propagations WHERE kind LIKE 'reaction.%' AND state <> 'dead' "
    "AND next_attempt_at <= :now",
)
NEXT = query(
    "next",
    sqlite="SELECT claim, next_attempt_at FROM propagations WHERE kind LIKE 'reaction.%' AND state <> 'dead'",
)
NUDGES = query(
    "nudges",
    sqlite="SELECT nudges.*, messages.state AS message_state FROM nudges "
    "LEFT JOIN messages ON messages.id = nudges.message ORDER BY nudges.id",
)
MESSAGES = query("said", sqlite="SELECT id, text, state, kind, created_by FROM messages ORDER BY id")
TOLD = query("told", sqlite="SELECT kind, subject, key, text, resolved_at FROM notices ORDER BY id")
PROJECT_ROW = query(
    "project",
    sqlite="INSERT INTO projects (id, path, forge, checks, max_sessions, created_at) "
    "VALUES ('app', '/nowhere', 'local', '[]', 4, :at)",
)
PROJECT_ROWS = query("projects", sqlite="SELECT id FROM projects")
SETTINGS = query("settings", sqlite="UPDATE projects SET reactions = :text, merge_by = :merge_by WHERE id = 'app'")


def sight(**more: Any) -> Sight:
    """A pull as its forge tells of it: open, clean, with one check that it is to pass."""
    given = {
        "branch": "holdfast/app-1",
        "base": "main",
        "head": "c1",
        "base_commit": "b1",
        "title": "Mend the roof",
        "fit": "clean",
        "expected": ("unit",),
    }
    return Sight(**{**given, **more})


def check(name: str = "unit", state: CheckState = "failed", commit: str = "c1", **more: Any) -> Check:
    """A check of a commit; one that failed has a log."""
    over = state in {"passed", "failed", "errored", "skipped"}
    given: dict[str, Any] = (
        {"tail": f"{name} of {commit} is broken\n", "step": "make test"} if state == "failed" else {}
    )
    if over:
        given["finished_at"] = "2026-01-02T03:04:05.000000Z"
    return Check(name=name, commit=commit, state=state, **{**given, **more})


def comment(external: str = "r1", body: str = "Please rename this.", **more: Any) -> Comment:
    """What somebody asks for."""
    given: dict[str, Any] = {"thread": "t1", "author": "ada", "at": "2026-01-02T03:04:05.000000Z", "path": "roof.py"}
    return Comment(external=external, body=body, **{"line": 7, **given, **more})


def seen(*checks: Check, comments: tuple[Comment, ...] | None = None, pull: str = PULL, **more: Any) -> Observation:
    """One look at the pull."""
    return Observation(pull=pull, sight=sight(**more), checks=checks, comments=comments)


@dataclass
class Place:
    """The session, its pull, and what tells of them."""

    store: Store
    clock: ManualClock
    boot: int = 1_000
    registry: Registry | None = field(default=None)

    async def begin(self, name: str = "command") -> None:
        """A session whose agent lives, with one pull that nothing is known of."""

        def work(unit: Unit) -> None:
            unit.run(PROJECT_ROW, at=unit.at)
            add_session(unit, SESSION, name)
            is_alive(unit)
            self.add_pull(unit)

        await self.store.unit(ACT, work)

    def add_pull(self, unit: Unit, number: int = 1) -> None:
        given = msgspec.structs.asdict(sight(head="c0", expected=None, fit="unknown"))
        pulls.opened(
            unit,
            Pull(
                **given,
                id=f"{PROJECT}.{number}",
                project=PROJECT,
                number=number,
                forge="local",
                session=SESSION,
                opened_by="session:app-1",
                opened_at=unit.at,
            ),
        )

    async def set(self, merge_by: str = "person", **settings: Any) -> None:
        """What the project sets; names with underscores for hyphens."""
        text = msgspec.json.encode({name.replace("_", "-"): given for name, given in settings.items()}).decode()
        await self.store.unit(ACT, lambda unit: unit.run(SETTINGS, text=text, merge_by=merge_by))

    async def see(self, observation: Observation, times: int = 1) -> None:
        """Take this look, and once more for each time."""
        for _ in range(times):
            await self.store.unit(ACT, lambda unit: pulls.observe(unit, observation))

    async def hear(self, kind: Any) -> None:
        """The agent says what it does."""
        self.boot += 1
        signal = Signal(1, self.boot, kind)
        await self.store.unit(ACT, lambda unit: sessions.observe(unit, SESSION, signal))

    async def end(self, **more: Any) -> None:
        """The agent's process exits."""
        self.boot += 1
        given = {"launch": 1, "looked_at": "", "seq": self.boot, "exit_status": 1}
        probe = Probe(readings={"runtime": WELL, "pane": GONE, "process": GONE}, **{**given, **more})
        await self.store.unit(ACT, lambda unit: sessions.observe(unit, SESSION, probe))

    async def deliver(self) -> None:
        """Every message that waits reaches the agent."""

        def work(unit: Unit) -> None:
            for row in unit.all(MESSAGES):
                if row["state"] == "queued":
                    said.move(unit, row["id"], "queued", "typed", None)
                    said.move(unit, row["id"], "typed", "confirmed", "the agent has it")

        await self.store.unit(ACT, work)

    async def rows(self, what: Any, **params: Any) -> list[Row]:
        return await self.store.read(lambda reader: reader.all(what, **params))

    async def nudges(self) -> list[tuple[str, str]]:
        """Reaction and state of each nudge, but for the one that waits for the first word of an agent."""
        return [(row["reaction"], row["state"]) for row in await self.rows(NUDGES) if row["reaction"] != "no-signal"]

    async def messages(self) -> list[str]:
        return [row["text"] for row in await self.rows(MESSAGES)]

    async def notices(self, kind: str = "") -> list[tuple[str, bool]]:
        """The kind of each notice, and whether it is open."""
        found = await self.rows(TOLD)
        return [(row["kind"], row["resolved_at"] is None) for row in found if kind in {"", row["kind"]}]

    @asynccontextmanager
    async def telling(self, **instead: Handler) -> AsyncIterator[Runner]:
        """Tell what is owed meanwhile; with other handlers for some."""
        known: dict[Kind[Any], Handler] = dict(handlers(self.store, self.clock))
        known |= {KINDS[name.replace("_", "-")]: handler for name, handler in instead.items()}
        runner = Runner(self.store, Registry(known, known), self.clock, drain_seconds=5.0)
        await runner.start()
        try:
            yield runner
        finally:
            await runner.stop()

    async def settle(self, **instead: Handler) -> None:
        """Tell what is owed now."""
        if not await self.owed():
            return
        async with self.telling(**instead):
            await self.until(self.nothing)

    def nothing(self, reader: Reader) -> bool:
        """Whether nothing is owed now."""
        row = reader.one(LIVE, now=self.clock.stamp())
        return row is not None and row["n"] == 0

    async def owed(self) -> bool:
        return not await self.store.read(self.nothing)

    async def passing(self, so: Callable[[Reader], object]) -> None:
        """Until this is so; while nothing is to be done now, the clock is moved to when something is."""
        changed = asyncio.Event()
        self.store.on_commit(changed.set)
        async with asyncio.timeout(30):
            while True:
                changed.clear()
                if await self.store.read(so):
                    return
                waits = await self.store.read(self._waits)
                if waits > 0:
                    self.clock.advance(waits)
                else:
                    await changed.wait()

    def _waits(self, reader: Reader) -> float:
        """Seconds until the next try of what nobody does just now."""
        rows = reader.all(NEXT)
        if any(row["claim"] is not None for row in rows) or not rows:
            return 0.0
        return (parse_stamp(min(row["next_attempt_at"] for row in rows)) - self.clock.now()).total_seconds()

    async def until(self, so: Callable[[Reader], object]) -> None:
        """Until this is so; each commit that writes is a reason to look."""
        changed = asyncio.Event()
        self.store.on_commit(changed.set)
        async with asyncio.timeout(30):
            while True:
                changed.clear()
                if await self.store.read(so):
                    return
                await changed.wait()


async def told(store: Store, clock: Any) -> None:
    """Tell whatever reactions owe now."""
    await Place(store, clock).settle()
