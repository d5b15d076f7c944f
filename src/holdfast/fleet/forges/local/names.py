"""What the checks of a project are called: by their commands, each of them once. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.core.redact import plain, redact

_LONGEST = 190


def named(commands: Iterable[str]) -> dict[str, str]:
    """Each command by the name of its check, in their order."""
    found: dict[str, str] = {}
    for command in commands:
        name = short = redact(plain(" ".join(command.split())))[:_LONGEST] or "check"
        number = 1
        while name in found:
            number += 1
            name = f"{short} ({number})"
        found[name] = command
    return found
