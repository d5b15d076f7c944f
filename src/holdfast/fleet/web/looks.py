"""Routes that look at one session: its terminal, its output, its changes, why it is shown as it is, what happened."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING

from holdfast.core.errors import Conflict, NotFound, Unavailable
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import answer
from holdfast.fleet.fleet import Fleet
from holdfast.fleet.sessions import views
from holdfast.fleet.web.shapes import (
    Attach,
    DiffQuery,
    DiffShown,
    Explained,
    Output,
    OutputQuery,
    ScreenShown,
    Timeline,
    TimelineQuery,
)
from holdfast.fleet.web.timeline import Place, timeline

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row


async def _session(call: Call) -> Row:
    now = call.deps.clock.stamp()
    return await call.deps.store.read(lambda reader: views.session(reader, call.path["id"], now))


async def show_screen(call: Call) -> Reply:
    """What the terminal shows now."""
    session = await _session(call)
    screen = await call.deps.means.one(Fleet).screen(session["id"])
    return answer(ScreenShown(list(screen.lines), screen.row, screen.column))


async def show_output(call: Call) -> Reply:
    """A piece of the recorded output, from an offset or from near its end."""
    query: OutputQuery = call.query
    session = await _session(call)
    recording = call.deps.means.one(Fleet).recording(session["id"])
    if query.after is None:
        chunk = await asyncio.to_thread(recording.tail, query.bytes)
    else:
        chunk = await asyncio.to_thread(recording.read, query.after, query.bytes)
    return answer(Output(chunk.offset, chunk.next, chunk.missed, b64encode(chunk.data).decode()))


async def show_diff(call: Call) -> Reply:
    """What the session has done against where it began."""
    query: DiffQuery = call.query
    session = await _session(call)
    found = await call.deps.means.one(Fleet).diff(session["id"], query.bytes)
    return answer(DiffShown(session["base"], found.cut, b64encode(found.text).decode()))


async def show_attach(call: Call) -> Reply:
    """The command that joins the session's terminal, on the host that it runs on."""
    session = await _session(call)
    command = await call.deps.means.one(Fleet).attach(session["id"])
    return answer(Attach(session["host"], list(command)))


async def show_explanation(call: Call) -> Reply:
    """Why the session is shown as it is."""
    now, caps = call.deps.clock.stamp(), call.deps.means.one(Fleet).caps()
    return answer(await call.deps.store.read(lambda reader: views.explain(reader, call.path["id"], now, caps)))


async def show_timeline(call: Call) -> Reply:
    """What happened to the session, newest first."""
    query: TimelineQuery = call.query
    before = Place.read(query.behind)
    now = call.deps.clock.stamp()

    def work(reader: Reader) -> Timeline:
        session = views.session(reader, call.path["id"], now)
        return timeline(reader, session, before, query.limit)

    return answer(await call.deps.store.read(work))


_BASE = "/api/v1/sessions/{id}"
ROUTES = (
    Route(
        method="GET",
        path=f"{_BASE}/timeline",
        access=Access.READ,
        handler=show_timeline,
        audit=None,
        summary="What happened to a session, newest first",
        query=TimelineQuery,
        reply=Timeline,
        errors=(NotFound,),
    ),
    Route(
        method="GET",
        path=f"{_BASE}/explain",
        access=Access.READ,
        handler=show_explanation,
        audit=None,
        summary="Why a session is shown as it is: every rule, source and age",
        reply=Explained,
        errors=(NotFound,),
    ),
    Route(
        method="GET",
        path=f"{_BASE}/diff",
        access=Access.READ,
        handler=show_diff,
        audit=None,
        summary="What a session has done against where it began",
        query=DiffQuery,
        reply=DiffShown,
        errors=(NotFound, Conflict, Unavailable),
    ),
    Route(
        method="GET",
        path=f"{_BASE}/screen",
        access=Access.READ,
        handler=show_screen,
        audit=None,
        summary="What the terminal of a session shows now",
        reply=ScreenShown,
        errors=(NotFound, Conflict, Unavailable),
    ),
    Route(
        method="GET",
        path=f"{_BASE}/output",
        access=Access.READ,
        handler=show_output,
        audit=None,
        summary="Recorded output of a session, by offsets that stay",
        query=OutputQuery,
        reply=Output,
        errors=(NotFound,),
    ),
    Route(
        method="GET",
        path=f"{_BASE}/attach",
        access=Access.ADMIN,
        handler=show_attach,
        audit=None,
        summary="The command that joins the terminal of a session, on its host",
        reply=Attach,
        errors=(NotFound, Conflict, Unavailable),
    ),
)
