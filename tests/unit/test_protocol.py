"""What is no request at all, on a real socket: answered in the envelope, bounded, and never in the way of a stop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.core.lifecycle import spawn
from holdfast.core.web.protocol import HEAD_BYTES
from holdfast.core.web.server import Front, Server, bind


@pytest.fixture
async def place() -> Any:
    front = Front(roles=("api",), version="1")
    sock = bind("127.0.0.1", 0)
    server = Server(front, sock)
    await server.start()
    yield front, sock.getsockname()[1]
    await server.stop()


START = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "malformed"),
        (START + b"Content-Length: -1\r\n\r\n", 400, "malformed"),
        (b"\x16\x03\x01\x02\x00", 400, "malformed"),
        (b"GET /" + b"x" * 80_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, "head_too_large"),
        (START + b"X: " + b"x" * 2 * HEAD_BYTES, 431, "head_too_large"),
        (START + b"X: 12345\r\n" * 20_000, 431, "head_too_large"),
    ],
    ids=["garbage", "negative length", "TLS", "long path", "one endless header", "many headers"],
)
async def test_what_is_no_request_is_answered_in_the_envelope(place: Any, sent: bytes, status: int, code: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", place[1])
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    error = json.loads(body)["error"]
    assert lines[0].split()[1] == str(status)
    assert (error["code"], error["request_id"]) == (code, headers["x-request-id"])
    assert headers["x-holdfast-load"].startswith("loading; ")
    assert headers["connection"] == "close"


async def test_a_body_that_never_ends_holds_no_stop_up(place: Any) -> None:
    front, port = place
    came, seen = asyncio.Event(), []

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        came.set()
        while (message := await receive())["type"] != "http.disconnect":
            pass
        seen.append(message["type"])

    front.open(app)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    await came.wait()
    idle = spawn(front.idle(), name="idle", vital=False)
    front.close()
    await asyncio.wait_for(idle, 5)
    assert seen == ["http.disconnect"]
    assert await reader.read() == b""
    writer.close()
