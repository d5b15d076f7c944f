"""Looks at all that is in a work tree: every file's bytes, mode and name as they are now. Changes nothing there."""

# ruff: noqa: PTH115, PTH118, PTH119, PTH120 - names in a tree are bytes, which pathlib does not take
from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Literal

Kind = Literal["file", "link", "folder", "fifo", "socket"]
_CHUNK = 1024 * 1024
#: Our own folder in every work tree: the agents' hook files. It is not work.
OWN_FOLDER = b".holdfast"


class UnsureError(Exception):
    """Something keeps us from being sure that all is seen or kept; never leaves this package."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a tree, by its path from the top."""

    path: bytes
    kind: Kind
    mode: int
    size: int = 0
    oid: str = ""
    mtime: int = field(default=0, compare=False)  # put back where it is kept, but a touch is no change


@dataclass(frozen=True, slots=True)
class Hasher:
    """Names bytes as git does."""

    algorithm: str  # sha1 or sha256, as the repository's objects

    def of(self, data: bytes) -> str:
        """The name of a blob with these bytes."""
        return self._begun(len(data), data).hexdigest()

    def _begun(self, size: int, data: bytes = b"") -> hashlib._Hash:
        return hashlib.new(self.algorithm, b"blob %d\0" % size + data, usedforsecurity=False)

    def stream(self, size: int, chunks: Iterator[bytes]) -> str:
        """The name of a blob that comes in pieces."""
        digest, seen = self._begun(size), 0
        for chunk in chunks:
            digest.update(chunk)
            seen += len(chunk)
        return digest.hexdigest() if seen == size else ""


def chunks_of(path: bytes) -> Iterator[bytes]:
    """A file's bytes in pieces; a link in its place is not followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        while chunk := os.read(descriptor, _CHUNK):
            yield chunk
    finally:
        os.close(descriptor)


class _As(Enum):
    """How a folder is looked at."""

    WORK = auto()  # all that is not ignored
    WHOLE = auto()  # all of it
    HUNT = auto()  # ignored: only repositories in it count


#: The paths in a repository (by its folder) that its rules ignore, folders with a slash at their end.
Ignoring = Callable[[bytes], frozenset[bytes]]


@dataclass(slots=True)
class Survey:
    """All that was seen below one folder."""

    top: bytes
    hasher: Hasher
    entries: list[Entry] = field(default_factory=list)
    pointers: list[bytes] = field(default_factory=list)  # `.git` files: git's folder is elsewhere
    not_kept: list[bytes] = field(default_factory=list)  # sockets: there is nothing in them to keep

    def see(self, relative: bytes, seen: os.stat_result) -> None:
        """Take one thing down."""
        path, mode = os.path.join(self.top, relative), stat.S_IMODE(seen.st_mode)
        when = seen.st_mtime_ns
        match stat.S_IFMT(seen.st_mode):
            case stat.S_IFREG:
                oid = self.hasher.stream(seen.st_size, chunks_of(path))
                if not oid:
                    raise UnsureError(f"{told(relative)} was written while it was read")
                self.entries.append(Entry(relative, "file", mode, seen.st_size, oid, when))
            case stat.S_IFLNK:
                target = os.readlink(path)
                self.entries.append(Entry(relative, "link", 0, len(target), self.hasher.of(target), when))
            case stat.S_IFDIR:
                self.entries.append(Entry(relative, "folder", mode, mtime=when))
            case stat.S_IFIFO:
                self.entries.append(Entry(relative, "fifo", mode, mtime=when))
            case stat.S_IFSOCK:
                self.not_kept.append(relative)
            case _:
                raise UnsureError(f"{told(relative)} is a device")


def told(path: bytes) -> str:
    """A path for people to read."""
    return repr(os.fsdecode(path))[:300]


def whole(top: Path, hasher: Hasher, leave: Callable[[bytes], bool] = lambda _: False) -> Survey:
    """Everything below a folder but what is to be left out; for git's own folders."""
    survey = Survey(os.fsencode(top), hasher)
    _walk(survey, _Rules(lambda _: frozenset(), leave, plain=True))
    return survey


def work(top: Path, hasher: Hasher, ignoring: Ignoring, tracked: frozenset[bytes], pointer: bytes) -> Survey:
    """All work below a folder; `pointer` is what git wrote into its `.git`, anything else there counts as work."""
    survey = Survey(os.fsencode(top), hasher)

    def leave(relative: bytes) -> bool:
        if relative == b".git":
            path = os.path.join(survey.top, relative)
            # Whoever removed it and began a repository of their own here has work in that.
            return stat.S_ISREG(os.lstat(path).st_mode) and b"".join(chunks_of(path)).strip(b"\n") == pointer
        own = relative == OWN_FOLDER
        return own and not any(name.startswith(OWN_FOLDER + b"/") for name in tracked)

    _walk(survey, _Rules(ignoring, leave))
    return survey


#: What git reads in every folder that it looks at for untracked files, and what it reads besides for a diff.
IGNORE_RULES, ATTRIBUTES = b".gitignore", b".gitattributes"
_GIT_FOLDER = b".git"


def refuse_waiting(top: Path, *names: bytes, below: bytes = b"") -> None:
    """Raise where git would wait for ever for somebody to write: at a fifo or a device in the place of its files.

    Those are all files of these names, and all that is in a folder `.git`. With `below` the folder itself is one of
    those, and has this name.
    """
    root = os.fsencode(top)
    device = os.lstat(root).st_dev
    todo = [(b"", bool(below))]
    while todo:
        folder, is_gits = todo.pop()
        with os.scandir(os.path.join(root, folder)) as listed:
            for entry in listed:
                relative = os.path.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if entry.stat(follow_symlinks=False).st_dev == device:
                        todo.append((relative, is_gits or entry.name == _GIT_FOLDER))
                elif (is_gits or entry.name in names) and _waits(entry):
                    where = told(os.path.join(below, relative))
                    raise UnsureError(f"{where} is a fifo or a device: git would wait for it")


def _waits(entry: os.DirEntry[bytes]) -> bool:
    """Whether one who opens it may wait. A link is not followed, and to a socket nobody comes by opening it."""
    if entry.is_file(follow_symlinks=False) or entry.is_symlink():
        return False
    return not stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)


@dataclass(frozen=True, slots=True)
class _Rules:
    ignoring: Ignoring
    leave: Callable[[bytes], bool]
    plain: bool = False


@dataclass(frozen=True, slots=True)
class _Folder:
    path: bytes
    look: _As
    ignored: frozenset[bytes]  # from the top


def _walk(survey: Survey, rules: _Rules) -> None:
    device = os.lstat(survey.top).st_dev
    found: dict[bytes, os.stat_result] = {}
    look = _As.WHOLE if rules.plain else _As.WORK
    todo = [_Folder(b"", look, rules.ignoring(b""))]
    while todo:
        folder = todo.pop()
        for name, entry in _listed(survey.top, folder.path):
            relative = os.path.join(folder.path, name)
            if rules.leave(relative):
                continue
            is_folder = stat.S_ISDIR(entry.st_mode)
            if is_folder and entry.st_dev != device:
                raise UnsureError(f"another file system is mounted at {told(relative)}")
            if folder.look is _As.WORK and name == b".git" and not is_folder:
                survey.pointers.append(relative)
            if is_folder:
                below = _below(survey.top, folder, relative, rules)
                todo.append(below)
                kept = below.look is not _As.HUNT
            else:
                kept = folder.look is not _As.HUNT and relative not in folder.ignored
            if kept:
                found[relative] = entry
    _with_parents(survey.top, found)
    for relative in sorted(found):
        survey.see(relative, found[relative])


def _listed(top: bytes, folder: bytes) -> list[tuple[bytes, os.stat_result]]:
    with os.scandir(os.path.join(top, folder)) as listed:
        return [(entry.name, entry.stat(follow_symlinks=False)) for entry in listed]


def _below(top: bytes, folder: _Folder, relative: bytes, rules: _Rules) -> _Folder:
    """How to look at what is in a folder that was met."""
    if folder.look is _As.WHOLE or (folder.look is _As.WORK and os.path.basename(relative) == b".git"):
        return _Folder(relative, _As.WHOLE, frozenset())
    if os.path.lexists(os.path.join(top, relative, b".git")):
        # A repository of its own, with rules of its own; also where the outer one ignores it.
        prefix = relative + b"/"
        return _Folder(relative, _As.WORK, frozenset(prefix + name for name in rules.ignoring(relative)))
    if folder.look is _As.HUNT or relative + b"/" in folder.ignored:
        return _Folder(relative, _As.HUNT, frozenset())
    return _Folder(relative, _As.WORK, folder.ignored)


def _with_parents(top: bytes, found: dict[bytes, os.stat_result]) -> None:
    """The folders on the way to what was found below ignored ones."""
    for relative in list(found):
        parent = os.path.dirname(relative)
        while parent and parent not in found:
            found[parent] = os.lstat(os.path.join(top, parent))
            parent = os.path.dirname(parent)
