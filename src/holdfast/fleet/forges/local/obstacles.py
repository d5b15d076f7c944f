"""What of a worktree a landing would write over although git does not track it, ignored or not."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.fleet.forges.local.restoring import Change


def in_the_way(top: Path, found: Sequence[Change]) -> list[str]:
    """What stands, and is not git's, where the later commit has something; and submodules that change their kind."""
    gone = {each.name for each in found if each.is_gone and not each.is_module}
    modules = {each.name for each in found if each.is_module and not each.is_new}
    there: dict[str, None] = {}
    seen: dict[str, str | None] = {}
    for each in found:
        if each.is_gone:
            continue
        if each.is_module and each.before != each.after and not each.is_new:
            there[each.name] = None
            continue
        above = _above(top, each.name, gone, modules, seen)
        if above:
            there[above] = None
        elif above is None and each.is_new:
            there |= dict.fromkeys(_at(top, each, gone))
    return list(there)


def _above(top: Path, name: str, gone: set[str], modules: set[str], seen: dict[str, str | None]) -> str | None:
    """What is in the way above a path; none where folders lead to it, nothing (an empty text) where they end."""
    end = name.find("/")
    while end >= 0:
        folder = name[:end]
        if folder not in seen:
            seen[folder] = _leads_on(top / folder, folder, gone, modules)
        if seen[folder] is not None:
            return seen[folder]
        end = name.find("/", end + 1)
    return None


def _leads_on(path: Path, folder: str, gone: set[str], modules: set[str]) -> str | None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    if stat.S_ISDIR(mode):
        return folder if folder in modules and any(path.iterdir()) else None
    return "" if folder in gone else folder  # a file of git's own, which makes room for the folder


def _at(top: Path, change: Change, gone: set[str]) -> Iterator[str]:
    """What stands at the place of something new, and is not git's, or stays."""
    path = top / change.name
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        yield change.name
        return
    for folder, folders, files in os.walk(path, onerror=_unreadable):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118
        for name in (*files, *links):
            inside = os.fspath((Path(folder) / name).relative_to(top))
            if inside not in gone:
                yield inside


def _unreadable(error: OSError) -> None:
    raise error
