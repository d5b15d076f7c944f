"""Routes of the kinds of propagations and of their schedules: what the rules are, and how things stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core.propagation import view
from holdfast.core.propagation.view import Gauge, ScheduleShown, spoken
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import answer

if TYPE_CHECKING:
    from holdfast.core.propagation.kinds import Kind


class SchedulePage(msgspec.Struct):
    """Every table of delays."""

    items: list[ScheduleShown]
    next: str | None


class ConditionShown(msgspec.Struct):
    """What must hold before rows of a kind are started."""

    name: str
    doc: str


class TimeoutsShown(msgspec.Struct):
    """How long things of a kind may take, in seconds: one call outside, one try, the lease of a row."""

    call: float
    item: float
    lease: float


class RulesShown(msgspec.Struct):
    """How rows of a kind are started."""

    unique: str
    ordered: bool
    dead_blocks: bool
    jitter: bool
    concurrency: int
    batch: int
    held_after_restore: bool
    conditions: list[ConditionShown]


class KindShown(msgspec.Struct):
    """A kind of effect, and how things stand with it."""

    name: str
    doc: str
    schedule: str
    max_attempts: int
    max_starts: int
    horizon_seconds: float
    horizon: str
    timeouts: TimeoutsShown
    rules: RulesShown
    #: Whether this process has its handler, and what keeps it from starting any.
    served: bool
    blocked: str | None
    gauge: Gauge


class KindPage(msgspec.Struct):
    """Every kind that is registered here."""

    items: list[KindShown]
    next: str | None


async def list_schedules(_call: Call) -> Reply:
    """Every table of delays."""
    return answer(SchedulePage(view.schedules(), None))


async def list_kinds(call: Call) -> Reply:
    """Every kind."""
    kinds = call.deps.propagations.registry.kinds
    now = call.deps.clock.stamp()
    found = await call.deps.store.read(lambda reader: view.gauges(reader, kinds, now))
    gauges = {gauge.kind: gauge for gauge in found}
    return answer(KindPage([_kind(call, kinds[name], gauges[name]) for name in sorted(kinds)], None))


def _kind(call: Call, kind: Kind[Any], gauge: Gauge) -> KindShown:
    here = call.deps.propagations
    horizon = kind.horizon.total_seconds()
    return KindShown(
        name=kind.name,
        doc=kind.doc,
        schedule=kind.schedule.name,
        max_attempts=kind.max_attempts,
        max_starts=kind.max_starts,
        horizon_seconds=horizon,
        horizon=spoken(horizon),
        timeouts=TimeoutsShown(kind.timeouts.call, kind.timeouts.item, kind.timeouts.lease),
        rules=_rules(kind),
        served=kind.name in here.registry.handlers,
        blocked=None if here.runner is None else here.runner.blocked.get(kind.name),
        gauge=gauge,
    )


def _rules(kind: Kind[Any]) -> RulesShown:
    return RulesShown(
        unique=kind.unique,
        ordered=kind.ordered,
        dead_blocks=kind.dead_blocks,
        jitter=kind.jitter,
        concurrency=kind.concurrency,
        batch=kind.batch,
        held_after_restore=kind.held_after_restore,
        conditions=[ConditionShown(each.name, each.doc) for each in kind.conditions],
    )


_BASE = "/api/v1/propagations"
ROUTES = (
    Route(
        method="GET",
        path=f"{_BASE}/schedules",
        access=Access.READ,
        handler=list_schedules,
        audit=None,
        summary="Every table of delays between tries, with its horizon",
        reply=SchedulePage,
    ),
    Route(
        method="GET",
        path=f"{_BASE}/kinds",
        access=Access.READ,
        handler=list_kinds,
        audit=None,
        summary="Every kind of effect: its rules, what blocks it, how deep its queue is",
        reply=KindPage,
    ),
)
