"""What sessions leave in their worktrees: each scene makes one kind of it, with real git and real files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from repositories import git, repository

Scene = Callable[[Path], None]
SCENES: dict[str, Scene] = {}


def scene(work: Scene) -> Scene:
    SCENES[work.__name__] = work
    return work


@scene
def nothing(top: Path) -> None:
    assert (top / "readme.md").exists()


@scene
def edits(top: Path) -> None:
    (top / "readme.md").write_text("one\n2\nthree\n")
    (top / "src" / "new.py").write_text("new\n")
    (top / "empty").write_bytes(b"")


@scene
def staged_then_changed(top: Path) -> None:
    (top / "readme.md").write_text("staged, and nowhere else\n")
    (top / "added").write_text("only in the index\n")
    git(top, "add", "readme.md", "added")
    (top / "readme.md").write_text("changed after it\n")
    (top / "added").unlink()


@scene
def intent_to_add(top: Path) -> None:
    (top / "intended").write_text("not yet\n")
    git(top, "add", "-N", "intended")


@scene
def deleted(top: Path) -> None:
    (top / "readme.md").unlink()
    git(top, "rm", "-q", "run.sh")


@scene
def modes(top: Path) -> None:
    (top / "run.sh").chmod(0o644)
    (top / "readme.md").chmod(0o755)
    (top / "private").write_text("secret\n")
    (top / "private").chmod(0o600)
    (top / "odd").write_text("odd\n")
    (top / "odd").chmod(0o4711)
    (top / "closed").mkdir()
    (top / "closed" / "in").write_text("in\n")
    (top / "closed").chmod(0o500)


@scene
def links(top: Path) -> None:
    (top / "dangling").symlink_to("nowhere")
    (top / "away").symlink_to("/etc")
    (top / "folder").symlink_to("src")
    (top / "link").unlink()
    (top / "link").write_text("a file now\n")
    (top / "run.sh").unlink()
    (top / "run.sh").symlink_to("../../..")


@scene
def line_ends(top: Path) -> None:
    (top / "readme.md").write_bytes(b"one\r\ntwo\r\nmixed\n")
    (top / "dos.txt").write_bytes(b"a\r\nb\r\n")
    git(top, "add", "dos.txt")


@scene
def filtered(top: Path) -> None:
    git(top, "config", "filter.shout.clean", "tr a-z A-Z")
    git(top, "config", "filter.shout.smudge", "tr A-Z a-z")
    (top / ".gitattributes").write_text("*.txt filter=shout ident working-tree-encoding=UTF-16\n")
    (top / "quiet.txt").write_bytes(b"quiet \x00\xff $Id$\n")


@scene
def empty_folders(top: Path) -> None:
    (top / "a" / "b" / "c").mkdir(parents=True)
    (top / "a" / "b").chmod(0o711)


@scene
def strange_names(top: Path) -> None:
    root = os.fsencode(top)
    for name in (
        b"line\nfeed",
        b'quo"te',
        b"back\\slash",
        b"\xff\xfe",
        b" ",
        b"-rf",
        b"tab\t",
        "ü".encode(),
        b"*?[",
        b":",
    ):
        Path(os.fsdecode(root + b"/" + name)).write_bytes(name)
        folder = Path(os.fsdecode(root + b"/d" + name))
        folder.mkdir()
        (folder / "in").write_bytes(name)
    for name in (".GIT", "git~1", ".git ", ".gitmodules", ".git\u200c", ".gitx"):
        (top / name).write_text(name)
    (top / ("x" * 255)).write_text("long\n")


@scene
def fifo(top: Path) -> None:
    os.mkfifo(top / "pipe", 0o640)


@scene
def detached_with_commits(top: Path) -> None:
    git(top, "checkout", "-q", "--detach")
    (top / "readme.md").write_text("on no branch\n")
    git(top, "commit", "-q", "-a", "-m", "on no branch")


@scene
def commits_on_its_branch(top: Path) -> None:
    (top / "readme.md").write_text("committed\n")
    git(top, "commit", "-q", "-a", "-m", "second")


@scene
def commits_thrown_away(top: Path) -> None:
    commits_on_its_branch(top)
    git(top, "reset", "-q", "--hard", "HEAD~1")


@scene
def another_branch(top: Path) -> None:
    git(top, "checkout", "-q", "-b", "feature")
    commits_on_its_branch(top)


@scene
def no_commit_yet(top: Path) -> None:
    git(top, "checkout", "-q", "--orphan", "fresh")
    (top / "readme.md").write_text("from the start\n")


def _diverged(top: Path) -> None:
    git(top, "checkout", "-q", "-b", "other")
    (top / "readme.md").write_text("theirs\n")
    git(top, "commit", "-q", "-a", "-m", "theirs")
    git(top, "checkout", "-q", "holdfast/web-1")
    (top / "readme.md").write_text("ours\n")
    git(top, "commit", "-q", "-a", "-m", "ours")


@scene
def merging(top: Path) -> None:
    _diverged(top)
    git(top, "merge", "other", check=False)
    assert "U" in git(top, "status", "--short")


@scene
def merge_resolved_but_not_committed(top: Path) -> None:
    merging(top)
    (top / "readme.md").write_text("both\n")
    git(top, "add", "readme.md")


@scene
def rebasing(top: Path) -> None:
    _diverged(top)
    git(top, "rebase", "-q", "other", check=False)
    assert "rebase in progress" in git(top, "status")


@scene
def repository_inside(top: Path) -> None:
    inner = repository(top / "inner")
    (inner / "readme.md").write_text("stashed\n")
    git(inner, "stash")
    (inner / "readme.md").write_text("changed\n")
    git(inner, "gc", "-q")
    (inner / "made").mkdir()


@scene
def repository_without_commits_inside(top: Path) -> None:
    inner = top / "begun"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "first").write_text("first\n")
    git(inner, "add", "first")


@scene
def repository_inside_what_is_ignored(top: Path) -> None:
    repository(top / "build" / "deep" / "inner")


@scene
def bare_repository_inside(top: Path) -> None:
    git(top, "init", "-q", "--bare", "bare.git")


@scene
def submodule(top: Path) -> None:
    source = repository(top.parent / "library")
    git(top, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(source), "lib")
    (top / "lib" / "readme.md").write_text("changed in the submodule\n")
    git(top / "lib", "commit", "-q", "-a", "-m", "only here")
    (top / "lib" / "untracked").write_text("there\n")


@scene
def worktree_inside(top: Path) -> None:
    inner = top / "build" / "inner"
    git(top, "worktree", "add", "-q", "--detach", str(inner))
    (inner / "readme.md").write_text("on no branch\n")
    git(inner, "commit", "-q", "-a", "-m", "in the inner one")
    (inner / "staged").write_text("staged in the inner one\n")
    git(inner, "add", "staged")


@scene
def another_repository_in_its_place(top: Path) -> None:
    (top / ".git").unlink()
    git(top, "init", "-q")
    git(top, "add", "readme.md")
    git(top, "commit", "-q", "-m", "begun anew")


@scene
def big_file(top: Path) -> None:
    (top / "big").write_bytes(os.urandom(1 << 20) * 40)


@scene
def half_an_index(top: Path) -> None:
    git_dir = Path(git(top, "rev-parse", "--absolute-git-dir"))
    (top / "readme.md").write_text("an agent was killed while git wrote\n")
    (git_dir / "index.lock").write_bytes(b"DIRC")
