"""Routes of access: tokens, tickets, and the record of acts."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from holdfast.core.access import scopes, tokens
from holdfast.core.audit import SQL as AUDIT_SQL
from holdfast.core.errors import Conflict, NotFound
from holdfast.core.instants import seconds, stamp
from holdfast.core.store.port import Reader, Row, Unit
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import END, LABEL, PLAIN, NumberCursor, PageQuery, answer, encode, page
from holdfast.core.web.words import spelled
from holdfast.core.web.writes import REPLAYED, Written, write

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=LABEL)]
_SCOPE = spelled(scopes.PATTERN.removesuffix("$") + END, "admin, read or session:<id>")
_LAST = (1 << 63) - 1
_CREATED = 201


class TokenBody(msgspec.Struct, forbid_unknown_fields=True):
    """A token to make."""

    name: Annotated[Name, Meta(description="What it is for.")]
    scope: Annotated[str, Meta(pattern=_SCOPE, description="admin, read or session:<id>.")]


class Token(msgspec.Struct):
    """A token, without its secret."""

    id: str
    name: str
    scope: str
    created_at: str
    revoked_at: str | None


class TokenMade(Token):
    """A token in the only answer that shows its secret; null where an Idempotency-Key repeats that answer."""

    token: str | None = None


class TokenPage(msgspec.Struct):
    """Tokens, oldest first."""

    items: list[Token]
    next: str | None


class Ticket(msgspec.Struct):
    """A ticket: `?ticket=` in the address of one stream or socket, once."""

    ticket: str
    expires_at: str


class ActQuery(PageQuery):
    """Which acts."""

    cursor: NumberCursor | None = None
    actor: Annotated[str, Meta(max_length=200, pattern=PLAIN, description="Only what this one did.")] | None = None


class ActShown(msgspec.Struct):
    """Something that somebody did."""

    seq: int
    kind: str
    subject: str
    detail: dict[str, Any]
    actor: str
    cause: str
    at: str


class ActPage(msgspec.Struct):
    """Acts, newest first."""

    items: list[ActShown]
    next: str | None


class _Payload(msgspec.Struct):
    kind: str
    subject: str
    detail: msgspec.Raw


_read_payload = msgspec.json.Decoder(_Payload).decode


async def list_tokens(call: Call) -> Reply:
    """Tokens, live and revoked."""
    query: PageQuery = call.query

    def work(reader: Reader) -> list[Row]:
        return reader.all(tokens.SQL.page, after=query.behind, limit=query.limit + 1)

    return page(await call.deps.store.read(work), query.limit, "id")


async def make_token(call: Call) -> Reply:
    """Make a token; its secret is in this answer and nowhere else."""
    body: TokenBody = call.body
    new = tokens.new_token()

    def work(unit: Unit) -> Written:
        row = tokens.add(unit, new, body.name, body.scope)
        shown = encode(row | {"token": new.secret})
        detail = {"name": body.name, "scope": body.scope}
        return Written(Reply(shown, _CREATED), new.id, detail, kept=encode(row | {"token": None}))

    reply = await write(call, tokens.CREATED, work)
    if REPLAYED not in reply.headers:  # of a repeated answer the token is not the one made here
        call.deps.tokens.added(new, body.scope)
    return reply


async def revoke_token(call: Call) -> Reply:
    """End a token at once and for good."""
    token_id = call.path["id"]

    def work(unit: Unit) -> Written:
        row, ended = tokens.revoke(unit, token_id)
        detail = {"name": row["name"], "scope": row["scope"]}
        return Written(answer(row), token_id, detail, acted=ended)

    reply = await write(call, tokens.REVOKED, work)
    call.deps.tokens.ended(token_id)
    return reply


async def issue_ticket(call: Call) -> Reply:
    """A ticket for a browser, which cannot send a header when it opens a stream."""
    deps = call.deps
    ticket = deps.tickets.issue(call.caller)
    until = stamp(deps.clock.now() + seconds(deps.tickets.seconds))
    return answer(Ticket(ticket, until), _CREATED)


async def list_acts(call: Call) -> Reply:
    """Who or what did what, newest first, from the change log."""
    query: ActQuery = call.query

    def work(reader: Reader) -> list[Row]:
        last = _LAST if query.cursor is None else int(query.cursor)
        return reader.all(AUDIT_SQL.page, before=last, actor=query.actor, limit=query.limit + 1)

    rows = await call.deps.store.read(work)
    return page([_act(row) for row in rows], query.limit, "seq")


def _act(row: Row) -> dict[str, Any]:
    payload = _read_payload(row["payload"])
    return {
        "seq": row["seq"],
        "kind": payload.kind,
        "subject": payload.subject,
        "detail": payload.detail,
        "actor": row["actor"],
        "cause": row["cause"],
        "at": row["at"],
    }


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/tokens",
        access=Access.ADMIN,
        handler=list_tokens,
        audit=None,
        summary="Tokens, live and revoked, without their secrets",
        query=PageQuery,
        reply=TokenPage,
    ),
    Route(
        method="POST",
        path="/api/v1/tokens",
        access=Access.ADMIN,
        handler=make_token,
        audit=tokens.CREATED,
        summary="Make a token; its secret is shown this once",
        body=TokenBody,
        reply=TokenMade,
        status=_CREATED,
    ),
    Route(
        method="DELETE",
        path="/api/v1/tokens/{id}",
        access=Access.ADMIN,
        handler=revoke_token,
        audit=tokens.REVOKED,
        summary="End a token at once and for good",
        reply=Token,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path="/api/v1/tickets",
        access=Access.READ,
        handler=issue_ticket,
        audit=None,  # it stores nothing, and what it opens was open to its maker before
        summary="A single-use ticket, for a browser to open a stream with",
        reply=Ticket,
        status=_CREATED,
    ),
    Route(
        method="GET",
        path="/api/v1/audit",
        access=Access.READ,
        handler=list_acts,
        audit=None,
        summary="Who or what did what, newest first",
        query=ActQuery,
        reply=ActPage,
    ),
)
