"""What people set for agents, as words of a command line: `KEY=VALUE`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from holdfast.cli.failures import UsageError


def options(given: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` words: the value as JSON where it is some, else as the text that it is."""
    found: dict[str, Any] = {}
    for word in given:
        name, sign, value = word.partition("=")
        if not sign or not name:
            message = f"{word!r} is no option for an agent. Write KEY=VALUE, such as model=small."
            raise UsageError(message)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
