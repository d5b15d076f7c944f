"""Routes of notices and channels: what people are to know, that they know it, and whether it would reach them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from holdfast.core import ids
from holdfast.core.errors import NotFound
from holdfast.core.propagation import queue
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import NumberCursor, PageQuery, answer, page
from holdfast.core.web.writes import Written, write
from holdfast.notify import notices
from holdfast.notify.channels.port import Urgency
from holdfast.notify.effects import SEND, Send
from holdfast.notify.notices import State

if TYPE_CHECKING:
    from holdfast.core.pack import NoticeKind
    from holdfast.core.store.port import Reader, Row, Unit
    from holdfast.notify.channels.registry import Channels

ACKED, TRIED = "notice.acked", "channel.tried"
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_LAST = (1 << 63) - 1


class NoticeQuery(PageQuery):
    """Which notices."""

    cursor: NumberCursor | None = None
    state: Annotated[Literal["open", "all"], Meta(description="Open ones are neither over nor acknowledged.")] = "open"


class NoticeNamed(msgspec.Struct):
    """What it tells of."""

    id: int
    kind: str
    subject: str
    scope: str
    text: str
    urgency: Urgency


class Notice(NoticeNamed):
    """Something that people are to know, and what was done about it."""

    state: State
    raised_at: str
    #: Since when it is so: when it was raised, or when it was so again.
    opened_at: str
    #: When the channels were given it; `untold` says why they were not.
    told_at: str | None
    untold: str | None
    escalated_at: str | None
    acked_at: str | None
    acked_by: str | None
    resolved_at: str | None


class NoticePage(msgspec.Struct):
    """Notices, newest first, and how many are open in all."""

    items: list[Notice]
    next: str | None
    open: int


class ChannelShown(msgspec.Struct):
    """A way by which notices reach people. Of its address only the host is shown."""

    name: str
    type: str
    where: str
    kinds: list[str]
    raised: bool
    escalated: bool
    #: Why it can be given nothing now, as far as that is known without trying.
    unavailable: str | None
    #: Whether it has answered that it takes nothing any more.
    gone: bool


class ChannelPage(msgspec.Struct):
    """The channels of the settings."""

    items: list[ChannelShown]
    next: str | None


class Tried(msgspec.Struct):
    """The propagation that tries the channel: it ends `done`, or `cancelled` with the reason."""

    propagation: int


async def list_notices(call: Call) -> Reply:
    """A page of them."""
    query: NoticeQuery = call.query
    before = _LAST if query.cursor is None else int(query.cursor)
    kinds = _kinds(call)

    def work(reader: Reader) -> NoticePage:
        find = notices.open_notices if query.state == "open" else notices.page
        rows = find(reader, query.limit + 1, before)
        following = str(rows[query.limit - 1]["id"]) if len(rows) > query.limit else None
        return NoticePage([_shown(row, kinds) for row in rows[: query.limit]], following, notices.count_open(reader))

    return answer(await call.deps.store.read(work))


async def ack_notice(call: Call) -> Reply:
    """Somebody has seen it."""
    text, kinds = call.path["id"], _kinds(call)

    def work(unit: Unit) -> Written:
        row = notices.ack(unit, int(text)) if _NUMBER.fullmatch(text) else None
        if row is None:
            message = (
                f"There is no notice {text[:80]!r}: no such number was given out, or it was over and retention has "
                "removed it. `holdfast notices ls --all` lists them."
            )
            raise NotFound(message)
        shown = _shown(row | {"state": notices.state_of(row)}, kinds)
        return Written(answer(shown), text, {"kind": row["kind"], "subject": row["subject"]})

    return await write(call, ACKED, work)


async def list_channels(call: Call) -> Reply:
    """A page of them, by name."""
    from holdfast.notify.sending import is_gone  # noqa: PLC0415 - the handlers' module

    query: PageQuery = call.query
    channels = _channels(call)
    behind = [name for name in sorted(channels.named) if name > query.behind]
    named = {name: channels.named[name] for name in behind[: query.limit + 1]}
    gone = await call.deps.store.read(
        lambda reader: {name for name, channel in named.items() if is_gone(reader, channel)}
    )
    shown = [
        ChannelShown(
            name=name,
            type=channels.settings[name].type,
            where=channel.where,
            kinds=list(channels.settings[name].kinds),
            raised=channels.settings[name].raised,
            escalated=channels.settings[name].escalated,
            unavailable=await channel.unavailable(),
            gone=name in gone,
        )
        for name, channel in named.items()
    ]
    return page([msgspec.structs.asdict(each) for each in shown], query.limit, "name")


async def try_channel(call: Call) -> Reply:
    """Owe a trial."""
    name = call.path["name"]
    if name not in _channels(call).named:
        message = f"No channel is called {name[:80]!r}. `holdfast channels ls` lists those of the settings."
        raise NotFound(message)

    def work(unit: Unit) -> Written:
        owed = queue.enqueue(unit, SEND, Send(None, name, "test"), key=f"test:{ids.new_id('try')}")
        return Written(answer(Tried(owed.id), 202), name)

    return await write(call, TRIED, work)


def _channels(call: Call) -> Channels:
    from holdfast.notify.pack import channels_of  # noqa: PLC0415 - the pack names these routes

    return call.deps.means.one(channels_of)


def _kinds(call: Call) -> dict[str, NoticeKind]:
    return {kind.name: kind for pack in call.deps.means.packs for kind in pack.notices}


def _shown(row: Row, kinds: dict[str, NoticeKind]) -> Notice:
    kind = kinds.get(row["kind"])
    known: dict[str, Any] = {name: row[name] for name in Notice.__struct_fields__ if name in row}
    return Notice(urgency=kind.urgency if kind is not None else "normal", **known)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/notices",
        access=Access.READ,
        handler=list_notices,
        audit=None,
        summary="What people are to know, newest first",
        query=NoticeQuery,
        reply=NoticePage,
    ),
    Route(
        method="POST",
        path="/api/v1/notices/{id}/ack",
        access=Access.ADMIN,
        handler=ack_notice,
        audit=ACKED,
        summary="Acknowledge a notice: nobody is told of it again",
        reply=Notice,
        errors=(NotFound,),
    ),
    Route(
        method="GET",
        path="/api/v1/channels",
        access=Access.READ,
        handler=list_channels,
        audit=None,
        summary="The channels by which notices reach people, and whether they can",
        query=PageQuery,
        reply=ChannelPage,
    ),
    Route(
        method="POST",
        path="/api/v1/channels/{name}/test",
        access=Access.ADMIN,
        handler=try_channel,
        audit=TRIED,
        summary="Send a trial through a channel",
        reply=Tried,
        status=202,
        errors=(NotFound,),
    ),
)
