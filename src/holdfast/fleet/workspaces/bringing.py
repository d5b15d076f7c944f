"""Brings files that git does not have from the person's checkout into a workspace: copied, or as links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from holdfast.core.errors import Invalid


def bring(repo: Path, workspace: Path, copy: tuple[str, ...], link: tuple[str, ...]) -> tuple[str, ...]:
    """Bring what the patterns name; what git put there already stays as git put it."""
    brought: list[str] = []
    for patterns, put in ((copy, _copy), (link, _link)):
        for pattern in patterns:
            for name in _named(repo, pattern):
                target = workspace / name
                if os.path.lexists(target) or not _inside(target.parent, workspace):
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                put(repo / name, target)
                brought.append(str(name))
    return tuple(brought)


def _named(repo: Path, pattern: str) -> Iterator[PurePosixPath]:
    parts = PurePosixPath(pattern).parts
    if not parts or pattern.startswith("/") or ".." in parts or "\0" in pattern:
        message = f"{pattern[:200]!r} names nothing in a repository. Write the path from its top, without '..'."
        raise Invalid(message, field="copy")
    try:
        matches = sorted(repo.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        message = f"{pattern[:200]!r} is no pattern of files: {error}. Write `**` only between slashes."
        raise Invalid(message, field="copy") from None
    for found in matches:
        name = PurePosixPath(found.relative_to(repo))
        if ".git" not in name.parts and name.parts:
            yield name


def _inside(folder: Path, workspace: Path) -> bool:
    """Whether a folder, made or still to be made, lies in the workspace once the links on the way are followed."""
    there = folder.resolve()
    return there == workspace or workspace in there.parents


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(source.resolve())  # a relative one would point elsewhere from here
    elif source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.is_file():
        shutil.copy2(source, target)


def _link(source: Path, target: Path) -> None:
    target.symlink_to(source)
