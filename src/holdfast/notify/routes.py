"""Routes of notices: what people are told of, and what of it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import NumberCursor, PageQuery, page
from holdfast.notify.notices import SQL

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row


class NoticeQuery(PageQuery):
    """Which notices."""

    cursor: NumberCursor | None = None
    state: Literal["open", "resolved"] | None = None


class Notice(msgspec.Struct):
    """Something that people are told of."""

    id: int
    kind: str
    subject: str
    text: str
    scope: str
    raised_at: str
    resolved_at: str | None


class NoticePage(msgspec.Struct):
    """Notices in the order in which they were raised."""

    items: list[Notice]
    next: str | None


async def list_notices(call: Call) -> Reply:
    """Notices, oldest first."""
    query: NoticeQuery = call.query
    after = 0 if query.cursor is None else int(query.cursor)

    def work(reader: Reader) -> list[Row]:
        return reader.all(SQL.page, after=after, only=query.state, limit=query.limit + 1)

    return page(await call.deps.store.read(work), query.limit, "id")


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/notices",
        access=Access.READ,
        handler=list_notices,
        audit=None,
        summary="What people are told of, and whether it is over",
        query=NoticeQuery,
        reply=NoticePage,
    ),
)
