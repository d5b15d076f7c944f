"""Who has a branch checked out: the worktrees of a repository, and what is under way in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.fleet.forges.local.refs import HEADS, resolved
from holdfast.fleet.workspaces.git import Git

#: Files and folders that tell of something begun in a worktree and not finished.
_UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "sequencer": "a cherry-pick or revert",
}
_SHOWN = 3
#: How many words come before the path in a line of `git status`, by its kind.
_FIELDS = {"1": 8, "u": 10}


@dataclass(frozen=True, slots=True)
class Holder:
    """A worktree that has the branch checked out."""

    path: Path
    git_dir: Path


def holders(repo: Path, branch: str) -> list[Path]:
    """The worktrees that have this branch checked out; also those whose folder is not there."""
    found, path = [], Path()
    for part in Git(repo).run("worktree", "list", "--porcelain", "-z").split(b"\0"):
        name, _, value = os.fsdecode(part).partition(" ")
        if name == "worktree":
            path = Path(value)
        elif name == "branch" and value == HEADS + branch:
            found.append(path)
    return found


def rebased(repo: Path, common: Path, branch: str) -> Path | None:
    """The folder of a worktree in which this branch is being rebased, and which will set it when that is over."""
    folders = [common]
    if (common / "worktrees").is_dir():
        folders += sorted((common / "worktrees").iterdir())
    for folder in folders:
        for kind in ("rebase-merge", "rebase-apply"):
            if branch in {resolved(repo, name) for name in _rebased_in(folder / kind)}:
                return folder
    return None


def _rebased_in(folder: Path) -> set[str]:
    """The branches that a rebase sets at its end: the one it is of, and those that lie in between."""
    names = set()
    for file in ("head-name", "update-refs"):
        if (folder / file).is_file():
            lines = os.fsdecode((folder / file).read_bytes()).splitlines()
            names |= {line.removeprefix(HEADS) for line in lines if line.startswith(HEADS)}
    return names


def is_kept(common: Path, path: Path) -> bool:
    """Whether a worktree is locked, so that git keeps what it knows of it although it is not there."""
    for tie in (common / "worktrees").glob("*/gitdir"):
        if Path(os.fsdecode(tie.read_bytes()).strip("\n")).parent == path:
            return (tie.parent / "locked").exists()
    return False


def holder(path: Path) -> Holder:
    """What is to be known of a worktree that stands."""
    git_dir = Git(path).run("rev-parse", "--absolute-git-dir")
    return Holder(path, Path(os.fsdecode(git_dir).removesuffix("\n")))


def busy(held: Holder) -> str | None:
    """What is under way in a worktree, in words."""
    return next((what for name, what in _UNDER_WAY.items() if (held.git_dir / name).exists()), None)


def changed(held: Holder) -> list[str]:
    """Tracked files of a worktree that are not as its commit has them, staged or not; a few of them."""
    words = ("status", "--porcelain=v2", "-z", "--untracked-files=no", "--no-renames")
    parts = (os.fsdecode(part) for part in Git(held.path, held.git_dir).run(*words).split(b"\0") if part)
    return [_path(part) for part in parts if not _is_module_elsewhere(part)]


def _path(part: str) -> str:
    return part.split(" ", _FIELDS[part[0]])[-1]


def _is_module_elsewhere(part: str) -> bool:
    """Whether it tells of a submodule whose own checkout differs: no merge touches that, as with git's own."""
    kind, how, module, *_ = part.split(" ")
    return kind == "1" and how == ".M" and module.startswith("S")


def few(names: list[str]) -> str:
    """Some names, and how many more there are."""
    shown = ", ".join(repr(name)[1:-1] for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def common_of(git_dir: Path) -> Path:
    """Git's folder of the whole repository, from that of one of its worktrees."""
    shared = git_dir / "commondir"
    return (git_dir / os.fsdecode(shared.read_bytes()).strip("\n")).resolve() if shared.is_file() else git_dir


def word(path: Path) -> str:
    """A path as a shell takes it for one word."""
    return "'" + str(path).replace("'", "'\\''") + "'"
