"""A pack: everything a domain registers with the core. Adding one edits no core file, only `app.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from holdfast.core.access.tokens import Tokens
    from holdfast.core.changes.declare import Watched
    from holdfast.core.clock import Clock
    from holdfast.core.lifecycle import Service
    from holdfast.core.propagation.backfill import Backfill
    from holdfast.core.propagation.kinds import Handler, Kind
    from holdfast.core.propagation.recurring import Recurring
    from holdfast.core.store.port import Store
    from holdfast.core.web.routes import Route

T = TypeVar("T")


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
