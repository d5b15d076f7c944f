"""Streams over real sockets: a server on loopback, and a client that is cut where the test says and comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from holdfast.core.changes.endpoint import serve
from holdfast.core.changes.hub import Hub
from sse_reader import Event, Parser


def app_of(hub: Hub) -> Any:
    """The stream alone, as an ASGI application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await serve(hub, scope, receive, send)

    return app


@asynccontextmanager
async def served(hub: Hub, *, buffer: int | None = None) -> AsyncIterator[int]:
    """Serve on a port of loopback; `buffer` bounds what the kernel keeps of each stream."""
    listener = socket.socket()
    if buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app_of(hub), http="httptools", lifespan="off", log_level="error", access_log=False, backlog=2048
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()[1]
    finally:
        await hub.stop()
        server.force_exit = True
        await server.shutdown(sockets=[listener])


class Dechunker:
    """The bytes inside the chunked coding of HTTP/1.1, of a response whose head comes first."""

    def __init__(self) -> None:
        self.head = b""
        self.ended = False
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The content that these bytes complete."""
        self._rest += data
        if not self.head:
            head, found, rest = self._rest.partition(b"\r\n\r\n")
            if not found:
                return b""
            self.head, self._rest = head, rest
        out = []
        while (end := self._rest.find(b"\r\n")) >= 0:
            size = int(self._rest[:end], 16)
            if len(self._rest) < end + 4 + size:
                break
            out.append(self._rest[end + 2 : end + 2 + size])
            self._rest = self._rest[end + 4 + size :]
            self.ended = self.ended or size == 0
        return b"".join(out)


class Connection(asyncio.Protocol):
    """One request, and its events until it is cut, or the server ends it."""

    def __init__(self, request: bytes, cut_after: int | None, heard: Callable[[], None]) -> None:
        self.events: list[Event] = []
        self.parser = Parser()
        self.chunks = Dechunker()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.some: asyncio.Event = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self._request = request
        self._cut_after = cut_after
        self._heard = heard

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.cut:
            return
        for event in self.parser.feed(self.chunks.feed(data)):
            self.events.append(event)
            self._heard()
            if self.cut:
                break  # what else is on its way when the wire is cut, nobody has seen
        self.some.set()
        if self.cut and self.transport is not None:
            self.transport.abort()

    @property
    def cut(self) -> bool:
        """Whether it has had what it was to have."""
        return self._cut_after is not None and len(self.events) >= self._cut_after

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)
        self.some.set()


@dataclass
class Client:
    """Reads a stream over as many connections as it takes, each going on from the last event it had."""

    port: int
    query: str = ""
    last_id: str | None = None
    events: list[Event] = field(default_factory=list)
    connections: int = 0
    #: Events that came in, counted at once; `on_event` is told of each.
    heard: int = 0
    on_event: Callable[[], None] = lambda: None

    async def connect(self, cut_after: int | None = None, *, buffer: int | None = None) -> Connection:
        """Ask for what follows the last event."""
        cursor = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
        request = f"GET /api/v1/events{self.query} HTTP/1.1\r\nHost: localhost\r\n{cursor}\r\n".encode()
        wire = socket.socket()
        wire.setblocking(False)
        if buffer is not None:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(wire, ("127.0.0.1", self.port))
        _, connection = await loop.create_connection(lambda: Connection(request, cut_after, self._heard), sock=wire)
        self.connections += 1
        return connection

    def _heard(self) -> None:
        self.heard += 1
        self.on_event()

    def take(self, connection: Connection) -> None:
        """Count what a connection brought."""
        self.events += connection.events
        if connection.events:
            self.last_id = connection.events[-1].id

    async def read(self, cut_after: int) -> None:
        """One connection, cut after so many events."""
        connection = await self.connect(cut_after)
        await connection.over
        self.take(connection)
