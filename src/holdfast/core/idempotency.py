"""Idempotency keys: a write repeated under its key is answered as the first time, not done again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.core.errors import Invalid, Malformed
from holdfast.core.instants import seconds, stamp
from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.store.port import Unit

SQL = load("holdfast.core", "idempotency.sql")
#: How long an answer is kept.
KEPT_SECONDS = 86_400
#: Old answers are cleared away at every so-manieth write that has a key, this many at a time.
_EVERY = 128
_CHUNK = 500
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class Key:
    """A key as one request brought it."""

    key: str
    token_id: str
    request_hash: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that was given the first time."""

    status: int
    body: str


def key_of(text: str, token_id: str, method: str, target: str, body: bytes) -> Key:
    """The key of a request; the same key with another request is a mistake of the caller that must be told."""
    if not _KEY.fullmatch(text):
        message = "Idempotency-Key must be 1 to 200 visible ASCII characters, such as a random UUID."
        raise Malformed(message)
    digest = hashlib.sha256(b"\0".join((method.encode(), target.encode("utf-8", "surrogateescape"), body)))
    return Key(text, token_id, digest.hexdigest())


class Keeper:
    """Keeps answers in the same unit of work as what they answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = 0

    def due(self) -> bool:
        """Whether the unit at hand clears old answers away too; asked once for a request, outside its unit."""
        self._count += 1
        return self._count % _EVERY == 0

    def claim(self, unit: Unit, key: Key) -> Kept | None:
        """The kept answer, or None: then the key is ours in this unit, and whoever comes with it too waits for us."""
        if unit.run(SQL.claim, key=key.key, token_id=key.token_id, request_hash=key.request_hash, at=unit.at):
            return None
        kept = unit.one(SQL.kept, token_id=key.token_id, key=key.key)
        if kept is None or kept["request_hash"] != key.request_hash:
            message = f"Idempotency-Key {key.key!r} was used for another request. Use a new key for a new request."
            raise Invalid(message)
        return Kept(kept["status"], kept["body"])

    def keep(self, unit: Unit, key: Key, kept: Kept) -> None:
        """Keep the answer under the claimed key."""
        unit.run(SQL.keep, token_id=key.token_id, key=key.key, status=kept.status, body=kept.body)

    def forget_old(self, unit: Unit) -> None:
        """Clear away some of what is past its time."""
        before = stamp(self._clock.now() - seconds(KEPT_SECONDS))
        unit.run(SQL.forget, before=before, limit=_CHUNK)
