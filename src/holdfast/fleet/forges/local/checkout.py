"""Clean checkouts of one commit for checks: repositories of our own below the data folder, which borrow the objects."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from holdfast.core import faults
from holdfast.core.errors import Conflict
from holdfast.fleet.workspaces.bringing import bring
from holdfast.fleet.workspaces.git import TREE_SECONDS, Git
from holdfast.fleet.workspaces.place import common_dir, disk, erase

_MARKER = "holdfast.json"
_SHA256_DIGITS = 64

CLAIMED = faults.point("forge.checkout-claimed", "a folder for a check is ours, nothing is checked out in it")
CHECKED_OUT = faults.point("forge.checked-out", "a commit is checked out for its checks, none has begun")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit that is to lie on the disk, by itself."""

    repo: Path
    commit: str
    #: Whose it is, and where: a folder that holds the files, a place for what is temporary, and our mark.
    store: str
    pull: str
    home: Path
    copy: tuple[str, ...] = ()
    link: tuple[str, ...] = ()

    @property
    def tree(self) -> Path:
        """The files."""
        return self.home / "tree"

    @property
    def temporary(self) -> Path:
        """Where what runs in it puts what it does not need for long."""
        return self.home / "tmp"

    def make(self) -> Path:
        """Check the commit out, afresh; the folder of its files."""
        with disk(str(self.home)):
            self.clear()
            self.home.mkdir(parents=True, mode=0o700)
            (self.home / _MARKER).write_text(json.dumps(self._mark()), "ascii")
            CLAIMED()
            self.temporary.mkdir()
            self._check_out()
            bring(self.repo, self.tree, self.copy, self.link)
            CHECKED_OUT()
            return self.tree

    def clear(self) -> None:
        """Take it away, if it is there; a folder that is not ours is refused."""
        if not os.path.lexists(self.home):
            return
        if not self._is_ours():
            message = f"{str(self.home)!r} is there, and Holdfast did not make it. It was left alone. Move it away."
            raise Conflict(message, path=str(self.home))
        with disk(str(self.home)):
            erase(self.home)

    def _mark(self) -> dict[str, str]:
        return {"store": self.store, "pull": self.pull}

    def _is_ours(self) -> bool:
        if self.home.is_symlink() or not self.home.is_dir():
            return False
        try:
            found = json.loads((self.home / _MARKER).read_bytes())
        except (OSError, ValueError):
            # We died before the mark was written, or while all this was taken away.
            return {each.name for each in self.home.iterdir()} <= {_MARKER, "tree", "tmp"}
        return bool(found == self._mark())

    def _check_out(self) -> None:
        """A repository whose objects are the person's: whatever is done in it, none of their refs and files can change.

        A worktree would share branches, configuration and stashes with them, which a check could then move.
        """
        common = common_dir(self.repo)
        form = "sha256" if len(self.commit) == _SHA256_DIGITS else "sha1"
        Git(self.home).run("init", "--quiet", "--template=", f"--object-format={form}", str(self.tree))
        git_dir = self.tree / ".git"
        (git_dir / "objects" / "info").mkdir(exist_ok=True)
        (git_dir / "objects" / "info" / "alternates").write_bytes(_quoted(common / "objects") + b"\n")
        if (common / "shallow").is_file():
            shutil.copyfile(common / "shallow", git_dir / "shallow")
        git = Git(self.tree, git_dir, seconds=TREE_SECONDS)
        git.run("config", "lfs.storage", str(common / "lfs"))
        git.run("checkout", "--quiet", "--detach", "--force", self.commit)


def _quoted(path: Path) -> bytes:
    """A path as git reads it in a list of lines."""
    raw = os.fsencode(path)
    if raw.startswith(b'"') or b"\n" in raw:
        return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
    return raw
