"""Routes of propagations: pages of them, one of them, and what people do with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from holdfast.core.errors import Conflict, NotFound
from holdfast.core.propagation import redrive, view
from holdfast.core.propagation.view import State
from holdfast.core.web import kinds
from holdfast.core.web.routes import Access, Call, Reply, Route
from holdfast.core.web.shapes import END, PLAIN, NumberCursor, PageQuery, answer, page
from holdfast.core.web.words import spelled
from holdfast.core.web.writes import Written, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from holdfast.core.propagation.deaths import Deathwatch
    from holdfast.core.propagation.kinds import Kind
    from holdfast.core.store.port import Reader, Row, Unit

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_LAST = (1 << 63) - 1
_KIND = spelled(r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*" + END, "the name of a kind, such as fleet.spawn")
_INSTANT = spelled(
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z"
    + END,
    "a moment in UTC, such as 2026-11-21T07:06:45Z",
)
KindName = Annotated[str, Meta(max_length=200, pattern=_KIND)]


class PropagationQuery(PageQuery):
    """Which propagations."""

    cursor: NumberCursor | None = None
    state: Annotated[State, Meta(description="Only those in this state.")] | None = None
    kind: Annotated[KindName, Meta(description="Only those of this kind.")] | None = None


class WhichBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which of the dead are started afresh. Nothing else than `kind` narrows it down by itself."""

    kind: Annotated[KindName, Meta(description="Those of this kind; null means of every kind.")] | None
    reason: (
        Annotated[str, Meta(max_length=200, pattern=PLAIN, description="Those that died of this, as max_attempts.")]
        | None
    ) = None
    before: Annotated[str, Meta(pattern=_INSTANT, description="Those that died before this moment.")] | None = None
    cursor: Annotated[NumberCursor, Meta(description="`next` of the answer before.")] | None = None


class Propagation(msgspec.Struct):
    """An effect that is owed, or was."""

    id: int
    kind: str
    key: str | None
    state: State
    reason: str | None
    error: str | None
    attempts: int
    starts: int
    next_attempt_at: str | None
    lease_until: str | None
    created_at: str
    finished_at: str | None


class PropagationWhole(Propagation):
    """All that is known of it; its payload without secrets. The ceilings are null where the kind is not known here."""

    lane: str | None
    behind: int | None
    not_before: str | None
    decided_at: str | None
    held_by: str | None
    effect: str
    payload: Any
    progress: Any
    schedule: str | None
    max_attempts: int | None
    max_starts: int | None


class PropagationPage(msgspec.Struct):
    """Propagations, newest first."""

    items: list[Propagation]
    next: str | None


class Refused(msgspec.Struct):
    """A row that stays dead, and why."""

    id: int
    message: str


class RedriveShown(msgspec.Struct):
    """What came of it. With `next` there is more: send the same body again, with it as `cursor`."""

    redriven: int
    refused: list[Refused]
    next: str | None


class ReleaseShown(msgspec.Struct):
    """Whether effects were held until now."""

    released: bool


# --- reads -----------------------------------------------------------------------------------------------------


async def list_propagations(call: Call) -> Reply:
    """A page over the queue and the ledger."""
    query: PropagationQuery = call.query
    before = _LAST if query.cursor is None else int(query.cursor)

    def work(reader: Reader) -> list[Row]:
        return view.page(reader, before=before, limit=query.limit + 1, state=query.state, kind=query.kind)

    return page(await call.deps.store.read(work), query.limit, "id")


async def show_propagation(call: Call) -> Reply:
    """One of them."""
    number = _number(call)
    return answer(_whole(call, await call.deps.store.read(lambda reader: view.whole(reader, number))))


# --- writes ----------------------------------------------------------------------------------------------------


async def redrive_one(call: Call) -> Reply:
    """Start one afresh."""
    return await _done_with_one(call, redrive.REDRIVEN, redrive.redrive)


async def cancel_one(call: Call) -> Reply:
    """Take one back."""
    return await _done_with_one(call, redrive.CANCELLED, redrive.cancel)


_Act: TypeAlias = "Callable[[Unit, Mapping[str, Kind[Any]], int, Sequence[Deathwatch]], Row]"


async def _done_with_one(call: Call, kind: str, act: _Act) -> Reply:
    """What a person does with one of them, on record."""
    number, known = _number(call), _known(call)

    def work(unit: Unit) -> Written:
        row = act(unit, known, number, _watches(call))
        return Written(answer(_whole(call, row)), str(number), {"kind": row["kind"], "key": row["key"]})

    return await write(call, kind, work)


async def redrive_many(call: Call) -> Reply:
    """Start the dead afresh, a bounded number at a time."""
    body: WhichBody = call.body
    known = _known(call)
    which = redrive.Which(body.kind, body.reason, _stamp(body.before))
    after = 0 if body.cursor is None else int(body.cursor)

    def work(unit: Unit) -> Written:
        came = redrive.redrive_all(unit, known, which, after, _watches(call))
        if which.kind is not None and which.kind not in known and not (came.ids or came.refused or after):
            names = ", ".join(sorted(known)) or "none"
            message = f"No kind {which.kind!r} is known here, and nothing of it is dead. Known kinds: {names}."
            raise NotFound(message)
        following = None if came.following is None else str(came.following)
        shown = RedriveShown(len(came.ids), [Refused(*each) for each in came.refused], following)
        narrowed = {"reason": which.reason, "before": which.before}
        detail = {"rows": len(came.ids), **{name: value for name, value in narrowed.items() if value is not None}}
        return Written(answer(shown), which.kind or "every kind", detail, acted=bool(came.ids))

    return await write(call, redrive.REDRIVEN, work)


async def release_effects(call: Call) -> Reply:
    """Let the effects of a restored store happen."""

    def work(unit: Unit) -> Written:
        released = redrive.release(unit)
        return Written(answer(ReleaseShown(released)), call.deps.store.uuid, acted=released)

    reply = await write(call, redrive.RELEASED, work)
    await redrive.notice_release(call.deps.store)
    return reply


# --- shapes ----------------------------------------------------------------------------------------------------


def _number(call: Call) -> int:
    text = call.path["id"]
    if not _NUMBER.fullmatch(text):
        raise view.missing(text)
    return int(text)


def _known(call: Call) -> dict[str, Kind[Any]]:
    return call.deps.propagations.registry.kinds


def _watches(call: Call) -> Sequence[Deathwatch]:
    return call.deps.propagations.registry.watches


def _stamp(moment: str | None) -> str | None:
    """A moment in the form in which the store compares moments: six digits of the second."""
    if moment is None:
        return None
    whole, _, part = moment.removesuffix("Z").partition(".")
    return f"{whole}.{part:0<6}Z"


def _whole(call: Call, row: Row) -> Row:
    kind = _known(call).get(row["kind"])
    return row | {
        "schedule": None if kind is None else kind.schedule.name,
        "max_attempts": None if kind is None else kind.max_attempts,
        "max_starts": None if kind is None else kind.max_starts,
    }


_BASE = "/api/v1/propagations"
ROUTES = (
    *kinds.ROUTES,  # before those whose path takes any word for an id
    Route(
        method="GET",
        path=_BASE,
        access=Access.READ,
        handler=list_propagations,
        audit=None,
        summary="Effects that are owed, dead, done or cancelled, newest first",
        query=PropagationQuery,
        reply=PropagationPage,
    ),
    Route(
        method="POST",
        path=f"{_BASE}/redrive",
        access=Access.ADMIN,
        handler=redrive_many,
        audit=redrive.REDRIVEN,
        summary="Start the dead of a kind, or of every kind, afresh; a bounded number at a time",
        body=WhichBody,
        reply=RedriveShown,
        errors=(NotFound,),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/release",
        access=Access.ADMIN,
        handler=release_effects,
        audit=redrive.RELEASED,
        summary="Let the effects of a restored store happen",
        reply=ReleaseShown,
    ),
    Route(
        method="GET",
        path=f"{_BASE}/{{id}}",
        access=Access.READ,
        handler=show_propagation,
        audit=None,
        summary="One effect with all that is known of it, its payload without secrets",
        reply=PropagationWhole,
        errors=(NotFound,),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/redrive",
        access=Access.ADMIN,
        handler=redrive_one,
        audit=redrive.REDRIVEN,
        summary="Start a dead effect afresh",
        reply=PropagationWhole,
        errors=(NotFound, Conflict),
    ),
    Route(
        method="POST",
        path=f"{_BASE}/{{id}}/cancel",
        access=Access.ADMIN,
        handler=cancel_one,
        audit=redrive.CANCELLED,
        summary="Take back an effect that is not under way",
        reply=PropagationWhole,
        errors=(NotFound, Conflict),
    ),
)
