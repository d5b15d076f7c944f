"""Takes back what a landing that was cut off has written into a worktree, and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.fleet.forges.local.worktrees import Holder
from holdfast.fleet.workspaces.git import TREE_SECONDS, Git

_LINK, _MODULE = "120000", "160000"


@dataclass(frozen=True, slots=True)
class Change:
    """One path that two commits have differently."""

    name: str
    #: What kind of thing it is in the one and in the other; all zeros where it is not there.
    before: str
    after: str

    @property
    def is_new(self) -> bool:
        """Whether only the later one has it."""
        return not self.before.strip("0")

    @property
    def is_module(self) -> bool:
        """Whether a submodule is involved."""
        return _MODULE in {self.before, self.after}

    @property
    def is_gone(self) -> bool:
        """Whether only the earlier one has it."""
        return not self.after.strip("0")


def changes(held: Holder, before: str, after: str) -> list[Change]:
    """What lies between two commits."""
    words = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", before, after)
    parts = Git(held.path, held.git_dir).run(*words).split(b"\0")
    found = []
    for told, name in zip(parts[::2], parts[1::2], strict=False):
        old, new, *_ = told.decode("ascii").lstrip(":").split(" ")
        found.append(Change(os.fsdecode(name), old, new))
    return found


def _beyond(top: Path, path: Path) -> bool:
    """Whether a path leads through a link: what stands behind that is not the path's own."""
    return any(each.is_symlink() for each in path.parents if each != top and top in each.parents)


def restore(held: Holder, found: Sequence[Change], after: str, index: Path) -> bool:
    """Bring the paths that the landing has written back to what the index says; whether there were any."""
    git = Git(held.path, held.git_dir, index, TREE_SECONDS)
    back: list[bytes] = []
    touched = False
    elsewhere = _left_out(git)
    for each in found:
        path = held.path / each.name
        if each.is_module or each.name in elsewhere:  # git touches no file of it
            continue
        if each.is_new:
            if os.path.lexists(path) and not _beyond(held.path, path) and _is_written(git, path, each, after):
                path.unlink()
                _prune(path.parent, held.path)
                touched = True
        elif not os.path.lexists(path) or (not each.is_gone and _is_written(git, path, each, after)):
            back.append(os.fsencode(each.name))
    if back:
        git.run("checkout-index", "--force", "--index", "-z", "--stdin", stdin=b"\0".join(back) + b"\0")
    return touched or bool(back)


def _left_out(git: Git) -> set[str]:
    """The paths that the index has and the worktree is to be without, as in a sparse checkout."""
    parts = (os.fsdecode(part) for part in git.run("ls-files", "-t", "-z").split(b"\0"))
    return {part[2:] for part in parts if part.startswith("S ")}


def _is_written(git: Git, path: Path, change: Change, after: str) -> bool:
    """Whether what stands there is what the later commit has, or as much of it as had been written."""
    mode = os.lstat(path).st_mode
    rev = os.fsencode(f"{after}:{change.name}")
    if change.after == _LINK:
        return stat.S_ISLNK(mode) and os.fsencode(path.readlink()) == git.run("cat-file", "blob", rev)
    if not stat.S_ISREG(mode):
        return False
    there = path.read_bytes()
    written = git.run("cat-file", "--filters", rev)
    if there == written:
        return True
    return len(there) < len(written) and written.startswith(there)


def _prune(folder: Path, top: Path) -> None:
    """Take away folders that were made for what is gone."""
    with suppress(OSError):  # something else is in it
        while folder != top:
            folder.rmdir()
            folder = folder.parent
