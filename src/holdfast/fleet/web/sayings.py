"""Routes of what is said to agents, and of what agents say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.errors import Conflict, Invalid, NotFound
from holdfast.core.store.port import Act
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import answer, page
from holdfast.core.web.writes import Written, write
from holdfast.fleet.fleet import Fleet
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.sessions import door, views
from holdfast.fleet.web.shapes import (
    Message,
    MessageBody,
    MessagePage,
    MessageQuery,
    MessageTaken,
    SignalBody,
    SignalTaken,
)

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit

SENT = "message.sent"
_ACCEPTED = 202


async def list_messages(call: Call) -> Reply:
    """Messages of a session, in their order."""
    query: MessageQuery = call.query
    after = 0 if query.cursor is None else int(query.cursor)
    session, now = call.path["id"], call.deps.clock.stamp()

    def work(reader: Reader) -> list[Row]:
        views.session(reader, session, now)  # that there is one
        return messages.page(reader, session, after, query.limit + 1)

    rows = await call.deps.store.read(work)
    shown = [{name: row[name] for name in Message.__struct_fields__} for row in rows]
    return page(shown, query.limit, "id")


async def send_message(call: Call) -> Reply:
    """Say something to an agent; it is delivered in order, when the agent can take it."""
    body: MessageBody = call.body
    session = call.path["id"]

    def work(unit: Unit) -> Written:
        row = views.session(unit, session, unit.at)
        if row["state"] in {"terminated", "done"} and row["queue_position"] is None:
            message = (
                f"Session {session} has ended ({row['reason'] or row['state']}), so nobody would read it. "
                f"Start it again first: holdfast restore {session}"
            )
            raise Conflict(message)
        number = messages.add(unit, session, row["project"], kind="message", text=body.text, by=call.caller.actor)
        detail = {"message": number, "characters": len(body.text)}
        return Written(answer(MessageTaken(number, "queued"), _ACCEPTED), session, detail)

    return await write(call, SENT, work)


async def take_signal(call: Call) -> Reply:
    """Take what an agent says of itself. It is its own record; the same one again changes nothing."""
    body: SignalBody = call.body
    said = door.Said(body.launch, body.seq, body.kind, body.event, body.detail)
    act = Act(call.caller.actor, call.request_id)
    session = call.path["session"]
    heard = await call.deps.store.unit(act, lambda unit: door.hear(unit, session, said, "http"))
    # Its hook has put it into the spool before it called: it need not be read from there too.
    call.deps.means.one(Fleet).spool.called(session, body.launch, body.seq)
    return answer(SignalTaken(heard.taken or "noted"), _ACCEPTED)


_BASE = "/api/v1/sessions"
ROUTES = (
    Route(
        method="GET",
        path=f"{_BASE}/{{id}}/messages",
        access=Access.READ,
        handler=list_messages,
        audit=None,
        summary="What was said to an agent, in order, and how far each came",
        query=MessageQuery,
        reply=MessagePage,
        errors=(NotFound,),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/messages",
        access=Access.ADMIN,
        handler=send_message,
        audit=SENT,
        summary="Say something to an agent",
        body=MessageBody,
        reply=MessageTaken,
        status=_ACCEPTED,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{session}}/signals",
        access=Access.SESSION,
        handler=take_signal,
        audit=None,
        summary="An agent says what it does; fenced by launch and sequence",
        body=SignalBody,
        reply=SignalTaken,
        status=_ACCEPTED,
        errors=(NotFound, Invalid),
    ),
)
