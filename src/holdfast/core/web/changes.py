"""Routes of the change log: pages of it, and the live stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
from msgspec import Meta

from holdfast.core.changes import endpoint, log
from holdfast.core.changes.cursors import Cursor, Filter
from holdfast.core.errors import Conflict
from holdfast.core.store.port import Reader
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import END, MOST_ITEMS, PLAIN, USUAL_ITEMS, encode
from holdfast.core.web.words import spelled

if TYPE_CHECKING:
    from starlette.types import Receive, Send

    from holdfast.core.access.tokens import Identity, Tokens
    from holdfast.core.changes.hub import Hub, Subscription

_POSITION = spelled(r"^([A-Za-z0-9_-]{1,64}:)?[0-9]{1,18}" + END, "a position: <store>:<seq>, or a seq")
After = Annotated[str, Meta(max_length=100, pattern=_POSITION, description="<store>:<seq>, or a seq.")]
Names = Annotated[list[Annotated[str, Meta(max_length=200, pattern=PLAIN)]], Meta(max_length=100)]


class ChangesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which changes."""

    after: Annotated[After, Meta(description="The changes behind this position: <store>:<seq>, or a seq.")] = "0"
    limit: Annotated[int, Meta(ge=1, le=MOST_ITEMS, description="The most items of the page.")] = USUAL_ITEMS
    scope: Annotated[Names, Meta(description="Only changes of these scopes.")] = []
    event: Annotated[Names, Meta(description="Only these events.")] = []


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which events; a `Last-Event-ID` header goes before `after`."""

    after: Annotated[After, Meta(description="Changes behind this position; live from now without it.")] | None = None
    scope: Annotated[Names, Meta(description="Only changes of these scopes.")] = []
    event: Annotated[Names, Meta(description="Only these events.")] = []


class ChangeShown(msgspec.Struct):
    """A change of a watched row."""

    seq: int
    scope: str
    entity: str
    entity_id: str
    event: str
    payload: dict[str, Any]
    actor: str
    cause: str
    at: str


class ChangePage(msgspec.Struct):
    """Changes in their order."""

    items: list[ChangeShown]
    next: str | None
    head: int
    oldest: int


class _Encoded(msgspec.Struct):
    items: msgspec.Raw
    next: str | None
    head: int
    oldest: int


async def list_changes(call: Call) -> Reply:
    """A page of the log, up to where it is settled."""
    query: ChangesQuery = call.query
    deps = call.deps
    cursor = Cursor.parse(query.after)
    if cursor.store is not None and cursor.store != deps.store.uuid:
        message = f"The position is one of store {cursor.store}, this is {deps.store.uuid}. Start again from after=0."
        raise Conflict(message)
    wanted = Filter.of(query.scope, query.event)
    head = deps.feed.position

    def work(reader: Reader) -> tuple[list[log.Change], int]:
        changes = log.page(reader, after=cursor.seq, upto=head, limit=query.limit + 1, filter=wanted)
        return changes, log.bounds(reader).oldest

    changes, oldest = await deps.store.read(work)
    more = len(changes) > query.limit
    shown = changes[: query.limit]
    following = str(shown[-1].seq) if more else None
    return Reply(encode(_Encoded(msgspec.Raw(log.encode_all(shown)), following, head, oldest)))


class _Guarded:
    """The hub for one caller: ends the stream when the caller's token ends, or the time of a browser's cookie."""

    def __init__(self, hub: Hub, tokens: Tokens, identity: Identity, seconds: float | None = None) -> None:
        self._hub = hub
        self._tokens = tokens
        self._identity = identity
        self._seconds = seconds
        self._unwatch: Callable[[], None] = lambda: None
        self._end: asyncio.TimerHandle | None = None

    async def subscribe(self, cursor: Cursor | None, wanted: Filter) -> Subscription:
        """A new reader."""
        reader = await self._hub.subscribe(cursor, wanted)
        self._unwatch = self._tokens.watch(self._identity, lambda: reader.close("stopped"))
        if self._seconds is not None:
            self._end = asyncio.get_running_loop().call_later(self._seconds, reader.close, "stopped")
        return reader

    def over(self) -> None:
        """The stream has ended: nobody needs to end it any more."""
        self._unwatch()
        if self._end is not None:
            self._end.cancel()


async def stream(call: Call, receive: Receive, send: Send) -> None:
    """The live stream."""
    guarded = _Guarded(call.deps.hub, call.deps.tokens, call.caller, call.seconds)
    try:
        await endpoint.serve(cast("Hub", guarded), call.scope, receive, send)
    finally:
        guarded.over()


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/changes",
        access=Access.READ,
        handler=list_changes,
        audit=None,
        summary="The change log, in order",
        query=ChangesQuery,
        reply=ChangePage,
        errors=(Conflict,),
    ),
    Route(
        method="GET",
        path="/api/v1/events",
        access=Access.BROWSER,
        raw=stream,
        audit=None,
        summary="The change log, live, as server-sent events",
        query=EventsQuery,
    ),
)
