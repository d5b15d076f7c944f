"""Signed-in browsers: what a cookie stands for after a ticket was changed for it. In memory; a restart ends them."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.core.ids import new_secret

if TYPE_CHECKING:
    from holdfast.core.access.tokens import Identity, Tokens
    from holdfast.core.clock import Clock

#: How long a browser stays signed in.
SECONDS = 12 * 60 * 60
#: Browsers that are signed in at once; one more signs out the oldest.
MOST = 1_000
_PREFIX = "hfb"


@dataclass(frozen=True, slots=True)
class _SignIn:
    digest: bytes
    identity: Identity
    until: float


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whom a cookie stands for, and how many seconds more."""

    identity: Identity
    seconds: float


class SignIns:
    """Who is signed in. Each hangs on its token: when that is revoked, nobody is signed in by it any more."""

    def __init__(self, tokens: Tokens, clock: Clock, store: str) -> None:
        self._tokens = tokens
        self._clock = clock
        self._open: dict[bytes, _SignIn] = {}  # oldest first, all of the same span
        #: A browser sends what one port gave it to every port of the host: each store's has a name of its own.
        self.cookie = f"holdfast-{store}"

    def begin(self, identity: Identity) -> str:
        """Sign a browser in; what its cookie is to hold."""
        self._forget()
        while len(self._open) >= MOST:
            del self._open[next(iter(self._open))]
        secret = new_secret(_PREFIX)
        digest = _digest(secret)
        self._open[digest] = _SignIn(digest, identity, self._clock.monotonic() + SECONDS)
        return secret

    def find(self, secret: str) -> SignedIn | None:
        """Whom this cookie stands for, while its time is not over and its token lives."""
        digest = _digest(secret)
        found = self._open.get(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            return None
        left = found.until - self._clock.monotonic()
        if left <= 0 or not self._tokens.holds(found.identity):
            del self._open[digest]
            return None
        return SignedIn(found.identity, left)

    def _forget(self) -> None:
        now = self._clock.monotonic()
        for each in list(self._open.values()):
            if each.until > now and self._tokens.holds(each.identity):
                continue
            del self._open[each.digest]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
