"""Live streams of an application that is asked in this process: opened as a server would, read event by event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast.core.lifecycle import spawn
from sse_reader import Parser

if TYPE_CHECKING:
    from served import Served

SOON = 20


@dataclass
class Stream:
    """One open stream."""

    status: asyncio.Future[int]
    parts: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)

    async def until(self, event: str) -> Any:
        """The next event of this name."""
        parser = Parser()
        async with asyncio.timeout(SOON):
            while (part := await self.parts.get()) is not None:
                for found in parser.feed(part):
                    if found.name == event:
                        return found
        raise AssertionError("the stream ended")

    async def end(self) -> None:
        """Wait for its end as the server ends it."""
        async with asyncio.timeout(SOON):
            while await self.parts.get() is not None:
                pass


@asynccontextmanager
async def streaming(served: Served, target: str, token: str | None = None, **extra: str) -> AsyncIterator[Stream]:
    """A stream on the application's own channels, as a server would open it."""
    path, _, found = target.partition("?")
    headers = {"host": "127.0.0.1:4680"} | extra | ({"authorization": f"Bearer {token}"} if token else {})
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": found.encode(),
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }
    stream = Stream(asyncio.get_running_loop().create_future())
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            stream.status.set_result(message["status"])
            return
        stream.parts.put_nowait(message["body"])
        if not message.get("more_body"):
            stream.parts.put_nowait(None)

    serving_it = spawn(served.app(scope, receive, send), name="a stream", vital=False)
    try:
        async with asyncio.timeout(SOON):
            await stream.status
        yield stream
    finally:
        gone.set()
        async with asyncio.timeout(SOON):
            await serving_it
