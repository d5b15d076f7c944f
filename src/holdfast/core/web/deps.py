"""What the web layer is given: the composition root fills it in, handlers read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from holdfast.core.access.signins import SignIns
from holdfast.core.access.tickets import Tickets
from holdfast.core.idempotency import Keeper
from holdfast.core.propagation.kinds import Registry

if TYPE_CHECKING:
    from holdfast.core.access.tokens import Tokens
    from holdfast.core.changes.feed import Feed
    from holdfast.core.changes.hub import Hub
    from holdfast.core.clock import Clock
    from holdfast.core.health.readiness import Readiness
    from holdfast.core.pack import Means
    from holdfast.core.propagation.runner import Runner
    from holdfast.core.store.port import Store


class AccessOptions(Protocol):
    """The settings of access; `holdfast.settings.AccessSettings` is one."""

    @property
    def hosts(self) -> Sequence[str]:
        """Further names that are ours in a Host header."""
        ...

    @property
    def origins(self) -> Sequence[str]:
        """Further origins that may call."""
        ...

    @property
    def ticket_seconds(self) -> float:
        """How long a ticket is good."""
        ...

    @property
    def body_bytes(self) -> int:
        """The largest body taken."""
        ...


class WebSettings(Protocol):
    """The settings that the web layer reads; `holdfast.settings.Settings` is one."""

    @property
    def access(self) -> AccessOptions:
        """Who may ask, from where."""
        ...

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on."""
        ...

    @property
    def data(self) -> Path:
        """The data folder."""
        ...

    @property
    def host(self) -> str:
        """The name of this host."""
        ...


@dataclass(frozen=True)
class Propagating:
    """What this process knows of propagations: the kinds that there are, and its runner if it does them."""

    registry: Registry = field(default_factory=lambda: Registry(()))
    runner: Runner | None = None


@dataclass
class Deps:
    """What handlers may use."""

    means: Means
    feed: Feed
    hub: Hub
    tokens: Tokens
    readiness: Readiness
    started_at: str = ""
    propagations: Propagating = field(default_factory=Propagating)
    tickets: Tickets = field(init=False)
    sign_ins: SignIns = field(init=False)
    keeper: Keeper = field(init=False)
    #: The encoded OpenAPI document, made when the application is built.
    document: bytes = field(init=False, default=b"{}")

    def __post_init__(self) -> None:
        """Make what belongs to the web layer alone."""
        self.started_at = self.started_at or self.clock.stamp()
        self.tickets = Tickets(self.tokens, self.clock, self.settings.access.ticket_seconds)
        self.sign_ins = SignIns(self.tokens, self.clock, self.store.uuid)
        self.keeper = Keeper(self.clock)

    @property
    def store(self) -> Store:
        """The store."""
        return self.means.store

    @property
    def clock(self) -> Clock:
        """The clock."""
        return self.means.clock

    @property
    def settings(self) -> WebSettings:
        """The settings, as far as the web layer reads them."""
        settings: WebSettings = self.means.settings
        return settings
