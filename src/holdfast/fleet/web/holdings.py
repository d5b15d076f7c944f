"""Routes of kept work and of agents: what was captured and can be put back, and who can be set to work."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from holdfast.core.errors import Conflict, HoldfastError, NotFound, Unavailable
from holdfast.core.store.sql import load
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import END, PageQuery, answer, page
from holdfast.core.web.words import spelled
from holdfast.core.web.writes import Written, write
from holdfast.fleet.agents.registry import AGENTS, installed
from holdfast.fleet.fleet import Fleet
from holdfast.fleet.projects import Id
from holdfast.fleet.web.shapes import SessionId

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit

SQL = load("holdfast.fleet.web", "web.sql")
PUT_BACK = "kept.restored"
_REFS = "refs/holdfast/kept/"
_REF = spelled(
    r"^refs/holdfast/kept/[a-z0-9][a-z0-9-]{0,59}/[1-9][0-9]{0,8}" + END, "a ref that `holdfast kept ls` shows"
)
_ABSOLUTE = spelled(r"^/[^\x00-\x1f\x7f-\x9f]*" + END, "an absolute path")


class KeptQuery(PageQuery):
    """Which kept work."""

    project: Annotated[Id, Meta(description="Only that of this project.")] | None = None
    session: Annotated[SessionId, Meta(description="Only that of this session.")] | None = None


class Kept(msgspec.Struct):
    """Work that was captured before its worktree was removed."""

    ref: str
    session: str
    project: str
    repository: str
    branch: str | None
    commit_id: str
    head: str
    files: int
    bytes: int
    kept_at: str
    restored_at: str | None


class KeptPage(msgspec.Struct):
    """Kept work, by session."""

    items: list[Kept]
    next: str | None


class KeptBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which kept work to put back, and where: where there is nothing yet, or an empty folder."""

    ref: Annotated[str, Meta(pattern=_REF)]
    path: (
        Annotated[str, Meta(max_length=4_000, pattern=_ABSOLUTE, description="A folder below the data folder without.")]
        | None
    ) = None


class KeptRestored(msgspec.Struct):
    """Where it stands again."""

    ref: str
    path: str
    head: str
    #: Empty where HEAD is detached; `why` says why it is though it was not.
    branch: str
    why: str
    files: int


class AgentShown(msgspec.Struct):
    """An agent that Holdfast knows, and whether it is there on the daemon's PATH."""

    name: str
    doc: str
    standing: Literal["verified", "declared"]
    binary: str | None
    #: The full path of its program; null where it is not installed, or its options name it.
    path: str | None
    install: str
    resumes: bool
    speaks: Literal["hooks", "output"]


class AgentPage(msgspec.Struct):
    """Agents by name."""

    items: list[AgentShown]
    next: str | None


# --- routes ---


async def list_kept(call: Call) -> Reply:
    """Kept work, by session."""
    query: KeptQuery = call.query
    session, _, number = query.behind.rpartition("-")
    after = f"{_REFS}{session}/{number}" if number else ""

    def work(reader: Reader) -> list[Row]:
        return reader.all(
            SQL.kept_page, after=after, project=query.project, session=query.session, limit=query.limit + 1
        )

    rows = await call.deps.store.read(work)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    following = "after-" + rows[-1]["ref"].removeprefix(_REFS).replace("/", "-") if more else None
    return answer(KeptPage([Kept(**row) for row in rows], following))


async def restore_kept(call: Call) -> Reply:
    """Put kept work back, byte for byte, where nothing stands."""
    body: KeptBody = call.body
    known = await call.deps.store.read(lambda reader: reader.one(SQL.kept, ref=body.ref))
    if known is None:
        message = f"No work is kept as {body.ref!r}. `holdfast kept ls` lists what is."
        raise NotFound(message)
    # A repeated key is answered as the first time, also where what came of that now stands in the way.
    shown = await _put_back(call, body)

    def work(unit: Unit) -> Written:
        if isinstance(shown, HoldfastError):
            raise shown
        unit.run(SQL.put_back, ref=body.ref, at=unit.at)
        return Written(answer(shown), body.ref, {"path": shown.path, "files": shown.files})

    return await write(call, PUT_BACK, work)


async def _put_back(call: Call, body: KeptBody) -> KeptRestored | HoldfastError:
    try:
        came = await call.deps.means.one(Fleet).kept_restore(body.ref, body.path)
    except HoldfastError as error:
        return error
    return KeptRestored(body.ref, str(came.path), came.head, came.branch, came.why, came.files)


async def list_agents(call: Call) -> Reply:
    """Agents by name, and whether the daemon finds their programs."""
    query: PageQuery = call.query
    path = os.environ.get("PATH", os.defpath)

    def look() -> list[AgentShown]:
        return [
            AgentShown(
                each.name,
                each.doc,
                each.standing,
                each.binary,
                installed(each, {}, path),
                each.install,
                each.resumes,
                each.speaks,
            )
            for name, each in sorted(AGENTS.items())
            if name > query.behind
        ]

    found = await asyncio.to_thread(look)
    shown = [{name: getattr(each, name) for name in AgentShown.__struct_fields__} for each in found]
    return page(shown[: query.limit + 1], query.limit, "name")


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/agents",
        access=Access.READ,
        handler=list_agents,
        audit=None,
        summary="Agents that are known, and whether they are installed",
        query=PageQuery,
        reply=AgentPage,
    ),
    Route(
        method="GET",
        path="/api/v1/kept",
        access=Access.READ,
        handler=list_kept,
        audit=None,
        summary="Work that was captured before its worktree was removed",
        query=KeptQuery,
        reply=KeptPage,
    ),
    Route(
        method="POST",
        path="/api/v1/kept/restore",
        access=Access.ADMIN,
        handler=restore_kept,
        audit=PUT_BACK,
        summary="Put kept work back, byte for byte, where nothing stands",
        body=KeptBody,
        reply=KeptRestored,
        errors=(NotFound, Conflict, Unavailable),
    ),
)
