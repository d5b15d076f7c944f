"""Shows what a session has done in its workspace against where it began: committed, uncommitted and untracked."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import Conflict
from holdfast.fleet.workspaces.git import Git
from holdfast.fleet.workspaces.place import disk
from holdfast.fleet.workspaces.survey import ATTRIBUTES, IGNORE_RULES, UnsureError, refuse_waiting

_SECONDS = 60.0
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Diff:
    """A patch, or as much of its beginning as was asked for."""

    text: bytes
    cut: bool


def diff(path: Path, base_commit: str, limit_bytes: int) -> Diff:
    """The patch from the base to the files as they are now, at most this long. Changes nothing, not even the index."""
    if not path.is_dir():
        message = f"The workspace {str(path)!r} is gone. Its work may be kept: see `holdfast kept ls`."
        raise Conflict(message, path=str(path))
    with tempfile.TemporaryDirectory(prefix="holdfast-") as scratch, disk(str(path)):
        _sure_of_an_answer(path)
        index = Path(scratch) / "index"
        git_dir = Path(os.fsdecode(Git(path).run("rev-parse", "--absolute-git-dir")).removesuffix("\n"))
        if (git_dir / "index").exists():
            shutil.copyfile(git_dir / "index", index)
        git = Git(path, git_dir, index, _SECONDS)
        others = git.run("ls-files", "--others", "--exclude-standard", "-z").split(b"\0")
        # A slash at the end: a repository of its own, in which another one cannot look.
        names = b"\0".join(name for name in others if name and not name.endswith(b"/"))
        if names:
            git.run("add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul", stdin=names)
        return _read(git, base_commit, limit_bytes)


def _sure_of_an_answer(path: Path) -> None:
    try:
        refuse_waiting(path, IGNORE_RULES, ATTRIBUTES)
    except UnsureError as error:
        message = f"There is no diff of {str(path)!r}: {error}. Remove that, then try again."
        raise Conflict(message, path=str(path)) from None


def _read(git: Git, base: str, limit: int) -> Diff:
    words = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--submodule=short", base, "--")
    text = bytearray()
    with git.hear(*words) as pipe:
        while len(text) <= limit and (chunk := pipe.read(_CHUNK)):
            text += chunk
    return Diff(bytes(text[:limit]), len(text) > limit)
