"""A daemon that minds pulls until none is owed anything, or until it dies: for tests of kill -9."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from forging import PACKS, Forge
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store


async def main(folder: Path) -> None:
    data = folder / "own"
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(data=data, packs=PACKS, url=None), lock)
        try:
            forge = Forge(store, folder)
            async with forge.up():
                await forge.until(lambda pull: pull.state != "open" or pull.fit == "conflict")
                await forge.quiet()
        finally:
            await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(msgspec.json.decode(sys.argv[1]))))
