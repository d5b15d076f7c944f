"""Puts the files of a capture back into a worktree that git has just made, and compares every one with the capture."""

# ruff: noqa: PTH101, PTH102, PTH108, PTH112, PTH115, PTH117, PTH118, PTH119, PTH120, PTH123, PTH211 - names in a tree are bytes, which pathlib does not take
from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.fleet.workspaces.capture import content
from holdfast.fleet.workspaces.git import TREE_SECONDS, Git, Talk
from holdfast.fleet.workspaces.looking import leave_ties
from holdfast.fleet.workspaces.manifest import Area, Manifest
from holdfast.fleet.workspaces.survey import Entry, Hasher, UnsureError, chunks_of, told, whole

_ORDER = ("folder", "file", "fifo", "link")  # links last, so that nothing is ever written through one
_PRIVATE = 0o700


@dataclass(slots=True)
class Filling:
    """One capture on its way back."""

    manifest: Manifest
    tree: Path
    git_dir: Path
    common: Path
    written: dict[bytes, bytes] = field(default_factory=dict)  # what had to name the new place instead of the old

    @property
    def moved(self) -> bool:
        """Whether it comes back to another place than it was at."""
        was = self.manifest.area("tree").folder, self.manifest.area("git").folder
        return was != (str(self.tree), str(self.git_dir))


def put_down(filling: Filling) -> None:
    """Put all areas down and compare them. HEAD stays as git made it: whether its branch is free is not known here."""
    manifest = filling.manifest
    tree, git = manifest.area("tree"), manifest.area("git")
    entries = tuple(entry for entry in git.entries if entry.path != b"HEAD")
    hasher = Hasher(manifest.algorithm)
    with Git(filling.tree, filling.git_dir, seconds=TREE_SECONDS).talk("cat-file", "--batch") as talk:
        for left in whole(filling.git_dir, hasher, leave_ties).entries:
            if left.path != b"HEAD" and left.kind != "folder":
                os.unlink(os.path.join(os.fsencode(filling.git_dir), left.path))
        if any(entry.path == b".git" for entry in tree.entries):
            (filling.tree / ".git").unlink()  # the session had put a repository of its own there
        _fill(talk, filling.tree, tree.entries)
        _fill(talk, filling.git_dir, entries)
        for area in manifest.areas[2:]:
            _outside(talk, filling, area)
    if filling.moved:
        _point(filling, tree, git)
    for folder, listed in ((filling.tree, tree.entries), (filling.git_dir, entries)):
        _finish(folder, listed)
        _compare(folder, listed, hasher, filling.written)


def _fill(talk: Talk, folder: Path, entries: tuple[Entry, ...]) -> None:
    top = os.fsencode(folder)
    for entry in sorted(entries, key=lambda entry: (_ORDER.index(entry.kind), entry.path)):
        path = os.path.join(top, entry.path)
        match entry.kind:
            case "folder":
                if not os.path.isdir(path):
                    os.mkdir(path, _PRIVATE)
            case "file":
                _write(path, entry, content(talk, entry.oid))
            case "fifo":
                os.mkfifo(path, entry.mode)
                os.chmod(path, entry.mode)
            case "link":
                os.symlink(b"".join(content(talk, entry.oid)), path)


def _write(path: bytes, entry: Entry, chunks: Iterator[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fchmod(descriptor, entry.mode)
    os.utime(path, ns=(entry.mtime, entry.mtime))


def _finish(folder: Path, entries: tuple[Entry, ...]) -> None:
    """Modes and times of folders, the deepest first: one that forbids writing must be full before it does."""
    for entry in sorted(
        (entry for entry in entries if entry.kind == "folder"), key=lambda entry: entry.path, reverse=True
    ):
        path = os.path.join(os.fsencode(folder), entry.path)
        os.chmod(path, entry.mode)
        os.utime(path, ns=(entry.mtime, entry.mtime))


def _outside(talk: Talk, filling: Filling, area: Area) -> None:
    """Git's folder of a worktree nested in this one; git may have pruned it, and it may still be there."""
    folder = filling.common / "worktrees" / Path(area.folder).name
    if not folder.exists():
        folder.mkdir()
        _fill(talk, folder, area.entries)
        _finish(folder, area.entries)
        (folder / "commondir").write_bytes(b"../..\n")
    for path, target in _pointers(filling):
        tie = folder / "gitdir"
        if target == os.fsencode(area.folder) and not (tie.exists() and Path(os.fsdecode(tie.read_bytes())).exists()):
            tie.write_bytes(os.path.join(os.fsencode(filling.tree), path) + b"\n")


def _pointers(filling: Filling) -> Iterator[tuple[bytes, bytes]]:
    """Every `.git` file in the tree with the folder that it named where it was."""
    tree = filling.manifest.area("tree")
    for entry in tree.entries:
        if entry.kind == "file" and os.path.basename(entry.path) == b".git" and entry.path != b".git":
            target = _target(b"".join(chunks_of(os.path.join(os.fsencode(filling.tree), entry.path))))
            if target:
                at = os.path.join(os.fsencode(tree.folder), os.path.dirname(entry.path), target)
                yield entry.path, os.path.normpath(at)


def _target(text: bytes) -> bytes:
    word, _, target = text.strip(b"\n").partition(b": ")
    return target if word == b"gitdir" else b""


def _point(filling: Filling, tree: Area, git: Area) -> None:
    """Let submodules and their folders in git's name each other at the new place."""
    old_git, new_git, new_tree = os.fsencode(git.folder), os.fsencode(filling.git_dir), os.fsencode(filling.tree)
    for path, target in list(_pointers(filling)):
        if target.startswith(old_git + b"/"):
            module = new_git + target.removeprefix(old_git)
            file = os.path.join(new_tree, path)
            absolute = os.path.isabs(_target(b"".join(chunks_of(file))))
            text = module if absolute else os.path.relpath(module, os.path.dirname(file))
            _rewrite(filling, file, b"gitdir: " + text + b"\n")
            _rebase(filling, target, module, os.fsencode(tree.folder), new_tree)


def _rebase(filling: Filling, was: bytes, module: bytes, old_tree: bytes, new_tree: bytes) -> None:
    config = os.path.join(module, b"config")
    git = Git(filling.tree, filling.git_dir)
    answer = git.ask("config", "--file", config, "--get", "core.worktree")
    if answer.status:
        return
    named = os.fsencode(answer.text)
    target = os.path.normpath(os.path.join(was, named))
    if target.startswith(old_tree + b"/"):
        there = new_tree + target.removeprefix(old_tree)
        text = there if os.path.isabs(named) else os.path.relpath(there, module)
        git.run("config", "--file", config, "core.worktree", text)
        filling.written[config] = b"".join(chunks_of(config))


def _rewrite(filling: Filling, file: bytes, text: bytes) -> None:
    with open(file, "wb") as target:
        target.write(text)
    filling.written[file] = text


def _compare(folder: Path, entries: tuple[Entry, ...], hasher: Hasher, written: dict[bytes, bytes]) -> None:
    for entry in entries:
        path = os.path.join(os.fsencode(folder), entry.path)
        seen = os.lstat(path)
        if stat.S_IMODE(seen.st_mode) != entry.mode and entry.kind != "link":
            raise UnsureError(f"{told(entry.path)} did not get its mode back")
        if path in written:
            continue
        if entry.kind == "file" and hasher.stream(entry.size, chunks_of(path)) != entry.oid:
            raise UnsureError(f"{told(entry.path)} did not get its bytes back")
        if entry.kind == "link" and hasher.of(os.readlink(path)) != entry.oid:
            raise UnsureError(f"{told(entry.path)} does not point where it did")
