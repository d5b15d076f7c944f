"""The port of channels: something that can be given a notice, and what can come of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

Urgency = Literal["low", "normal", "high"]


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """A notice as a channel is given it."""

    #: The same in every try of one send, and never that of another one.
    id: str
    stage: Literal["raised", "escalated", "test"]
    notice: int | None
    kind: str
    subject: str
    scope: str
    text: str
    urgency: Urgency
    #: Since when it is so.
    at: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The channel has it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It does not have it, and may take it later: after so many seconds if it said when. Without secrets."""

    why: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """It will never take anything any more. Without secrets."""

    why: str


Sent = Delivered | Failed | Gone


class Channel(Protocol):
    """One channel, as the settings describe it. It keeps nothing: what is sent stands in the store."""

    @property
    def name(self) -> str:
        """What the settings call it."""
        ...

    @property
    def where(self) -> str:
        """Where its notices go, for people: nothing that gives anybody access."""
        ...

    @property
    def mark(self) -> str:
        """A short word that is another one when notices go elsewhere, and gives nothing away."""
        ...

    async def unavailable(self) -> str | None:
        """Why it can be given nothing now, as far as that is known without trying; none when all is well."""
        ...

    async def send(self, telling: Telling, seconds: float) -> Sent:
        """Give it a notice, within so many seconds. It never raises what the outside world does."""
        ...
