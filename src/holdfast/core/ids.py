"""Owns randomness: ids that sort by the time they were made, and secrets."""

from __future__ import annotations

import secrets
import time
import uuid

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u, so that ids survive being read aloud


def _base32(number: int, length: int) -> str:
    out = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        out.append(_ALPHABET[digit])
    return "".join(reversed(out))


def new_id(prefix: str) -> str:
    """`<prefix>_<time><random>`: unique, and ids made later sort later to the millisecond."""
    return f"{prefix}_{_base32(time.time_ns() // 1_000_000, 9)}{_base32(secrets.randbits(60), 12)}"


def new_store_uuid() -> str:
    """The name of a store: random, short enough to lead every event id."""
    return secrets.token_hex(8)


def new_secret(prefix: str) -> str:
    """A bearer secret of 256 bits; the prefix lets scanners and the log redaction know it for one."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def fraction() -> float:
    """A number from 0 up to 1, to spread out things that would otherwise happen at the same moment."""
    return secrets.randbits(53) / (1 << 53)


def new_uuid() -> str:
    """A random UUID, for those outside who want one."""
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
