"""The one door of the HTTP application: names the request, checks Host and Origin, bounds the body, answers errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException

from holdfast.core import logs
from holdfast.core.errors import HoldfastError, Malformed, MethodNotAllowed, NotFound, TooLarge
from holdfast.core.ids import new_id
from holdfast.core.redact import plain, redact
from holdfast.core.web.routes import ClientGoneError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from holdfast.core.web.hosts import Hosts
    from holdfast.core.web.routes import Refusal

_NO_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_MESSAGE = 2_000
_EXPOSED = (b"access-control-expose-headers", b"x-holdfast-load, x-request-id, idempotency-replayed, retry-after")
_SERVER_FAULT = 500
_log = logs.get("web")


class ErrorBody(msgspec.Struct):
    """What went wrong."""

    code: str
    message: str
    details: dict[str, Any]
    request_id: str


class ErrorEnvelope(msgspec.Struct):
    """The answer of every request that failed."""

    error: ErrorBody


class Door:
    """Pure ASGI around the router: one pass over the headers, no task and no copy of what streams through."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        body_bytes: int,
        load: Callable[[], bytes],
        allowed: Callable[[str], Sequence[str]],
        refusals: Mapping[str, Refusal] | None = None,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._body_bytes = body_bytes
        self._load = load
        self._allowed = allowed
        self._refusals = refusals or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; nothing but an answer or a broken connection leaves here."""
        if scope["type"] != "http":
            message = f"this application serves HTTP, not {scope['type']}"
            raise NotImplementedError(message)
        request_id = new_id("req")
        scope["holdfast.request_id"] = request_id
        stamps = [(b"x-request-id", request_id.encode()), (b"x-holdfast-load", self._load())]
        started = False

        async def stamped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *stamps]
            await send(message)

        try:
            if (page := self._admit(scope)) is not None:
                stamps += [(b"access-control-allow-origin", page), (b"vary", b"origin"), _EXPOSED]
                if scope["method"] == "OPTIONS":
                    await self._preflight(scope, stamped)
                    return
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET", "holdfast.head": True}
            inner = receive if scope["method"] in _NO_BODY else self._bounded(scope, receive)
            await self._app(scope, inner, stamped)
        except ClientGoneError:
            return
        except Exception as error:
            if started:
                # The answer is under way: only breaking the connection tells the client that it is not whole.
                _log.error("answer broke off", request=request_id, path=scope["path"], exc_info=error)
                raise
            await self._refuse(_known(error), error, scope, stamped)

    def _admit(self, scope: Scope) -> bytes | None:
        """Refuse, or let in; the origin of the page that asks, where it was let in by name."""
        host = origin = None
        for key, value in scope["headers"]:
            if key == b"host":
                if host is not None:
                    message = "The request has two Host headers. Send one."
                    raise Malformed(message)
                host = value.decode("latin-1")
            elif key == b"origin":
                origin = value.decode("latin-1")
        by_name = self._hosts.admit(host, origin)
        if "\0" in scope["path"] or "\ufffd" in scope["path"]:
            message = "The address holds what is not text. Send UTF-8, percent-encoded, without NUL."
            raise Malformed(message)
        return origin.encode("latin-1") if by_name and origin is not None else None

    async def _preflight(self, scope: Scope, send: Send) -> None:
        """Tell a browser what a page that was let in may send; the request itself then brings its token."""
        methods = ", ".join(self._allowed(scope["path"])).encode()
        headers = [
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", b"authorization, content-type, idempotency-key, last-event-id"),
            (b"access-control-max-age", b"600"),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        most = self._body_bytes
        for key, value in scope["headers"]:
            if key == b"content-length" and (not value.isdigit() or int(value) > most):
                raise _too_large(most)
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > most:
                    raise _too_large(most)
            return message

        return bounded

    async def _refuse(self, known: HoldfastError | None, error: Exception, scope: Scope, send: Send) -> None:
        request_id = scope["holdfast.request_id"]
        if known is None or known.http_status == _SERVER_FAULT:
            _log.error("request failed", request=request_id, method=scope["method"], path=scope["path"], exc_info=error)
        if known is None:
            message = f"The daemon failed at this request. Its log says why, under {request_id}."
            known = HoldfastError(message)
        headers = [(b"cache-control", b"no-store")]
        status = known.http_status
        if status in {429, 503}:
            headers.append((b"retry-after", b"%d" % known.retry_after))
        elif status == 401:  # noqa: PLR2004 - HTTP's own word for it
            headers.append((b"www-authenticate", b'Bearer realm="holdfast"'))
        elif status == 405:  # noqa: PLR2004
            headers.append((b"allow", ", ".join(self._allowed(scope["path"])).encode()))
        elif status in {408, 413}:  # the rest of the body may still come, and nobody will read it
            headers.append((b"connection", b"close"))
        said = redact(plain(known.message), limit=_LONGEST_MESSAGE)
        reply = self._told(ErrorBody(known.code, said, known.details, request_id), status, scope)
        headers += [(b"content-type", reply.media), (b"content-length", b"%d" % len(reply.body)), *reply.headers]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if "holdfast.head" in scope else reply.body})

    def _told(self, error: ErrorBody, status: int, scope: Scope) -> Reply:
        """The envelope; a page where there is one, for those who want to see pages."""
        refusal = self._refusals.get(scope["path"])
        if refusal is not None and any(k == b"accept" and b"text/html" in v for k, v in scope["headers"]):
            return refusal(status, error, scope)
        return Reply(msgspec.json.encode(ErrorEnvelope(error)), status)


def _too_large(most: int) -> TooLarge:
    message = f"The body is larger than {most} bytes. Send less, or raise access.body_bytes."
    return TooLarge(message)


def _known(error: Exception) -> HoldfastError | None:
    """The error as one of our own; None when nobody foresaw it."""
    match error:
        case HoldfastError():
            return error
        case HTTPException(status_code=404):
            return NotFound("There is nothing at this address. See /api/v1/openapi.json.")
        case HTTPException(status_code=405):
            return MethodNotAllowed("This address is there, but not for this method. See the Allow header.")
        case _:
            return None
