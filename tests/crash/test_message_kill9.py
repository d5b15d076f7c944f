"""kill -9 of the daemon at every fault point of a message: its agent has it once, or a person is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from holdfast.core import faults
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from messaging import PACKS, Outside, Stage, environment

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.needs("tmux"), pytest.mark.crash]

WORKER = Path(__file__).with_name("messaging_worker.py")
POINTS = sorted(name for name in faults.points() if name.startswith("message."))
#: Points after which the text is in the terminal for certain, and what it left behind proves it.
PROVABLE = {"message.written", "message.pressed", "message.submitted"}
#: The second one is shown by its size only: that all of it stands in the box cannot be seen.
SHOWN_BY_ITS_SIZE = 2
SAID = ("first", "second, in\ntwo lines", "third")


@dataclass
class World:
    """A data folder, and an agent outside of it."""

    data: Path
    url: str | None
    outside: Path

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Stage]:
        with hold_data(self.data) as lock:
            store = await open_store(StoreConfig(data=self.data, packs=PACKS, url=self.url), lock)
            stage = Stage(store, Outside(self.outside, store.uuid))
            try:
                yield stage
            finally:
                await store.close()

    def daemon(self, faulty: str = "", *, to_the_end: bool = False) -> int:
        """One life of a daemon: how it ended."""
        given = {"data": str(self.data), "outside": str(self.outside), "url": self.url, "to_the_end": to_the_end}
        words = [sys.executable, str(WORKER), msgspec.json.encode(given).decode()]
        done = subprocess.run(
            words, env=environment(HOLDFAST_FAULTS=faulty), capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode in {0, faults.DIED}, done.stderr
        return done.returncode


@pytest.fixture
async def world(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    url = None
    if engine == "postgres":
        make: Callable[[], str] = request.getfixturevalue("new_database")
        url = make()
    (tmp_path / "data").mkdir()
    world = World(tmp_path / "data", url, tmp_path / "outside")
    async with world.opened() as stage:
        await stage.begin("every:\nwork 0.01 1\n")
        kept = stage.outside
        for text in SAID:
            await stage.say(text)
    yield world
    await kept.end()


def test_the_walk_knows_the_points() -> None:
    assert {*PROVABLE, "message.typed"} == set(POINTS)


@pytest.mark.guards(
    "After kill -9 of the daemon at any point of a delivery the agent has each message once and in order; the one that "
    "was under way may be unknown, is never sent again, and a person is told.",
    against="A daemon that dies between a key press and its record sends the message again, or forgets it.",
    breaks=("messages-type-again", "messages-trust-partial-pastes"),
)
@pytest.mark.parametrize(("point", "nth"), [*((point, 1) for point in POINTS), ("message.written", SHOWN_BY_ITS_SIZE)])
async def test_kill_9_at_every_point_of_a_delivery_repeats_and_loses_nothing(
    world: World, point: str, nth: int
) -> None:
    assert world.daemon(f"{point}=die@{nth}") == faults.DIED
    assert world.daemon() == 0
    async with world.opened() as stage:
        states, notices = await stage.states(), await stage.notices()
        consumed, told = stage.outside.consumed(), [each["resolved_at"] for each in notices]
        if "held" in states:
            assert told == [None], "it stands in the input box, nobody knows whether whole, and a person is told"
            await stage.outside.submit_by_hand()
    if "held" in states:
        assert consumed == list(SAID[: states.index("unknown")])
        assert world.daemon(to_the_end=True) == 0
        async with world.opened() as stage:
            states, consumed = await stage.states(), stage.outside.consumed()
    known = [text for text, state in zip(SAID, states, strict=True) if state == "confirmed"]
    assert set(states) <= {"confirmed", "unknown"}
    assert states.count("unknown") == (point == "message.typed")
    assert consumed == known
    assert len(told) == (point == "message.typed" or (point == "message.written" and nth == SHOWN_BY_ITS_SIZE))
