"""One HTTP request to the outside: a POST on a connection of its own, followed nowhere, its answer read within bounds.

The parser is the server's own; the standard library's client would hold a thread, and could only be bounded in time per
packet, not as a whole.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote

import httptools

_MOST_HEAD = 65_536
#: So much of an answer's body is read.
MOST_BODY = 4_096
_PIECE = 16_384
_FIRST_FINAL = 200
_KEPT = "%/:?#[]@!$&'()*+,;=~-._"


class AnswerWrongError(Exception):
    """What came back is no HTTP, too much of it, or nothing."""


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Reading:
    """The parser's callbacks: they collect the answer, passing over those that only announce one (1xx)."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.has_head = False
        self.is_whole = False
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is there."""
        self.answer.status = self.parser.get_status_code()
        self.has_head = self.answer.status >= _FIRST_FINAL

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self.answer.body = (self.answer.body + piece)[:MOST_BODY]

    def on_message_complete(self) -> None:
        """One answer is whole."""
        if self.has_head:
            self.is_whole = True
        else:
            self.answer = Answer()

    @property
    def enough(self) -> bool:
        """Whether nothing more is wanted."""
        return self.is_whole or (self.has_head and len(self.answer.body) >= MOST_BODY)


async def post(url: SplitResult, headers: Mapping[str, str], body: bytes, tls: ssl.SSLContext | None) -> Answer:
    """Send it; whoever calls bounds the time. Raises `OSError` or `AnswerWrongError`."""
    assert url.hostname is not None
    port = url.port or (443 if tls is not None else 80)
    reader, writer = await asyncio.open_connection(url.hostname, port, ssl=tls)
    try:
        writer.write(_head(url, headers, len(body)) + body)
        await writer.drain()
        return await _read(reader)
    finally:
        writer.transport.abort()


def _head(url: SplitResult, headers: Mapping[str, str], length: int) -> bytes:
    target = quote(url.path or "/", safe=_KEPT) + (f"?{quote(url.query, safe=_KEPT)}" if url.query else "")
    given = {"host": url.netloc.rpartition("@")[2], **headers, "content-length": str(length), "connection": "close"}
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    return "\r\n".join(lines).encode("ascii")


async def _read(reader: asyncio.StreamReader) -> Answer:
    reading, size = _Reading(), 0
    try:
        while not reading.enough:
            piece = await reader.read(_PIECE)
            if not piece:
                break
            reading.parser.feed_data(piece)
            size += len(piece)
            if size > _MOST_HEAD and not reading.has_head:
                message = f"the head of its answer is longer than {_MOST_HEAD // 1024} KB"
                raise AnswerWrongError(message)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        message = "what it answered is no HTTP"
        raise AnswerWrongError(message) from None
    if not reading.has_head:
        message = "it ended the connection without an answer"
        raise AnswerWrongError(message)
    return reading.answer
