"""Notices under a runner whose time a test moves, and channels that only write down what they were given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.pack import NoticeKind
from holdfast.core.propagation import queue
from holdfast.core.propagation.kinds import Handler, Kind, Registry
from holdfast.core.propagation.outcome import Retry
from holdfast.core.propagation.pack import PROPAGATION
from holdfast.core.propagation.runner import Runner
from holdfast.core.propagation.schedule import INTERACTIVE
from holdfast.core.store.pack import CORE
from holdfast.core.store.port import Act
from holdfast.core.store.sql import query
from holdfast.notify import NOTIFY, letters, notices
from holdfast.notify.announcing import Announcing
from holdfast.notify.channels.port import Delivered, Sent, Telling
from holdfast.notify.channels.registry import Channels
from holdfast.notify.effects import NOTICE, PRUNE, SEND, Prune
from holdfast.notify.sending import Sending
from holdfast.notify.upkeep import Keep, pruner
from holdfast.sections import ChannelSettings
from upkept import when

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import StoreMaker
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.outcome import Outcome
    from holdfast.core.store.port import Reader, Row, Store
    from manual_clock import ManualClock

PACKS = (CORE, PROPAGATION, NOTIFY)
ACT = Act("token:test", "request:test")
ROWS = query("rows", sqlite="SELECT * FROM notices ORDER BY id")
JOBS = query(
    "jobs",
    sqlite="SELECT id, kind, key, state, reason FROM propagations "
    "UNION ALL SELECT id, kind, key, state, reason FROM propagation_ledger ORDER BY id",
)

KINDS = (
    NoticeKind(name="plain", doc="Sent at once.", rule="channels"),
    NoticeKind(name="lasting", doc="Sent when it lasts.", rule="channels", dwell=60),
    NoticeKind(name="flapping", doc="Sent now and then.", rule="channels", cool_down=600),
    NoticeKind(name="pressing", doc="Sent once more.", rule="channels", escalate_after=900),
    NoticeKind(name="kept", doc="Only kept.", rule="row"),
    *NOTIFY.notices,
)


class Failing(msgspec.Struct, frozen=True):
    """What never works."""


FAIL = Kind(name="test.fail", doc="Fails.", payload=Failing, schedule=INTERACTIVE, max_attempts=1)


@dataclass
class Recorder:
    """A channel that writes down what it is given, and says of it what a test has it say."""

    name: str
    says: list[Sent] = field(default_factory=list)
    given: list[Telling] = field(default_factory=list)
    where: str = "nowhere"
    mark: str = "nowhere"

    async def unavailable(self) -> str | None:
        return None

    async def send(self, telling: Telling, seconds: float) -> Sent:
        self.given.append(telling)
        return self.says.pop(0) if self.says else Delivered()

    @property
    def told(self) -> list[tuple[int | None, str]]:
        """The notices and stages that it was given."""
        return [(each.notice, each.stage) for each in self.given]


@dataclass
class Scene:
    """A store with notices, the channels they go to, and the time."""

    make_store: StoreMaker
    clock: ManualClock
    store: Store
    recorders: dict[str, Recorder] = field(default_factory=dict)
    settings: dict[str, ChannelSettings] = field(default_factory=dict)
    keep: Keep = field(default_factory=lambda: Keep(timedelta(days=30), 1_000))

    def channel(self, name: str, *says: Sent, **settings: Any) -> Recorder:
        """Add one."""
        self.settings[name] = ChannelSettings(type="desktop", **settings)
        self.recorders[name] = Recorder(name, list(says))
        return self.recorders[name]

    def handlers(self) -> Mapping[Kind[Any], Handler]:
        channels = Channels({}, self.clock, {})
        channels.settings.update(self.settings)
        channels.named.update(self.recorders)
        kinds = {kind.name: kind for kind in KINDS}

        async def fail(_job: Job[Failing]) -> Outcome:
            return Retry(why="no route to host")

        return {
            NOTICE: Announcing(kinds, channels),
            SEND: Sending(channels, kinds, self.store, self.clock),
            PRUNE: pruner(self.keep, self.store, self.clock),
            FAIL: fail,
        }

    def registry(self) -> Registry:
        handlers = self.handlers()
        return Registry(handlers, handlers, (letters.WATCH,))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A daemon's runner. The clock stands still meanwhile."""
        runner = Runner(self.store, self.registry(), self.clock, drain_seconds=5.0)
        await runner.start()
        try:
            yield
        finally:
            await runner.stop()

    async def settle(self) -> None:
        """Let a daemon do all that is due now, then end it."""
        async with self.running():
            await when(self.store, lambda reader: not _due(reader, self.clock.stamp()))

    async def later(self, seconds: float) -> None:
        """So much later, after a restart."""
        self.clock.advance(seconds)
        await self.settle()

    async def reopened(self) -> None:
        """The daemon's store, closed and opened again."""
        place = self.make_store.place_of(self.store)
        await self.store.close()
        self.store = await self.make_store(at=place, packs=PACKS, clock=self.clock)

    async def do(self, work: Callable[..., Any], *words: Any) -> Any:
        return await self.store.unit(ACT, lambda unit: work(unit, *words))

    async def raised(self, kind: str, key: str = "one", subject: str = "thing:1", text: str = "Look.") -> bool:
        return bool(
            await self.store.unit(
                ACT,
                lambda unit: notices.raise_notice(
                    unit, kind=kind, subject=subject, key=key, text=text, scope="test"
                ),
            )
        )  # fmt: skip

    async def pruned(self) -> None:
        """Do the hourly upkeep."""
        await self.do(lambda unit: queue.enqueue(unit, PRUNE, Prune(), key="notify.prune"))
        await self.settle()

    async def rows(self) -> Sequence[Row]:
        return await self.store.read(lambda reader: reader.all(ROWS))

    async def row(self) -> Row:
        """The only one."""
        (found,) = await self.rows()
        return found

    async def jobs(self, kind: str) -> list[tuple[str, str | None]]:
        """The state and reason of every propagation of a kind, in order."""
        rows = await self.store.read(lambda reader: reader.all(JOBS))
        return [(row["state"], row["reason"]) for row in rows if row["kind"] == kind]


DUE = query(
    "due",
    sqlite="SELECT id FROM propagations WHERE claim IS NOT NULL OR "
    "(state <> 'dead' AND behind IS NULL AND next_attempt_at <= :now)",
)


def _due(reader: Reader, now: str) -> list[Row]:
    return reader.all(DUE, now=now)


async def scene_of(make_store: StoreMaker, clock: ManualClock) -> Scene:
    return Scene(make_store, clock, await make_store(packs=PACKS, clock=clock))
