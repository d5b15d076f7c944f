"""Routes of pulls: which there are, one of them, and what people and agents ask of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import Conflict, NotFound
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import answer, page
from holdfast.core.web.writes import Written, write
from holdfast.fleet.forges import asking
from holdfast.fleet.pulls import door, views
from holdfast.fleet.sessions import door as sessions
from holdfast.fleet.web.pull_shapes import (
    CommentBody,
    MergeBody,
    Opening,
    PullPage,
    PullQuery,
    PullWhole,
    ResolveBody,
    ReviewBody,
)

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit
    from holdfast.fleet.pulls.facts import Pull

OPENED, MERGED, CLOSED, RERUN = "pull.asked", "pull.merge", "pull.closed", "pull.rerun"
COMMENTED, REVIEWED, RESOLVED = "pull.commented", "pull.reviewed", "pull.resolved"
_CREATED = 201
_ACCEPTED = 202


async def list_pulls(call: Call) -> Reply:
    """Pulls by id."""
    query: PullQuery = call.query

    def work(reader: Reader) -> list[dict[str, Any]]:
        return views.pulls(
            reader,
            query.behind,
            query.limit + 1,
            project=query.project,
            session=query.session,
            state=query.state,
        )

    return page(await call.deps.store.read(work), query.limit, "id")


async def show_pull(call: Call) -> Reply:
    """One pull, with the logs of its checks."""
    return answer(await call.deps.store.read(lambda reader: views.pull(reader, call.path["id"])))


async def open_pull(call: Call) -> Reply:
    """Look for a pull of this session's branch now, rather than when its agent rests."""
    session = call.path["session"]

    def work(unit: Unit) -> Written:
        row: Row = sessions.need(unit, session)[0]
        asking.open_pull(unit, row)
        return Written(answer(Opening(session, row["branch"]), _ACCEPTED), session, {"branch": row["branch"]})

    return await write(call, OPENED, work)


async def _act(
    call: Call, kind: str, work: Callable[[Unit, Pull, str], dict[str, Any] | None], status: int = _ACCEPTED
) -> Reply:
    """Do something to a pull, and show what it is then."""
    pull_id = call.path["id"]

    def act(unit: Unit) -> Written:
        detail = work(unit, door.need(unit, pull_id), call.caller.actor) or {}
        return Written(answer(views.pull(unit, pull_id), status), pull_id, detail)

    return await write(call, kind, act)


async def merge_pull(call: Call) -> Reply:
    """Ask for the merge; it is refused here where it cannot be, and its row says how it went."""
    body: MergeBody = call.body

    def work(unit: Unit, pull: Pull, by: str) -> dict[str, Any]:
        asking.want_merge(unit, pull, body.how, by)
        return {"how": body.how, "head": pull.head}

    return await _act(call, MERGED, work)


async def comment_on_pull(call: Call) -> Reply:
    """Say something to a pull, maybe to a line of it; its agent is told."""
    body: CommentBody = call.body

    def work(unit: Unit, pull: Pull, by: str) -> dict[str, Any]:
        asking.comment(unit, pull, body.author or by, body.text, path=body.path, line=body.line, thread=body.thread)
        return {"characters": len(body.text)}

    return await _act(call, COMMENTED, work, _CREATED)


async def review_pull(call: Call) -> Reply:
    """Approve it, or ask for changes."""
    body: ReviewBody = call.body

    def work(unit: Unit, pull: Pull, by: str) -> dict[str, Any]:
        asking.review(unit, pull, body.author or by, body.verdict, body.text)
        return {"verdict": body.verdict, "head": pull.head}

    return await _act(call, REVIEWED, work, _CREATED)


async def resolve_thread(call: Call) -> Reply:
    """A conversation is over."""
    body: ResolveBody = call.body

    def work(unit: Unit, pull: Pull, _by: str) -> dict[str, Any]:
        asking.resolve_thread(unit, pull, body.thread)
        return {"thread": body.thread}

    return await _act(call, RESOLVED, work)


async def close_pull(call: Call) -> Reply:
    """Close it without a merge; its branch stays."""

    def work(unit: Unit, pull: Pull, by: str) -> None:
        asking.close(unit, pull, by)

    return await _act(call, CLOSED, work)


async def rerun_checks(call: Call) -> Reply:
    """Run the checks of its head once more."""

    def work(unit: Unit, pull: Pull, _by: str) -> dict[str, Any]:
        asking.rerun(unit, pull)
        return {"head": pull.head}

    return await _act(call, RERUN, work)


_BASE = "/api/v1/pulls"
ROUTES = (
    Route(
        method="GET",
        path=_BASE,
        access=Access.READ,
        handler=list_pulls,
        audit=None,
        summary="Pull requests of any forge, and how each stands",
        query=PullQuery,
        reply=PullPage,
    ),
    Route(
        method="GET",
        path=f"{_BASE}/{{id}}",
        access=Access.READ,
        handler=show_pull,
        audit=None,
        summary="One pull request: checks with their logs, what people said, what its agent was told",
        reply=PullWhole,
        errors=(NotFound,),
    ),
    Route(
        method="POST",
        path="/api/v1/sessions/{session}/pulls",
        access=Access.SESSION,
        handler=open_pull,
        audit=OPENED,
        summary="Open a pull of a session's branch now, rather than when its agent rests",
        reply=Opening,
        status=_ACCEPTED,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/merge",
        access=Access.ADMIN,
        handler=merge_pull,
        audit=MERGED,
        summary="Merge a pull into its base",
        body=MergeBody,
        reply=PullWhole,
        status=_ACCEPTED,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/comments",
        access=Access.ADMIN,
        handler=comment_on_pull,
        audit=COMMENTED,
        summary="Say something to a pull; its agent is told",
        body=CommentBody,
        reply=PullWhole,
        status=_CREATED,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/reviews",
        access=Access.ADMIN,
        handler=review_pull,
        audit=REVIEWED,
        summary="Approve a pull, or ask for changes",
        body=ReviewBody,
        reply=PullWhole,
        status=_CREATED,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/resolve",
        access=Access.ADMIN,
        handler=resolve_thread,
        audit=RESOLVED,
        summary="End a conversation on a pull",
        body=ResolveBody,
        reply=PullWhole,
        status=_ACCEPTED,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/close",
        access=Access.ADMIN,
        handler=close_pull,
        audit=CLOSED,
        summary="Close a pull without a merge; its branch stays",
        reply=PullWhole,
        status=_ACCEPTED,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/rerun",
        access=Access.ADMIN,
        handler=rerun_checks,
        audit=RERUN,
        summary="Run the checks of a pull's head once more",
        reply=PullWhole,
        status=_ACCEPTED,
        errors=(NotFound, Conflict),
    ),
)
