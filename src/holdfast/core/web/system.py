"""Routes of the daemon itself: is it alive, is it ready, what is it, and the document of its API."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from holdfast.core.health import metrics
from holdfast.core.health.readiness import MatrixRow, ReadinessReport
from holdfast.core.propagation import view
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import answer

_ALIVE = Reply(b'{"status":"ok"}')
_NOT_READY = 503


class Alive(msgspec.Struct):
    """The process runs."""

    status: str


class Matrix(msgspec.Struct):
    """Every check, and what its failure means."""

    items: list[MatrixRow]


class StoreStatus(msgspec.Struct):
    """The store that the daemon keeps."""

    uuid: str
    engine: str
    effects_held: bool


class Status(msgspec.Struct):
    """What this daemon is and how far it has come."""

    service: str
    overall: str
    roles: list[str]
    host: str
    version: str
    commit_id: str | None
    pid: int
    started_at: str
    store: StoreStatus
    head: int
    oldest: int


class Document(msgspec.Struct):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]


async def healthz(_call: Call) -> Reply:
    """The process is alive: touches nothing that could be slow."""
    return _ALIVE


async def readyz(call: Call) -> Reply:
    """Ready to serve, by the newest results of the checks."""
    report = await call.deps.readiness.report()
    if report.overall == "failed":
        reply = answer(report, _NOT_READY)
        return Reply(reply.body, reply.status, ((b"retry-after", b"5"),))
    return answer(report)


async def matrix(call: Call) -> Reply:
    """The checks with their criticality, from the registry that runs them."""
    return answer(Matrix(call.deps.readiness.matrix))


async def status(call: Call) -> Reply:
    """What this daemon is."""
    deps = call.deps
    about = deps.readiness.about
    return answer(
        Status(
            service=about.service,
            overall=deps.readiness.overall,
            roles=list(about.roles),
            host=deps.settings.host,
            version=about.version,
            commit_id=about.commit_id,
            pid=os.getpid(),
            started_at=deps.started_at,
            store=StoreStatus(deps.store.uuid, deps.store.dialect, deps.store.effects_held),
            head=deps.feed.position,
            oldest=deps.feed.oldest,
        )
    )


async def measure(call: Call) -> Reply:
    """What the daemon measures: one read of the queue, the rest from memory."""
    deps = call.deps
    here, now = deps.propagations, deps.clock.stamp()
    gauges = await deps.store.read(lambda reader: view.gauges(reader, here.registry.kinds, now))
    readings = metrics.Readings(
        propagations=gauges,
        late=None if here.runner is None else here.runner.late,
        under_way=None if here.runner is None else here.runner.under_way,
        effects_held=deps.store.effects_held,
        position=deps.feed.position,
        oldest=deps.feed.oldest,
        subscribers=deps.hub.readers,
        overflows=deps.hub.overflows,
    )
    return Reply(metrics.exposition(readings), media=metrics.MEDIA)


async def document(call: Call) -> Reply:
    """The OpenAPI document, encoded when the application was built."""
    return Reply(call.deps.document)


ROUTES = (
    Route(
        method="GET",
        path="/healthz",
        access=Access.PUBLIC,
        handler=healthz,
        audit=None,
        summary="Whether the process is alive",
        reply=Alive,
    ),
    Route(
        method="GET",
        path="/readyz",
        access=Access.PUBLIC,
        handler=readyz,
        audit=None,
        summary="Whether the daemon is ready: 200 for ok and degraded, 503 for failed",
        reply=ReadinessReport,
        status=(200, _NOT_READY),
    ),
    Route(
        method="GET",
        path="/readyz/matrix",
        access=Access.READ,
        handler=matrix,
        audit=None,
        summary="Which checks there are and what their failure means",
        reply=Matrix,
    ),
    Route(
        method="GET",
        path="/metrics",
        access=Access.READ,
        handler=measure,
        audit=None,
        summary="What the daemon measures, in the text form of Prometheus",
    ),
    Route(
        method="GET",
        path="/api/v1/status",
        access=Access.READ,
        handler=status,
        audit=None,
        summary="What this daemon is and how far it has come",
        reply=Status,
    ),
    Route(
        method="GET",
        path="/api/v1/openapi.json",
        access=Access.READ,
        handler=document,
        audit=None,
        summary="This document",
        reply=Document,
    ),
)
