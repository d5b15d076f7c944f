"""The HTTP protocol of a connection: uvicorn's, with bounds, and our envelope for what is no request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from holdfast.core import logs
from holdfast.core.ids import new_id

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

#: The most bytes of an address and its headers.
HEAD_BYTES = 65_536
#: How long somebody who was refused may take to read why.
_LINGER_SECONDS = 2.0
_log = logs.get("protocol")


class Protocol(HttpToolsProtocol):
    """One connection. What cannot be read as a request is answered like any other request that failed, then closed."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], load: Callable[[], bytes]
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._load = load
        # Bytes that came and were not handed on as a head or a piece of a body: the parser keeps them.
        self._kept = 0
        self._head = 0
        self._refused = False

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._kept += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse()
        except httptools.HttpParserUpgrade:
            return  # nothing else is spoken here: it is answered as the request that it is as well
        else:
            if self._kept > HEAD_BYTES:
                self._refuse()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self._bound(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or one that trails a body."""
        self._bound(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._kept = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body: those are the app's to bound."""
        self._kept = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._kept = 0
        super().on_message_complete()

    def drop_unfinished(self) -> None:
        """Close, if a request is waited for whose body does not come to an end."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_started:
            self.transport.close()

    def _bound(self, size: int) -> None:
        self._head += size
        if self._head > HEAD_BYTES:
            raise _HeadTooLargeError

    def _refuse(self) -> None:
        """Answer what is no request, and close."""
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            # An answer is owed or under way: another one in the middle of it would be read as a part of it.
            self.transport.close()
            return
        if max(self._head, self._kept) > HEAD_BYTES:
            status, code = 431, "head_too_large"
            message = f"The address and the headers are larger than {HEAD_BYTES} bytes. Send less."
        else:
            status, code = 400, "malformed"
            message = "What was sent is not an HTTP/1.1 request. Send one, or https:// where TLS is spoken."
        request_id = new_id("req")
        _log.info("no request", request=request_id, code=code, client=self.client)
        body = msgspec.json.encode(
            {"error": {"code": code, "message": message, "details": {}, "request_id": request_id}}
        )
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
            (b"x-request-id", request_id.encode()),
            (b"x-holdfast-load", self._load()),
        ]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        # What is still on its way is dropped as it comes: closing on it would reset the connection, answer and all.
        self._refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.timeout_keep_alive_task = self.loop.call_later(_LINGER_SECONDS, self.transport.close)


class _HeadTooLargeError(Exception):
    """Ends the parser's work on a head that is too large."""
