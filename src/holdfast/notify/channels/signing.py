"""Signatures of Standard Webhooks: their secrets, as files and variables hold them, and the header they make. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

PREFIX = "whsec_"
#: While a secret is being replaced, the new one and the old one sign.
MOST = 2
_SHORTEST, _LONGEST = 24, 64  # bytes, by the standard


class SecretWrongError(ValueError):
    """What is no secret; the message holds nothing of it."""


def keys_of(text: str) -> list[bytes]:
    """The keys that a text holds: one secret, or the new and the old one, parted by white space."""
    words = text.split()
    if not 1 <= len(words) <= MOST:
        message = f"holds {len(words)} words, and should hold one secret, or the new and the old one"
        raise SecretWrongError(message)
    return [_key(word) for word in words]


def _key(word: str) -> bytes:
    if not word.startswith(PREFIX):
        message = f"holds a word that does not begin with {PREFIX}"
        raise SecretWrongError(message)
    try:
        key = base64.b64decode(word.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        message = f"holds a word that is not {PREFIX} and base64"
        raise SecretWrongError(message) from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        message = f"holds a secret of {len(key)} bytes, and one has {_SHORTEST} to {_LONGEST}"
        raise SecretWrongError(message)
    return key


def signature(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature a key."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
