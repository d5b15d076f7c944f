"""Takes secrets and control characters out of text. Redact, then truncate: a truncated secret is still a secret."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "[redacted]"

#: Keys whose value is a secret wherever it stands, whatever it looks like.
_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:authorization|cookie|password|passwd|secret|token|ticket|api[_-]?key|private[_-]?key|credentials?)$",
    re.IGNORECASE,
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Ours: `hft_` bearer tokens and `hfk_` tickets.
    (re.compile(r"\bhf[a-z]_[A-Za-z0-9_-]{16,}"), HIDDEN),
    # What signs outgoing webhooks.
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]{8,}"), HIDDEN),
    # GitHub, Brevo and other tokens that carry a prefix.
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|xkeysib-|xsmtpsib-|sk-|xox[abprs]-|glpat-)[A-Za-z0-9_-]{10,}"), HIDDEN),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"), HIDDEN),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), r"\1 " + HIDDEN),
    # user:password@ in an address.
    (re.compile(r"(?<=://)([^\s/:@]*):[^\s/@]+(?=@)"), r"\1:" + HIDDEN),
    # key=value and "key": "value".
    (
        re.compile(
            r"((?:password|passwd|secret|token|ticket|api[_-]?key|access[_-]?key|private[_-]?key)[\"']?\s*[=:]\s*)"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)",
            re.IGNORECASE,
        ),
        r"\1" + HIDDEN,
    ),
)
# C0 and C1 controls, DEL, and the marks that turn the direction of text or hide in it.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def redact(text: str, *, limit: int | None = None) -> str:
    """The text without its secrets, then cut to `limit` characters."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    if limit is not None and len(text) > limit:
        return text[: max(0, limit - 1)] + "…"
    return text


def redact_url(url: str) -> str:
    """An address without its password."""
    return redact(url)


def plain(text: str) -> str:
    """Text from the outside world without characters that drive a terminal; tab and line feed stay."""
    return _CONTROL.sub("", text)


def redact_value(key: str, value: Any) -> Any:
    """A value of a log line without its secrets: by its key, by its looks, and inside lists and dicts."""
    if _SECRET_KEY.search(key) and value is not None:
        return HIDDEN
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {inner: redact_value(str(inner), item) for inner, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_value("", item) for item in value]
    if isinstance(value, (bytes, BaseException)):
        return redact(repr(value))
    return value
