"""Builds the HTTP application of a set of packs: every route table, checked and served behind one door."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match

from holdfast.core.version import VERSION
from holdfast.core.web import access, changes, openapi, system
from holdfast.core.web.boundary import Door
from holdfast.core.web.deps import Deps as Deps  # noqa: PLC0414 - the factory's parameter is part of its interface
from holdfast.core.web.endpoint import Endpoint
from holdfast.core.web.hosts import Hosts
from holdfast.core.web.routes import PageRoute, Route

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from holdfast.core.pack import Pack

TITLE = "Holdfast"
#: Where the document of the API is.
DOCUMENT = "/api/v1/openapi.json"
CORE_ROUTES: tuple[Route, ...] = (*system.ROUTES, *access.ROUTES, *changes.ROUTES)


class RoutesWrong(ValueError):
    """Two packs claim one address, or a route names an act that no pack registered."""


class Row(APIRoute):
    """A route of a table inside FastAPI: served by an endpoint of ours, and open to whoever walks the application."""

    def __init__(self, row: Route, deps: Deps, about: dict[str, object]) -> None:
        async def placeholder() -> None:
            """Stand where FastAPI wants a function; it is never called."""

        super().__init__(
            row.path, placeholder, methods=[row.method], name=str(about["operationId"]), openapi_extra=about
        )
        self.row = row
        self.app = Endpoint(row, deps)


class Application:
    """The ASGI application. FastAPI holds the routes; its middlewares and its parsing are not passed through."""

    def __init__(self, fastapi: FastAPI, routes: Sequence[Route], door: Door) -> None:
        self.fastapi = fastapi
        self.routes = routes
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        await self._door(scope, receive, send)


def table(packs: Iterable[Pack]) -> tuple[Route, ...]:
    """Every route of the core and the packs; a table that contradicts itself is refused."""
    packs = tuple(packs)
    routes = (*CORE_ROUTES, *(route for pack in packs for route in pack.routes))
    acts = {kind.name for pack in packs for kind in pack.audit}
    seen: set[tuple[str, str]] = set()
    for route in routes:
        if (route.method, route.path) in seen:
            message = f"{route.method} {route.path} is in the tables twice"
            raise RoutesWrong(message)
        if route.audit is not None and route.audit not in acts:
            message = f"{route.method} {route.path} names the act {route.audit!r}, which no pack registers"
            raise RoutesWrong(message)
        seen.add((route.method, route.path))
    return routes


def build_app(packs: Iterable[Pack], deps: Deps) -> Application:
    """The ASGI application: the core's own routes and those of every pack, behind one door."""
    routes = table(packs)
    fastapi = FastAPI(title=TITLE, version=VERSION, openapi_url=None, docs_url=None, redoc_url=None)
    document = openapi.document(TITLE, VERSION, routes)
    for route in routes:
        about = document["paths"][route.path][route.method.lower()]
        fastapi.router.routes.append(Row(route, deps, about))
    fastapi.openapi_schema = document
    deps.document = msgspec.json.encode(document)
    router = fastapi.router
    router.redirect_slashes = False

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = fastapi  # so that the router raises what it does not find instead of answering itself
        await router(scope, receive, send)

    settings = deps.settings
    door = Door(
        inner,
        hosts=Hosts(settings.address, settings.access.hosts, settings.access.origins),
        body_bytes=settings.access.body_bytes,
        load=lambda: b"ready",
        allowed=lambda path: _allowed(fastapi, path),
        refusals={
            route.path: route.refusal for route in routes if isinstance(route, PageRoute) and route.refusal is not None
        },
    )
    return Application(fastapi, routes, door)


def _allowed(fastapi: FastAPI, path: str) -> list[str]:
    scope = {"type": "http", "method": "", "path": path, "root_path": "", "headers": []}
    rows = [route for route in fastapi.router.routes if isinstance(route, Row)]
    matching = [row.row for row in rows if row.matches(scope)[0] is not Match.NONE]
    found = {route.method for route in matching}
    # A stream has no end, so HEAD is nothing that it takes.
    heads = {"HEAD" for route in matching if route.method == "GET" and route.raw is None}
    return sorted(found | heads)
