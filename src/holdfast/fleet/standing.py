"""Looks for processes that stand in a folder: they may be anybody's, so they are told of and never ended for it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
#: How many are named in a sentence.
_NAMED = 5


def standing(folder: Path) -> list[tuple[int, str]]:
    """Who of this user works in a folder or below it: pids and names. Blocks."""
    top, found = os.path.realpath(folder), []
    for name in os.listdir(_PROC):  # noqa: PTH208 - names alone, as in `processes.py`
        if name.isdigit():
            with suppress(OSError):
                stands = os.readlink(_PROC / name / "cwd")  # noqa: PTH115 - text is all that is compared
                if (stands == top or stands.startswith(top + "/")) and (_PROC / name).stat().st_uid == os.geteuid():
                    found.append((int(name), (_PROC / name / "comm").read_text("utf-8", "replace").strip()))
    return sorted(found)


def words(found: list[tuple[int, str]]) -> str:
    """They in a line."""
    named = ", ".join(f"{pid} ({name})" for pid, name in found[:_NAMED])
    return f"{named} and {len(found) - _NAMED} more" if len(found) > _NAMED else named
