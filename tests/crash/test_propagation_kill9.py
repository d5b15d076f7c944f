"""kill -9 at every fault point of the runner: nothing that is owed is lost, and nothing is recorded as done twice."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast.core.propagation
from crash.propagating.owing import PACKS
from crash.propagating.worker import CHUNKS, MORTAL
from crash.propagating.workers import ONE, Place
from holdfast.core import faults
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.sql import query

for _found in pkgutil.iter_modules(holdfast.core.propagation.__path__, "holdfast.core.propagation."):
    importlib.import_module(_found.name)
POINTS = sorted(name for name in faults.points() if name.startswith("propagation."))
#: Of each kind.
EFFECTS = 20
LOG = query("log", sqlite="SELECT entity_id, payload FROM change_log WHERE entity = 'propagation' ORDER BY seq")
FACTS = query("facts", sqlite="SELECT id FROM things ORDER BY id")


@pytest.fixture
def place(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    url = request.getfixturevalue("new_database")() if engine == "postgres" else None
    with Place(tmp_path, url).ending() as place:
        yield place


def test_the_walk_knows_the_points() -> None:
    assert {"propagation.enqueued", "propagation.claimed", "propagation.settled"} <= set(POINTS)


@pytest.mark.crash
@pytest.mark.guards(
    "After kill -9 at any point between enqueue and acknowledgement everything that is owed is done and recorded once; "
    "an effect is repeated once at most for each death, and never where the other side honours its key.",
    against="Effects that are lost, done twice, or recorded twice, because a process died at the wrong moment.",
    breaks=("propagation-settles-before-it-happens", "propagation-effect-differs-with-each-try"),
)
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 3])
async def test_kill_9_at_every_point_loses_nothing_and_repeats_little(place: Place, point: str, nth: int) -> None:
    # The first death leaves rows under way, so that the second process has something to rescue.
    deaths = 0
    for faulty, end in (("propagation.happened=die@7", EFFECTS // 2), (f"{point}=die@{nth}", EFFECTS), ("", EFFECTS)):
        status, words = place.worker("die", faulty, end=end).ended()
        assert status in (0, faults.DIED), words
        deaths += status == faults.DIED
    assert status == 0
    assert deaths == 2 or nth > 1, "some points are met once only in so short a life, all of them are met"

    owed, done = await place.left()
    assert owed == [], "nothing is owed any more"
    names = {str(n) for n in range(EFFECTS)}
    for each in MORTAL:
        recorded = sorted(json.loads(row["payload"])["n"] for row in done if row["kind"] == each.name)
        assert recorded == list(range(EFFECTS)), f"{each.name}: each is recorded once"
    assert {row["state"] for row in done} == {"done"}
    for name in ("test.plain", "test.batched"):
        had = Counter(place.outside.told(name))
        assert set(had) == names, f"{name}: every effect was had"
        assert max(had.values()) <= 1 + deaths, f"{name}: one repeat for each death at most"
    assert Counter(place.outside.told("test.keyed")) == dict.fromkeys(names, 1)
    log, facts = await logged(place)
    assert facts == sorted([*(f"fact-{n}" for n in names), *(f"fill-{n}" for n in range(CHUNKS))])
    ends = Counter(entity for entity, state in log if state == "done")
    assert ends == {str(row["id"]): 1 for row in done}, "the log tells of each end once"


async def logged(place: Place) -> tuple[list[tuple[str, str]], list[str]]:
    data = place.folder / "data-0"
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(data, PACKS, place.url, options=ONE), lock)
        try:
            log = await store.read(lambda reader: reader.all(LOG))
            facts = await store.read(lambda reader: reader.all(FACTS))
        finally:
            await store.close()
    return [(row["entity_id"], json.loads(row["payload"])["state"]) for row in log], [row["id"] for row in facts]
