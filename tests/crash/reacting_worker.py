"""A daemon that looks at a pull once and tells what that owes, for tests that kill it: `reacting_worker.py JSON`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from holdfast.core.clock import SYSTEM
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.port import Reader
from manual_clock import ManualClock
from messaging import PACKS
from reacting import NEXT, PROJECT_ROWS, Place, check, comment, seen


class Given(msgspec.Struct):
    """What it is told when it starts."""

    data: str
    url: str | None = None


def _begun(reader: Reader) -> bool:
    return bool(reader.all(PROJECT_ROWS))


async def react(given: Given) -> None:
    """Until nothing is owed; the clock goes on as fast as it is waited for."""
    data = Path(given.data)
    with hold_data(data) as lock:
        clock = ManualClock()
        store = await open_store(StoreConfig(data=data, packs=PACKS, url=given.url, clock=clock), lock)
        place = Place(store, clock)
        if not await store.read(_begun):
            await place.begin()
        observation = seen(check(), review="approved", comments=(comment(),))
        await place.see(observation)
        async with place.telling():
            while await store.read(lambda reader: reader.all(NEXT)):
                clock.advance(1)  # also past the lease of a daemon that is gone
                await SYSTEM.sleep(0.02)
        await store.close()


if __name__ == "__main__":
    asyncio.run(react(msgspec.json.decode(sys.argv[1], type=Given)))
