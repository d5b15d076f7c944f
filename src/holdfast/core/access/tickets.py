"""Single-use tickets: what a browser puts into the address of a stream or socket instead of a token."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.core.errors import StoreBusy
from holdfast.core.ids import new_secret

if TYPE_CHECKING:
    from holdfast.core.access.tokens import Identity, Tokens
    from holdfast.core.clock import Clock

#: Tickets that may be open at once; they live for seconds.
MOST = 10_000
_PREFIX = "hfk"


@dataclass(frozen=True, slots=True)
class _Issued:
    digest: bytes
    identity: Identity
    until: float


class Tickets:
    """Open tickets, in memory: a restart ends them, which costs a browser one more request."""

    def __init__(self, tokens: Tokens, clock: Clock, seconds: float) -> None:
        self._tokens = tokens
        self._clock = clock
        self._seconds = seconds
        self._open: dict[bytes, _Issued] = {}  # oldest first, all of the same span

    @property
    def seconds(self) -> float:
        """How long a ticket is good."""
        return self._seconds

    def issue(self, identity: Identity) -> str:
        """A ticket that stands for this token, once."""
        self._forget()
        if len(self._open) >= MOST:
            message = f"{MOST} tickets are open already. Use those, or try again in {self._seconds:g} s."
            raise StoreBusy(message)
        ticket = new_secret(_PREFIX)
        digest = _digest(ticket)
        self._open[digest] = _Issued(digest, identity, self._clock.monotonic() + self._seconds)
        return ticket

    def redeem(self, ticket: str) -> Identity | None:
        """Whom the ticket stands for; it is spent, whatever comes of it."""
        digest = _digest(ticket)
        issued = self._open.pop(digest, None)
        if issued is None or not hmac.compare_digest(issued.digest, digest):
            return None
        if issued.until <= self._clock.monotonic() or not self._tokens.holds(issued.identity):
            return None
        return issued.identity

    def _forget(self) -> None:
        now = self._clock.monotonic()
        while self._open:
            oldest = next(iter(self._open.values()))
            if oldest.until > now:
                return
            del self._open[oldest.digest]


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode("utf-8", "surrogateescape")).digest()
