"""Holds a sender back by what the receiving side has counted; the same for ours and the floor."""

from __future__ import annotations

import asyncio
import mmap
import struct
from pathlib import Path


class Progress:
    """How many events the receiving side has had, over all subscribers."""

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 8)

    def received(self) -> int:
        """The count now."""
        count: int = struct.unpack("<Q", self._shared[:8])[0]
        return count

    async def hold(self, events: int, subscribers: int) -> None:
        """Wait until the subscribers have had this many events each, on average."""
        while self.received() < events * subscribers:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.001)
