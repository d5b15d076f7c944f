"""A pack: everything a domain registers with the core. Adding one edits no core file, only `app.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.core.changes.declare import Watched
    from holdfast.core.web.routes import Route


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
