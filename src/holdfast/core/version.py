"""Which Holdfast this is: the version, and the commit where it can be known."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

from holdfast import __version__ as VERSION  # noqa: N812 - a constant under a constant's name

__all__ = ["VERSION", "commit_id"]

#: Written beside this module when a wheel is built; a checkout has none and is asked itself.
_BUILT = Path(__file__).with_name("commit.txt")


@cache
def commit_id() -> str | None:
    """The commit that this code comes from; None when nobody wrote it down."""
    with suppress(OSError):
        return _BUILT.read_text("ascii").strip() or None
    root = Path(__file__).parents[3]
    # Our own checkout only: installed into somebody's environment, the repository around it is not ours.
    if (root / "src" / "holdfast" / "core" / "version.py") != Path(__file__):
        return None
    with suppress(OSError):
        return _from_git(root / ".git")
    return None


def _from_git(git: Path) -> str | None:
    if git.is_file():  # a worktree: the file says where its part of the repository is
        git = Path(git.read_text("utf-8").removeprefix("gitdir:").strip())
    head = (git / "HEAD").read_text("ascii").strip()
    if not head.startswith("ref:"):
        return head
    ref = head.removeprefix("ref:").strip()
    common = git / "commondir"
    shared = (git / common.read_text("utf-8").strip()) if common.is_file() else git
    loose = shared / ref
    if loose.is_file():
        return loose.read_text("ascii").strip()
    for line in (shared / "packed-refs").read_text("ascii").splitlines():
        commit, _, name = line.partition(" ")
        if name == ref:
            return commit
    return None
