"""Serves one route: authenticates, admits, reads, calls the handler, sends its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from holdfast.core.access import scopes
from holdfast.core.errors import Forbidden, Malformed, MethodNotAllowed, TooSlow, Unauthenticated, UnsupportedMedia
from holdfast.core.web.routes import Access, Call, Came, ClientGoneError, Route
from holdfast.core.web.shapes import BodyReader, QueryReader

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from holdfast.core.access.tokens import Identity
    from holdfast.core.web.deps import Deps

#: How long the body of a request may take to arrive.
BODY_SECONDS = 10.0
_TICKET = "ticket"
_TICKETS = frozenset({_TICKET})
_NONE: frozenset[str] = frozenset()
#: Where a browser says its request comes from: our own page, or nobody's (an address that was typed or opened).
_FROM_HERE = frozenset({b"same-origin", b"none"})


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who is calling, what they came with, and how many seconds more that is good, where it has an end."""

    identity: Identity | None
    came: Came = "token"
    seconds: float | None = None


class Endpoint:
    """The ASGI application of one route."""

    def __init__(self, route: Route, deps: Deps) -> None:
        self._route = route
        self._deps = deps
        self._query = QueryReader(route.query)
        self._body = BodyReader(route.body) if route.body is not None else None
        self._apart = _TICKETS if route.takes_tickets else _NONE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._route
        query, apart = self._query_of(scope)
        caller = self._identify(scope, apart.get(_TICKET))
        raw = b""
        body = None
        if route.method != "GET":
            raw = await _in_time(receive)
            body = self._read_body(scope, raw)
        path = scope.get("path_params") or {}
        call = Call(
            deps=self._deps,
            request_id=scope["holdfast.request_id"],
            identity=caller.identity,
            scope=scope,
            path=path,
            query=query,
            body=body,
            raw_body=raw,
            came=caller.came,
            seconds=caller.seconds,
        )
        if route.raw is not None:
            if "holdfast.head" in scope:
                message = "A stream has no end, so there is nothing that HEAD could tell of it. Use GET."
                raise MethodNotAllowed(message)
            await route.raw(call, receive, send)
            return
        if route.handler is None:  # a route has one or the other
            raise AssertionError(route.path)
        reply = await route.handler(call)
        headers = [
            (b"content-type", reply.media),
            (b"content-length", b"%d" % len(reply.body)),
            (b"cache-control", b"no-store"),
            *reply.headers,
        ]
        if reply.status == 204:  # noqa: PLR2004 - nothing is sent with it, not even what it would be
            headers = [(b"cache-control", b"no-store"), *reply.headers]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if "holdfast.head" in scope else reply.body})

    def _query_of(self, scope: Scope) -> tuple[object, dict[str, str]]:
        # Who nobody knows learns nothing of our parameters: a wrong query is told only after the token was found good.
        try:
            return self._query.read(scope["query_string"], also=self._apart)
        except Malformed:
            self._identify(scope, None)
            raise

    def _identify(self, scope: Scope, ticket: str | None) -> _Caller:
        if self._route.access is Access.PUBLIC:
            return _Caller(None)
        given = [value for key, value in scope["headers"] if key == b"authorization"]
        caller = None if given else self._browser(scope, ticket)
        if caller is None:
            caller = _Caller(self._authenticate(given))
        if caller.identity is not None:
            self._authorize(caller.identity, scope)
        return caller

    def _browser(self, scope: Scope, ticket: str | None) -> _Caller | None:
        """Who comes with a ticket in the address or, where that is worth something, with a cookie."""
        if ticket is not None and (found := self._deps.tickets.redeem(ticket)) is not None:
            return _Caller(found, "ticket")
        if self._route.access is Access.BROWSER and _is_from_here(scope):
            for secret in _cookies(scope, self._deps.sign_ins.cookie):
                if (signed := self._deps.sign_ins.find(secret)) is not None:
                    return _Caller(signed.identity, "cookie", signed.seconds)
        if ticket is not None:
            message = "The ticket is unknown, used or too old. Get a new one with POST /api/v1/tickets."
            raise Unauthenticated(message)
        return None

    def _authenticate(self, given: list[bytes]) -> Identity:
        if len(given) != 1:
            message = (
                "Send one header `Authorization: Bearer TOKEN`. "
                "The first token is in the file `token` of the data folder."
            )
            raise Unauthenticated(message)
        kind, _, secret = given[0].decode("latin-1").partition(" ")
        found = self._deps.tokens.find(secret.strip()) if kind.lower() == "bearer" else None
        if found is None:
            message = "The token is unknown or revoked. `holdfast token create` makes a new one."
            raise Unauthenticated(message)
        return found

    def _authorize(self, identity: Identity, scope: Scope) -> None:
        match self._route.access:
            case Access.READ | Access.BROWSER:
                good = identity.scope in {scopes.READ, scopes.ADMIN}
            case Access.ADMIN:
                good = identity.scope == scopes.ADMIN
            case Access.SESSION:
                of = scopes.session_of(identity.scope)
                good = identity.scope == scopes.ADMIN or (of is not None and of == scope["path_params"].get("session"))
            case Access.PUBLIC:
                good = True
            case never:
                assert_never(never)
        if not good:
            message = f"A token of scope {identity.scope!r} does not reach this. It needs: {self._route.access.value}."
            raise Forbidden(message)

    def _read_body(self, scope: Scope, raw: bytes) -> object:
        if self._body is None:
            if raw.strip():
                message = "This address takes no body. Leave it out."
                raise Malformed(message)
            return None
        media = next((value for key, value in scope["headers"] if key == b"content-type"), b"")
        if media.split(b";")[0].strip().lower() != b"application/json":
            message = "This address takes JSON. Send `Content-Type: application/json`."
            raise UnsupportedMedia(message)
        return self._body.read(raw)


def _is_from_here(scope: Scope) -> bool:
    """Whether no other page had the browser send this. A server on another port of this host counts as another page."""
    return all(value in _FROM_HERE for key, value in scope["headers"] if key == b"sec-fetch-site")


def _cookies(scope: Scope, wanted: str) -> Iterator[str]:
    for key, value in scope["headers"]:
        if key == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                name, _, held = pair.strip().partition("=")
                if name == wanted:
                    yield held


async def _in_time(receive: Receive) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _whole(receive)
    except TimeoutError:
        message = f"The body was not whole after {BODY_SECONDS:g} s. Send the request again, without a pause."
        raise TooSlow(message) from None


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
