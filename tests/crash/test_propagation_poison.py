"""Rows that kill or hang the process that tries them: buried in the end, alone; and a process that was stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crash.propagating.worker import DEADLY, DEADLY_BATCH, HELD, POISONED
from crash.propagating.workers import Place


@pytest.fixture
def place(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    url = request.getfixturevalue("new_database")() if engine == "postgres" else None
    with Place(tmp_path, url).ending() as place:
        yield place


@pytest.mark.crash
@pytest.mark.guards(
    "A row that kills its process is buried after max_starts; what was under way beside it is done, and none of it "
    "is started beside the killer again.",
    against="One row keeps the daemon from ever coming up, or takes others to the grave.",
    breaks=("propagation-poison-is-tried-for-ever",),
)
async def test_a_row_that_kills_is_buried_and_the_rest_is_done(place: Place) -> None:
    beside = 5
    for life in range(DEADLY.max_starts):
        start = 1 + life * beside
        worker = place.worker("poison", life=life, start=start, end=start + beside, beside=beside)
        assert worker.ended()[0] == POISONED
    last = place.worker("poison", life=DEADLY.max_starts, start=100, end=105)
    assert last.ended()[0] == 0
    [buried], done = await place.left()
    assert (buried["state"], buried["reason"], buried["starts"]) == ("dead", "max_starts", DEADLY.max_starts)
    assert Counter(row["state"] for row in done) == {"done": DEADLY.max_starts * beside + 5}
    assert max(row["starts"] for row in done) == 1, "nobody was beside the killer more than once"
    killed = Counter(place.outside.told("beside"))
    assert killed == {str(n): 1 for n in range(1, 1 + DEADLY.max_starts * beside)}


@pytest.mark.crash
async def test_a_row_that_kills_its_batch_is_buried_alone(place: Place) -> None:
    lives = range(DEADLY_BATCH.max_starts + 1)
    statuses = [place.worker("poison-batch", life=life, beside=0 if life else 6).ended()[0] for life in lives]
    assert statuses == [POISONED] * DEADLY_BATCH.max_starts + [0]
    [buried], done = await place.left()
    assert (buried["state"], buried["reason"]) == ("dead", "max_starts")
    assert Counter(row["state"] for row in done) == {"done": 19}
    assert max(row["starts"] for row in done) <= 1


@pytest.mark.crash
@pytest.mark.guards(
    "A process that was stopped past its lease and goes on cannot overwrite what the one that took over does.",
    against="A machine that slept records as done what another has in hand.",
    breaks=("propagation-outcomes-need-no-lease",),
)
async def test_a_stopped_process_does_not_overwrite_its_successor(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    with Place(tmp_path, new_database()).ending() as place:
        first = place.worker("hold", "propagation.happened=stop", number=0, end=1, life=0)
        _, status = await asyncio.to_thread(os.waitpid, first.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), first.ended()
        second = place.worker("hold", number=1, life=1)
        assert second.says() == "took over"
        os.kill(first.process.pid, signal.SIGCONT)
        assert first.says() == "late 1"
        first.kill()
        second.go()
        assert second.says() == "late 0"
        assert second.says() == "done"
        assert second.ended()[0] == 0
        owed, done = await place.left()
    assert owed == []
    assert [(row["kind"], row["state"], row["attempts"], row["starts"]) for row in done] == [(HELD.name, "done", 0, 1)]
    assert place.outside.told("held") == ["0 1", "1 1"]
