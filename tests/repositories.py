"""Real git repositories for tests: made, filled and looked at by means of their own, not by those under test."""

# ruff: noqa: PTH115, PTH118 - names in a tree are bytes, which pathlib does not take
from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

from holdfast.fleet.workspaces.place import Order

STORE = "0123456789abcdef"
_ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A. Person",
    "GIT_AUTHOR_EMAIL": "person@example.org",
    "GIT_COMMITTER_NAME": "A. Person",
    "GIT_COMMITTER_EMAIL": "person@example.org",
    "GIT_AUTHOR_DATE": "2026-11-21T08:00:00Z",
    "GIT_COMMITTER_DATE": "2026-11-21T08:00:00Z",
    "GIT_ALLOW_PROTOCOL": "file",
    "LC_ALL": "C",
}


def git(folder: Path, *words: str | bytes | Path, stdin: bytes = b"", check: bool = True, **env: str) -> str:
    """Run git as a person or an agent would."""
    done = subprocess.run(
        ["git", "-C", folder, *words],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **_ENV, **env},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )
    if check and done.returncode:
        raise AssertionError(f"git {words}: {done.stderr.decode(errors='replace')}")
    return os.fsdecode(done.stdout).removesuffix("\n")


def repository(path: Path, *, attributes: str = "") -> Path:
    """A repository with a few files on the branch `main`."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    (path / "readme.md").write_text("one\ntwo\nthree\n")
    (path / "src").mkdir()
    (path / "src" / "app.py").write_text("print('hello')\n")
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "link").symlink_to("src/app.py")
    (path / ".gitignore").write_text("*.log\nbuild/\n.env\n")
    if attributes:
        (path / ".gitattributes").write_text(attributes)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "first")
    return path


def ordered(repo: Path, data: Path, number: int = 1, **more: Any) -> Order:
    """What a session of this repository would order."""
    session = f"web-{number}"
    fields: dict[str, Any] = {
        "repo": repo,
        "store": STORE,
        "session": session,
        "branch": f"holdfast/{session}",
        "commit": git(repo, "rev-parse", "HEAD"),
        "path": data / "workspaces" / "web" / session,
    }
    return Order(**(fields | more))


Tree = dict[bytes, tuple[str, int, bytes]]


def tree_of(top: Path, *, leave: tuple[bytes, ...] = (b".git",)) -> Tree:
    """Kind, mode and bytes of all that is below a folder; sockets left out."""
    found: Tree = {}
    root = os.fsencode(top)
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root)
            if relative in leave:
                continue
            seen = os.lstat(path)
            mode = stat.S_IMODE(seen.st_mode)
            if stat.S_ISLNK(seen.st_mode):
                found[relative] = ("link", 0, os.readlink(path))
            elif stat.S_ISDIR(seen.st_mode):
                found[relative] = ("folder", mode, b"")
            elif stat.S_ISFIFO(seen.st_mode):
                found[relative] = ("fifo", mode, b"")
            elif stat.S_ISREG(seen.st_mode):
                found[relative] = ("file", mode, Path(os.fsdecode(path)).read_bytes())
        folders[:] = [name for name in folders if os.path.relpath(os.path.join(folder, name), root) not in leave]
    return found


def own_of(repo: Path) -> Tree:
    """All of a person's checkout and of its `.git`, but objects, our refs, and their logs."""
    tree = tree_of(repo, leave=(b".git/objects", b".git/refs/holdfast", b".git/refs/heads/holdfast"))
    return {path: what for path, what in tree.items() if not path.startswith((b".git/logs/refs/heads/holdfast",))}


def state_of(path: Path) -> dict[str, object]:
    """What git knows of a worktree: HEAD, the index in all its bytes, and what is under way."""
    git_dir = Path(git(path, "rev-parse", "--absolute-git-dir"))
    index = git_dir / "index"
    return {
        "head": git(path, "rev-parse", "--verify", "-q", "HEAD", check=False),
        "branch": git(path, "symbolic-ref", "-q", "HEAD", check=False),
        "index": index.read_bytes() if index.exists() else None,
        "staged": git(path, "ls-files", "--stage", "-z"),
        "to commit": git(path, "diff", "--cached", "--binary"),
        "merging": (git_dir / "MERGE_HEAD").read_bytes() if (git_dir / "MERGE_HEAD").exists() else None,
        "rebasing": sorted(at.name for at in (git_dir / "rebase-merge").iterdir())
        if (git_dir / "rebase-merge").is_dir()
        else None,
        "log": (git_dir / "logs" / "HEAD").read_bytes() if (git_dir / "logs" / "HEAD").exists() else None,
    }
