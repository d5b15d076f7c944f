"""Makes sessions: what is asked for, what was found out about it beforehand, and the row that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from holdfast.core.errors import Conflict
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.sessions.admission import Caps, admit
from holdfast.fleet.sessions.door import TOPIC
from holdfast.fleet.sessions.rows import SQL

if TYPE_CHECKING:
    from holdfast.core.store.port import Row, Unit

#: Branches of ours begin so; nothing else in the person's repository does.
BRANCHES = "holdfast/"
_LONGEST_TITLE = 80

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A session that is asked for."""

    project: str
    agent: str | None = None
    prompt: str | None = None
    title: str | None = None
    kind: Literal["worker", "orchestrator"] = "worker"
    #: The branch to make; named after the session without it.
    branch: str | None = None
    #: Where the branch begins; what the project says, or its checkout is at, without it.
    base: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The same, after everything about it was checked outside of any unit of work."""

    order: Order
    repository: str
    agent: str
    speaks: Literal["hooks", "output"]
    options: Mapping[str, Any]
    runtime: str
    host: str
    base: str
    base_commit: str


def create(unit: Unit, prepared: Prepared, caps: Caps) -> Row:
    """Add the session to the queue, with its prompt, and let it start if there is room."""
    order = prepared.order
    if unit.one(SQL.project, id=order.project) is None:
        message = f"Project {order.project!r} was removed meanwhile. Add it again with `holdfast project add`."
        raise Conflict(message)
    numbered = unit.one(SQL.next_number, project=order.project)
    assert numbered is not None
    session = f"{order.project}-{numbered['last']}"
    unit.run(
        SQL.add,
        id=session,
        project=order.project,
        number=numbered["last"],
        kind=order.kind,
        title=order.title or _title(order.prompt) or session,
        agent=prepared.agent,
        speaks=prepared.speaks,
        options=_encode(prepared.options).decode(),
        runtime=prepared.runtime,
        host=prepared.host,
        repository=prepared.repository,
        branch=order.branch or BRANCHES + session,
        base=prepared.base,
        base_commit=prepared.base_commit,
        at=unit.at,
    )
    if order.prompt is not None:
        messages.add(unit, session, order.project, kind="prompt", text=order.prompt, by=unit.act.actor)
    admit(unit, caps)
    unit.announce(TOPIC)
    row = unit.one(SQL.by_id, id=session)
    assert row is not None
    return row


def _title(prompt: str | None) -> str:
    """The first line of the prompt that says anything."""
    lines = (line.strip() for line in (prompt or "").splitlines())
    first = next((line for line in lines if line), "")
    shown = "".join(letter for letter in first if letter.isprintable())
    return shown if len(shown) <= _LONGEST_TITLE else shown[: _LONGEST_TITLE - 1] + "…"
