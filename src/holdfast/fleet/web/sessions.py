"""Routes of sessions: which there are, one of them, and what people ask of them: start, end, go on, clean up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.errors import Conflict, HoldfastError, Invalid, NotFound, Unavailable
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import answer, page
from holdfast.core.web.writes import Written, write
from holdfast.fleet.fleet import Fleet
from holdfast.fleet.sessions import creation, endings, views
from holdfast.fleet.sessions.creation import Order, Prepared
from holdfast.fleet.web.shapes import Asked, OneQuery, Session, SessionBody, SessionPage, SessionQuery

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit

SPAWNED, KILLED, RESTORED, CLEANED = "session.spawned", "session.killed", "session.restored", "session.cleaned"
_CREATED = 201
_ACCEPTED = 202


async def list_sessions(call: Call) -> Reply:
    """Sessions by id."""
    query: SessionQuery = call.query
    now, caps = call.deps.clock.stamp(), call.deps.means.one(Fleet).caps()

    def work(reader: Reader) -> list[Row]:
        return views.sessions(reader, query.behind, query.limit + 1, query.project, now, caps)

    rows = await call.deps.store.read(work)
    if query.include == "usage":
        await _measure(call, rows)
    return page(rows, query.limit, "id")


async def show_session(call: Call) -> Reply:
    """One session."""
    query: OneQuery = call.query
    now, caps = call.deps.clock.stamp(), call.deps.means.one(Fleet).caps()
    row = await call.deps.store.read(lambda reader: views.session(reader, call.path["id"], now, caps))
    if query.include == "usage":
        await _measure(call, [row])
    return answer(row)


async def _measure(call: Call, rows: list[Row]) -> None:
    """Add to each of them what its processes take now; nothing where none of them lives."""
    taken = await call.deps.means.one(Fleet).usage([row["id"] for row in rows if row["is_alive"]])
    for row in rows:
        one = taken.get(row["id"])
        row["usage"] = one and {
            "memory_bytes": one.resident_bytes,
            "cpu_seconds": one.cpu_seconds,
            "processes": one.processes,
        }


async def create_session(call: Call) -> Reply:
    """Start a session, or queue it where there is no room."""
    body: SessionBody = call.body
    order = Order(
        project=body.project,
        agent=body.agent,
        prompt=body.prompt,
        title=body.title,
        kind=body.kind,
        branch=body.branch,
        base=body.base,
        options=body.options,
    )
    # A repeated key is answered as the first time, also where that first time is what now stands in the way.
    prepared = await _prepared(call, order)
    caps = call.deps.means.one(Fleet).caps()

    def work(unit: Unit) -> Written:
        if isinstance(prepared, HoldfastError):
            raise prepared
        row = creation.create(unit, prepared, caps)
        shown = views.session(unit, row["id"], unit.at, caps)
        detail = {"project": row["project"], "agent": row["agent"], "branch": row["branch"]}
        return Written(answer(shown, _CREATED), row["id"], detail)

    return await write(call, SPAWNED, work)


async def _prepared(call: Call, order: Order) -> Prepared | HoldfastError:
    try:
        return await call.deps.means.one(Fleet).prepare(order)
    except HoldfastError as error:
        return error


async def kill_session(call: Call) -> Reply:
    """Ask for the end of a session; asking again changes nothing."""
    session = call.path["id"]

    def work(unit: Unit) -> Written:
        before = views.session(unit, session, unit.at)
        endings.ask_kill(unit, session, call.caller.actor)
        shown = views.session(unit, session, unit.at)
        return Written(answer(shown, _ACCEPTED), session, {"state": before["state"], "launch": before["launch"]})

    return await write(call, KILLED, work)


async def restore_session(call: Call) -> Reply:
    """Start the agent of an ended session again, in its worktree and conversation."""
    session = call.path["id"]
    caps = call.deps.means.one(Fleet).caps()

    def work(unit: Unit) -> Written:
        endings.ask_restore(unit, session, caps)
        shown = views.session(unit, session, unit.at, caps)
        return Written(answer(shown, _ACCEPTED), session, {"launch": shown["launch"]})

    return await write(call, RESTORED, work)


async def restore_sessions(call: Call) -> Reply:
    """Restore every session that can be."""
    caps = call.deps.means.one(Fleet).caps()

    def work(unit: Unit) -> Written:
        asked = endings.ask_restore_all(unit, caps)
        return Written(answer(Asked(asked), _ACCEPTED), "every session", {"sessions": asked}, acted=bool(asked))

    return await write(call, RESTORED, work)


async def cleanup_session(call: Call) -> Reply:
    """Keep the work of an ended session, then remove its worktree."""
    session, host = call.path["id"], call.deps.settings.host

    def work(unit: Unit) -> Written:
        asked = endings.ask_cleanup(unit, session, host)
        return Written(answer(views.session(unit, session, unit.at), _ACCEPTED), session, acted=bool(asked))

    return await write(call, CLEANED, work)


async def cleanup_sessions(call: Call) -> Reply:
    """Clean up every session of this host that has ended."""
    host = call.deps.settings.host

    def work(unit: Unit) -> Written:
        asked = endings.ask_cleanup(unit, None, host)
        return Written(answer(Asked(asked), _ACCEPTED), "every session", {"sessions": asked}, acted=bool(asked))

    return await write(call, CLEANED, work)


_BASE = "/api/v1/sessions"
ROUTES = (
    Route(
        method="GET",
        path=_BASE,
        access=Access.READ,
        handler=list_sessions,
        audit=None,
        summary="Sessions, with what each is doing and how that is known",
        query=SessionQuery,
        reply=SessionPage,
    ),
    Route(
        method="POST",
        path=_BASE,
        access=Access.ADMIN,
        handler=create_session,
        audit=SPAWNED,
        summary="Start a session, or queue it where there is no room",
        body=SessionBody,
        reply=Session,
        status=_CREATED,
        errors=(NotFound, Conflict, Unavailable),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/restore",
        access=Access.ADMIN,
        handler=restore_sessions,
        audit=RESTORED,
        summary="Start the agents again of all sessions that were lost with their runtime or machine",
        reply=Asked,
        status=_ACCEPTED,
    ),
    Route(
        method="POST",
        path=f"{_BASE}/cleanup",
        access=Access.ADMIN,
        handler=cleanup_sessions,
        audit=CLEANED,
        summary="Keep the work of every ended session, then remove its worktree",
        reply=Asked,
        status=_ACCEPTED,
    ),
    Route(
        method="GET",
        path=f"{_BASE}/{{id}}",
        access=Access.READ,
        handler=show_session,
        audit=None,
        summary="One session",
        query=OneQuery,
        reply=Session,
        errors=(NotFound,),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/kill",
        access=Access.ADMIN,
        handler=kill_session,
        audit=KILLED,
        summary="End a session: its agent and all that it left running; its worktree stays",
        reply=Session,
        status=_ACCEPTED,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/restore",
        access=Access.ADMIN,
        handler=restore_session,
        audit=RESTORED,
        summary="Start the agent of an ended session again, in its worktree and conversation",
        reply=Session,
        status=_ACCEPTED,
        errors=(NotFound, Conflict, Invalid),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/cleanup",
        access=Access.ADMIN,
        handler=cleanup_session,
        audit=CLEANED,
        summary="Keep the work of an ended session, then remove its worktree",
        reply=Session,
        status=_ACCEPTED,
        errors=(NotFound, Conflict),
    ),
)
