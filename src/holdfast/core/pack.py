"""A pack: everything a domain registers with the core. Adding one edits no core file, only `app.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from holdfast.core.access.tokens import Tokens
    from holdfast.core.changes.declare import Watched
    from holdfast.core.clock import Clock
    from holdfast.core.lifecycle import Service
    from holdfast.core.propagation.backfill import Backfill
    from holdfast.core.propagation.deaths import Deathwatch
    from holdfast.core.propagation.kinds import Handler, Kind
    from holdfast.core.propagation.recurring import Recurring
    from holdfast.core.store.port import Store
    from holdfast.core.web.routes import Route

T = TypeVar("T")
_NOTICE = re.compile(r"[a-z]+(-[a-z]+)*")


@dataclass(frozen=True)
class Means:
    """What the handlers, services and routes of this process may use."""

    store: Store
    clock: Clock
    #: The whole tree of settings; a pack reads its own section of it.
    settings: Any
    packs: tuple[Pack, ...]
    #: Where this daemon is reached from this machine, and who may talk to it.
    url: str = ""
    tokens: Tokens | None = None
    _made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def one(self, make: Callable[[Means], T]) -> T:
        """What this makes of these means, made once: what a pack's handlers, services and routes share."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made


@dataclass(frozen=True)
class AuditKind:
    """A kind of act that people look for in `holdfast audit`."""

    name: str  # <thing>.<what was done>, such as project.added
    doc: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticeKind:
    """A kind of notice to people: when it is sent, how often, and how. The times are in seconds."""

    name: str  # such as agent-stuck
    doc: str
    #: `channels`: sent to every channel whose settings take it; `row`: never sent, only kept and shown.
    rule: Literal["channels", "row"]
    urgency: Literal["low", "normal", "high"] = "normal"
    #: Nothing is sent before it has lasted for so long; what is over by then is never sent.
    dwell: float = 0.0
    #: After one of a subject was sent, another one of it is only kept for so long.
    cool_down: float = 0.0
    #: Open and not acknowledged for so long, it is sent once more; never if none.
    escalate_after: float | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be kept."""
        if not _NOTICE.fullmatch(self.name) or not self.doc.strip():
            message = f"the notice kind {self.name!r} needs a name of words in lower case with hyphens, and a doc line"
            raise ValueError(message)
        if self.dwell < 0 or self.cool_down < 0 or (self.escalate_after is not None and self.escalate_after <= 0):
            message = f"the notice kind {self.name!r}: its times must be positive"
            raise ValueError(message)


@dataclass(frozen=True)
class Pack:
    """What one domain brings: its tables (a Python package with `.sql` files), their watched columns, routes, acts."""

    name: str
    #: The Python package that holds `schema.sqlite.sql`, `schema.postgres.sql` and `migrations/`.
    package: str
    watched: tuple[Watched, ...] = ()
    audit: tuple[AuditKind, ...] = ()
    routes: tuple[Route, ...] = ()
    #: The kinds of effects that it owes the world.
    kinds: tuple[Kind[Any], ...] = ()
    #: Makes the handlers of those kinds in a process that does them.
    handlers: Callable[[Means], Mapping[Kind[Any], Handler]] | None = None
    #: What runs beside them there, in the order of starting.
    services: Callable[[Means], Sequence[Service]] | None = None
    #: What is done again and again, once in every window of time.
    recurring: tuple[Recurring, ...] = ()
    #: What is brought up to date in the background, a chunk at a time, instead of by a long migration.
    backfills: tuple[Backfill, ...] = ()
    #: What it tells people of.
    notices: tuple[NoticeKind, ...] = ()
    #: What it does when a propagation, of whichever pack, dies or is dead no longer.
    deaths: tuple[Deathwatch, ...] = ()
