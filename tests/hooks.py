"""An address of a person's own, for webhooks: a server that keeps what it was sent and answers as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Request:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Address:
    """The server: each answer is given once, then it says that all is well. None is no answer at all."""

    answers: list[bytes | None] = field(default_factory=list)
    got: list[Request] = field(default_factory=list)
    url: str = ""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.got.append(Request(head[0], headers, body))
            answer = self.answers.pop(0) if self.answers else OK
            if answer is None:
                await reader.read()  # until the other side gives up
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def address(*answers: bytes | None) -> AsyncIterator[Address]:
    """A server on this machine."""
    found = Address(list(answers))
    server = await asyncio.start_server(found.take, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """An answer with a status line such as `410 Gone`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"content-length": str(len(body))}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode() + body
