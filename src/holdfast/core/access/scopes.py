"""The scopes that a token can have, and what each of them reaches."""

from __future__ import annotations

import re

from holdfast.core.errors import Invalid

ADMIN = "admin"
READ = "read"
SESSION = "session:"
#: As a JSON schema pattern, so that the API's own document says it too.
PATTERN = r"^(admin|read|session:[a-z0-9][a-z0-9_-]{0,63})$"
_SCOPE = re.compile(PATTERN)


def check(scope: str) -> str:
    """The scope, if it is one."""
    if not _SCOPE.fullmatch(scope):
        message = f"{scope[:80]!r} is not a scope. Use admin, read or session:<id>."
        raise Invalid(message, field="scope")
    return scope


def session_of(scope: str) -> str | None:
    """The session that a session-scoped token belongs to."""
    return scope[len(SESSION) :] if scope.startswith(SESSION) else None
