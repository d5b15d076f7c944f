"""The stream over HTTP, on bare ASGI: no response class in between, the shared bytes go to the server as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from holdfast.core.changes import sse
from holdfast.core.changes.cursors import Cursor, Filter
from holdfast.core.changes.hub import Hub, Subscription
from holdfast.core.errors import Malformed
from holdfast.core.lifecycle import spawn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Under this name the state of a request holds what breaks its connection off at once, where the server offers it.
ABORT = "holdfast.abort"


def asked(scope: MutableMapping[str, Any]) -> tuple[Cursor | None, Filter]:
    """Where to go on and what to send, from the request's address and headers."""
    try:
        query = parse_qs(scope["query_string"].decode("ascii"), errors="strict", max_num_fields=100)
        ids = [value.decode() for name, value in scope["headers"] if name == b"last-event-id"]
    except ValueError:
        raise Malformed("the address or Last-Event-ID cannot be read: it is not UTF-8, or far too long") from None
    after = query.get("after", [])
    if len(after) > 1 or len(ids) > 1:
        raise Malformed("a stream goes on from one place: send `after` and Last-Event-ID once at most")
    wanted = Filter.of(query.get("scope", ()), query.get("event", ()))
    return Cursor.wanted(*(ids or [None]), *(after or [None])), wanted


async def serve(
    hub: Hub,
    scope: MutableMapping[str, Any],
    receive: Receive,
    send: Send,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Answer one request with a stream, until the reader leaves, falls behind, or the daemon goes down.

    Errors of the request are raised before anything is sent. `send` waits while the reader's socket is full: that is
    all the buffer a reader has of its own. One that stays full beyond the end of the stream is broken off: what a
    server would still flush may never be taken.
    """
    reader = await hub.subscribe(*asked(scope))
    gone = spawn(_until_gone(receive, reader), name="stream reader", vital=False)
    limit = asyncio.timeout(None)
    try:
        async with limit:
            reader.on_end = _ending(limit)
            await send({"type": "http.response.start", "status": 200, "headers": [*sse.HEADERS, *headers]})
            while data := await reader.more():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            if reader.ended != "left":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError:
        if not limit.expired():
            raise
        if (abort := scope.get("state", {}).get(ABORT)) is not None:
            abort()
            await asyncio.wait({gone}, timeout=1)  # the server is to know it before we return
    finally:
        reader.on_end = None
        gone.cancel()
        reader.close("left")


def _ending(limit: asyncio.Timeout) -> Callable[[float], None]:
    """What gives the rest of the answer so many seconds."""
    loop = asyncio.get_running_loop()
    return lambda seconds: limit.reschedule(loop.time() + seconds)


async def _until_gone(receive: Receive, reader: Subscription) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.close("left")
