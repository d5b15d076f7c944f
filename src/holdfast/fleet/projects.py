"""Projects: the repositories that Holdfast looks after, and their routes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.core.errors import Conflict, Invalid, MissingReference, NotFound
from holdfast.core.store.port import Reader, Row, Unit
from holdfast.core.store.sql import load
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import END, PLAIN, PageQuery, answer, encode, page
from holdfast.core.web.words import spelled
from holdfast.core.web.writes import Written, write
from holdfast.fleet.agents.registry import AGENTS, agent
from holdfast.fleet.reactions.settings import Setting, require_known
from holdfast.fleet.reactions.table import BY_NAME
from holdfast.fleet.repository import look_at

SQL = load("holdfast.fleet", "projects.sql")
ADDED, CHANGED, REMOVED = "project.added", "project.changed", "project.removed"
#: How many sessions of a project run at once unless told otherwise.
USUAL_SESSIONS = 4
_ID = spelled(
    r"^[a-z0-9][a-z0-9-]{0,39}" + END,
    "1 to 40 lower-case letters, digits and hyphens, the first of them no hyphen",
)
#: How many sessions are named when a project cannot be removed.
_NAMED = 5
_CREATED = 201
_NO_CONTENT = 204

Id = Annotated[str, Meta(pattern=_ID)]
#: The document names the agents that there are; who asks for another one is told the nearest.
Agent = Annotated[
    str,
    Meta(
        pattern=_ID,
        description="The agent that works on it unless told otherwise.",
        extra_json_schema={"enum": sorted(AGENTS)},
    ),
]
Forge = Literal["local", "github"]
Checks = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=2_000, pattern=PLAIN)]],
    Meta(max_length=20, description="Commands that must succeed before a merge."),
]
Sessions = Annotated[int, Meta(ge=1, le=1_000, description="How many sessions may run at once.")]
Base = Annotated[
    str,
    Meta(min_length=1, max_length=250, pattern=PLAIN, description="Where branches begin; where HEAD is without it."),
]
Setup = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=2_000, pattern=PLAIN)]],
    Meta(max_length=20, description="Commands that make a new worktree ready, in order."),
]
_PATH = spelled(
    r"^(?!/)(?!(.*/)?\.\.(/|$))[^\x00-\x1f\x7f-\x9f]+" + END,
    "a path from the top of the repository, without '..'",
)
Paths = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=1_000, pattern=_PATH)]],
    Meta(max_length=100, description="Files that git does not have, such as .env; patterns such as *.local work."),
]
_NO_NUL = spelled(r"^[^\x00]*" + END, "text without NUL")
OptionText = Annotated[str, Meta(max_length=100_000, pattern=_NO_NUL)]
Options = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=100, pattern=PLAIN)],
        OptionText | int | float | bool | list[OptionText] | None,
    ],
    Meta(max_length=50, description="What its agents are given, such as a model."),
]
ChecksHow = Annotated[
    Literal["in_order", "at_once"],
    Meta(description="`in_order` runs one check after the other and stops at none; `at_once` runs them side by side."),
]
MergeBy = Annotated[
    Literal["person", "policy"],
    Meta(description="Who merges: a person, or Holdfast as soon as all that is asked of a pull is so."),
]
MergeHow = Annotated[
    Literal["ff", "merge", "squash"],
    Meta(description="How: only by moving the base ahead, by a merge commit, or all of it as one commit."),
]
#: The document names the reactions that there are, and whom each can tell; who names another one is told the nearest.
Reactions = Annotated[
    dict[str, Setting],
    Meta(
        max_length=50,
        description="What is different for a reaction: its text, its cap, whom it tells, or that it is off.",
        extra_json_schema={
            "propertyNames": {"enum": sorted(BY_NAME)},
            "allOf": [
                {
                    "properties": {
                        name: {"properties": {"to": {"enum": [*reaction.targets, None]}}}
                        for name, reaction in BY_NAME.items()
                    }
                }
            ],
        },
    ),
]
#: The columns that hold JSON.
_JSON = ("checks", "setup", "copy", "link", "options", "reactions")


class RulesBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is asked of its pulls, and what follows from how they stand."""

    checks: Checks = []
    checks_how: ChecksHow = "in_order"
    merge_by: MergeBy = "person"
    merge_how: MergeHow = "merge"
    reactions: Reactions = {}


class ProjectBody(RulesBody, forbid_unknown_fields=True, kw_only=True):
    """A repository to register."""

    path: Annotated[str, Meta(min_length=1, max_length=4_000, pattern=PLAIN, description="An absolute path.")]
    id: Annotated[Id, Meta(description="Its name here; made from the folder's without it.")] | None = None
    agent: Agent | None = None
    forge: Forge = "local"
    max_sessions: Sessions = USUAL_SESSIONS
    base: Base | None = None
    setup: Setup = []
    copy: Paths = []
    link: Paths = []
    options: Options = {}


class RulesChange(msgspec.Struct, forbid_unknown_fields=True):
    """What of these is to change."""

    checks: Checks | UnsetType = UNSET
    checks_how: ChecksHow | UnsetType = UNSET
    merge_by: MergeBy | UnsetType = UNSET
    merge_how: MergeHow | UnsetType = UNSET
    reactions: Reactions | UnsetType = UNSET


class ProjectChange(RulesChange, forbid_unknown_fields=True):
    """What of a project is to change; what is left out stays."""

    agent: Agent | UnsetType | None = UNSET
    forge: Forge | UnsetType = UNSET
    max_sessions: Sessions | UnsetType = UNSET
    base: Base | UnsetType | None = UNSET
    setup: Setup | UnsetType = UNSET
    copy: Paths | UnsetType = UNSET
    link: Paths | UnsetType = UNSET
    options: Options | UnsetType = UNSET


class Rules(msgspec.Struct):
    """What is asked of the pulls of a project, and what follows from how they stand."""

    checks: list[str]
    checks_how: str
    merge_by: str
    merge_how: str
    reactions: dict[str, Any]


class Project(Rules):
    """A registered repository."""

    id: str
    path: str
    agent: str | None
    forge: str
    max_sessions: int
    created_at: str
    base: str | None
    setup: list[str]
    copy: list[str]
    link: list[str]
    options: dict[str, Any]


class ProjectPage(msgspec.Struct):
    """Projects by id."""

    items: list[Project]
    next: str | None


def shown(row: Row) -> Row:
    """A row as the API shows it: what is JSON in the store is JSON there, not a string."""
    return row | {name: msgspec.Raw(row[name].encode()) for name in _JSON}


def _known_agent(name: str | UnsetType | None) -> None:
    """Refuse an agent that nobody has declared; who is asked knows the nearest one."""
    if isinstance(name, str):
        agent(name)


def _named(reader: Reader, project: str) -> Row:
    row = reader.one(SQL.by_id, id=project)
    if row is None:
        message = f"There is no project {project[:80]!r}. `holdfast project ls` lists them."
        raise NotFound(message)
    return row


async def list_projects(call: Call) -> Reply:
    """Projects by id."""
    query: PageQuery = call.query

    def work(reader: Reader) -> list[Row]:
        return reader.all(SQL.page, after=query.behind, limit=query.limit + 1)

    return page([shown(row) for row in await call.deps.store.read(work)], query.limit, "id")


async def show_project(call: Call) -> Reply:
    """One project."""
    return answer(shown(await call.deps.store.read(lambda reader: _named(reader, call.path["id"]))))


async def add_project(call: Call) -> Reply:
    """Register a repository."""
    body: ProjectBody = call.body
    _known_agent(body.agent)
    require_known(body.reactions)
    repository = await asyncio.to_thread(look_at, body.path)
    project = body.id or repository.id
    if not project:
        message = f"The folder name of {repository.path!r} makes no id. Give one with `id`."
        raise Invalid(message, field="id")
    try:
        repository.path.encode()
    except UnicodeEncodeError:
        message = "The path is not UTF-8 text. Move the repository to a path that is."
        raise Invalid(message, field="path") from None

    def work(unit: Unit) -> Written:
        _refuse_twice(unit, project, repository.path)
        given = {name: getattr(body, name) for name in ProjectChange.__struct_fields__}
        row: Row = {"id": project, "path": repository.path, **_written(given), "created_at": unit.at}
        unit.run(SQL.add, **row)
        reply = answer(shown(row), _CREATED)
        return Written(reply, project, {"path": repository.path})

    return await write(call, ADDED, work)


def _written(given: dict[str, Any]) -> Row:
    """Values as their columns hold them."""
    return {name: encode(value).decode() if name in _JSON else value for name, value in given.items()}


def _refuse_twice(unit: Unit, project: str, path: str) -> None:
    clash = unit.one(SQL.clashing, id=project, path=path)
    if clash is None:
        return
    if clash["path"] == path:
        message = f"{path!r} is registered already, as project {clash['id']!r}."
    else:
        message = f"Project {project!r} is there already, at {clash['path']!r}. Choose another with `id`."
    raise Conflict(message, project=clash["id"])


async def change_project(call: Call) -> Reply:
    """Change what was given; the rest stays."""
    body: ProjectChange = call.body
    _known_agent(body.agent)
    if not isinstance(body.reactions, UnsetType):
        require_known(body.reactions)
    given = _written({name: getattr(body, name) for name in body.__struct_fields__ if getattr(body, name) is not UNSET})

    def work(unit: Unit) -> Written:
        before = _named(unit, call.path["id"])
        after = before | given
        changed = sorted(name for name in given if after[name] != before[name])
        if changed:
            unit.run(SQL.change, **{name: after[name] for name in SQL.change.params})
        return Written(answer(shown(after)), after["id"], {"changed": changed}, acted=bool(changed))

    return await write(call, CHANGED, work)


def _refuse_in_use(unit: Unit, project: str) -> None:
    """A project is kept while a session of it lives or waits, or has a worktree that may hold work."""
    rows = unit.all(SQL.in_use, project=project, limit=_NAMED + 1)
    if not rows:
        return
    names = ", ".join(row["id"] for row in rows[:_NAMED]) + (", ..." if len(rows) > _NAMED else "")
    message = (
        f"Project {project!r} has sessions that live, wait, or have a worktree: {names}. "
        "End them with `holdfast kill`, then `holdfast cleanup` keeps their work and removes the worktrees."
    )
    raise Conflict(message, sessions=[row["id"] for row in rows[:_NAMED]])


async def remove_project(call: Call) -> Reply:
    """Forget a project; its repository is left as it is."""

    def work(unit: Unit) -> Written:
        row = _named(unit, call.path["id"])
        _refuse_in_use(unit, row["id"])
        unit.run(SQL.remove, id=row["id"])
        return Written(Reply(b"", _NO_CONTENT), row["id"], {"path": row["path"]})

    return await write(call, REMOVED, work)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/projects",
        access=Access.READ,
        handler=list_projects,
        audit=None,
        summary="Registered repositories",
        query=PageQuery,
        reply=ProjectPage,
    ),
    Route(
        method="POST",
        path="/api/v1/projects",
        access=Access.ADMIN,
        handler=add_project,
        audit=ADDED,
        summary="Register a repository",
        body=ProjectBody,
        reply=Project,
        status=_CREATED,
        errors=(Conflict,),
    ),
    Route(
        method="GET",
        path="/api/v1/projects/{id}",
        access=Access.READ,
        handler=show_project,
        audit=None,
        summary="One registered repository",
        reply=Project,
        errors=(NotFound,),
    ),
    Route(
        method="PATCH",
        path="/api/v1/projects/{id}",
        access=Access.ADMIN,
        handler=change_project,
        audit=CHANGED,
        summary="Change a registered repository; what is left out stays",
        body=ProjectChange,
        reply=Project,
        errors=(NotFound,),
    ),
    Route(
        method="DELETE",
        path="/api/v1/projects/{id}",
        access=Access.ADMIN,
        handler=remove_project,
        audit=REMOVED,
        summary="Forget a repository; it is left as it is",
        status=_NO_CONTENT,
        errors=(NotFound, Conflict, MissingReference),
    ),
)
