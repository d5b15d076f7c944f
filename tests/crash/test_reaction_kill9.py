"""kill -9 of the daemon at every fault point between a fact and its telling: nothing is lost, nothing told twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from holdfast.core import faults
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.fleet.reactions import handling
from messaging import PACKS, environment
from reacting import MESSAGES, NUDGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.core.store.port import Reader, Row

pytestmark = pytest.mark.crash

WORKER = Path(__file__).with_name("reacting_worker.py")
#: Those of the reactions, and those of what carries them, which lie between the fact and its telling.
POINTS = (
    *sorted(name for name in faults.points() if name.startswith("reaction.")),
    "propagation.starting",
    "propagation.happened",
)
#: So many things are owed by the look.
OWED = 2


def life(data: Path, url: str | None, faulty: str = "") -> int:
    """One life of a daemon: how it ended."""
    words = [sys.executable, str(WORKER), msgspec.json.encode({"data": str(data), "url": url}).decode()]
    done = subprocess.run(
        words, env=environment(HOLDFAST_FAULTS=faulty), capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode in {0, faults.DIED}, done.stderr
    return done.returncode


def test_the_walk_knows_the_points() -> None:
    assert handling.TOLD.name in POINTS
    assert set(POINTS) <= faults.points().keys()


@pytest.mark.guards(
    "After kill -9 of the daemon at any point between a fact and its telling, each nudge is told, and told once.",
    against="A signature recorded before the send loses the nudge; one recorded after it repeats the nudge on a crash.",
    breaks=("reaction-records-before-it-tells",),
)
@pytest.mark.parametrize("nth", range(1, OWED + 1))
@pytest.mark.parametrize("point", POINTS)
async def test_kill_9_loses_no_nudge_and_tells_none_twice(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, point: str, nth: int
) -> None:
    make: Callable[[], str] | None = request.getfixturevalue("new_database") if engine == "postgres" else None
    url = None if make is None else make()
    data = tmp_path / "data"
    data.mkdir()
    assert life(data, url, f"{point}=die@{nth}") == faults.DIED
    assert life(data, url) == 0
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(data=data, packs=PACKS, url=url), lock)

        def work(reader: Reader) -> tuple[list[Row], list[Row]]:
            return reader.all(NUDGES), reader.all(MESSAGES)

        nudges, messages = await store.read(work)
        await store.close()
    assert sorted((row["reaction"], row["state"]) for row in nudges) == [
        ("ci-failed", "sent"),
        ("review-comments", "sent"),
    ]
    assert sorted(text["text"].split(" ")[0] for text in messages) == ["CI", "There"]
