"""The floor of the stream: plain asyncio transports of the standard library, the same bytes written to N sockets.

No store, no feed, no HTTP beyond a fixed head, no filters, no buffers of its own: a `transport.write` for each.
`--uvloop` runs the same on the loop that ours uses, for information.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import time
from pathlib import Path
from typing import cast

from bench.peers.answer import Answer, serve_async
from bench.peers.pace import Progress

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Plain(asyncio.Protocol):
    """A subscriber's connection."""

    def __init__(self, transports: set[asyncio.Transport]) -> None:
        self.transports = transports
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        if data.endswith(b"\r\n\r\n"):
            self.transport.write(HEAD)
            self.transports.add(self.transport)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.transport is not None:
            self.transports.discard(self.transport)


class Floor:
    """The subscribers and the loop over them."""

    def __init__(self, progress: Path) -> None:
        self.file = progress
        self.transports: set[asyncio.Transport] = set()
        self.server: asyncio.Server | None = None

    async def open(self) -> Answer:
        """Listen; on which port."""
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Plain(self.transports), "127.0.0.1", 0, backlog=2048)
        return {"port": self.server.sockets[0].getsockname()[1]}

    async def burst(self, *, events: int, window: int, event: str, batch: int) -> Answer:
        """Write `events` events to everybody, `batch` of them at a time, never more than `window` ahead."""
        progress, piece = Progress(self.file), base64.b64decode(event) * batch
        assert events % batch == 0
        everybody = list(self.transports)
        sent, begin = 0, time.monotonic()
        while sent < events:
            await progress.hold(sent + batch - window, len(everybody))
            for transport in everybody:
                transport.write(piece)
            sent += batch
            await asyncio.sleep(0)
        return {"from": begin, "events": sent}

    async def paced(self, *, events: int, rate: float, event: str) -> Answer:
        """Write one event at a time at this rate; when each was written, in ns."""
        everybody, data = list(self.transports), base64.b64decode(event)
        loop = asyncio.get_running_loop()
        begin, stamps = loop.time(), []
        for number in range(events):
            await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
            piece = data.replace(b"#" * 9, b"%09d" % number)
            stamps.append(time.monotonic_ns())
            for transport in everybody:
                transport.write(piece)
        return {"stamps": stamps}


async def main(progress: Path) -> None:
    """Answer the harness."""
    floor = Floor(progress)
    await serve_async({"open": floor.open, "burst": floor.burst, "paced": floor.paced})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("--uvloop", action="store_true")
    given = parser.parse_args()
    if given.uvloop:
        import uvloop

        uvloop.run(main(given.progress))
    else:
        asyncio.run(main(given.progress))
