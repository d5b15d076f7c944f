"""A daemon that brings messages to agents and nothing else, for tests that kill it: `messaging_worker.py JSON`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from holdfast.core.propagation.kinds import Timeouts
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.port import Reader
from holdfast.fleet.messages import decider, delivery, rows
from holdfast.fleet.messages.kinds import MESSAGE
from messaging import PACKS, SESSION, UNTOLD, Outside, Stage

#: Leases so short that a test need not wait for them; one daemon lives at a time.
BRIEF = Timeouts(call=1, item=2, lease=2.5)


class Given(msgspec.Struct):
    """What it is told when it starts."""

    data: str
    outside: str
    url: str | None = None
    #: Whether what is held is waited for too.
    to_the_end: bool = False


def under_way(reader: Reader) -> list[str]:
    """What still moves, and what people are about to be told."""
    found = rows.page(reader, SESSION, 0, 100)
    moving = [row["state"] for row in found if row["state"] in {"queued", "typed", "submitted"}]
    return moving + ["untold" for _ in reader.all(UNTOLD)]


async def deliver(given: Given) -> None:
    """Until every message has come to its end, or is held."""
    data = Path(given.data)
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(data=data, packs=PACKS, url=given.url), lock)
        outside = Outside(Path(given.outside), store.uuid)
        stage = Stage(store, outside)
        async with stage.delivering(replace(MESSAGE, timeouts=BRIEF), sweep_seconds=0.1):
            await (stage.settled() if given.to_the_end else stage.until(lambda reader: not under_way(reader)))
        await outside.runtime.close()
        await store.close()


if __name__ == "__main__":
    # A test does not wait as long as people do.
    decider.CONFIRM_SECONDS, decider.LEFT_SECONDS, delivery._STAY = 2.0, 2.0, 0.5
    asyncio.run(deliver(msgspec.json.decode(sys.argv[1], type=Given)))
