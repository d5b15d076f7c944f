"""An SQLite VFS that writes down what reaches the disk and when it was synced, and can be out of room.

What a power cut leaves is computed afterwards from the notes, for any moment: all that was synced, and of the rest
whatever the test decides (nothing, or some sectors of some writes), as a disk with a cache does.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import apsw

_SECTOR = 512
_KEPT, _TORN = 0.5, 0.2  # how likely a write that was not synced is there all the same; and a sector of it is not
Kind = Literal["write", "truncate", "sync", "delete", "said"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that happened: to a file, or (`said`) in the test."""

    kind: Kind
    name: str
    offset: int = 0  # of a sync: how many notes there were when it began, for it keeps no write that came later
    data: bytes = b""


@dataclass
class Disk:
    """What happened to the files of one VFS, in order, and how much room they have left."""

    notes: list[Note] = field(default_factory=list)
    room: int | None = None  # how many bytes files may still grow by; None: no end of it
    broken: bool = False  # whether a sync fails
    refused: int = 0
    _before: dict[str, bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: Kind, name: str, offset: int = 0, data: bytes = b"") -> None:
        """Write down what happens now."""
        with self._lock:
            self.notes.append(Note(kind, name, offset, data))

    def say(self, text: str) -> None:
        """Put a mark of the test's own between the others."""
        self.note("said", text)

    def meet(self, path: str) -> None:
        """A file is opened: what it held before all notes is on the disk already."""
        name = Path(path).name
        with self._lock:
            if name not in self._before:
                self._before[name] = Path(path).read_bytes() if Path(path).exists() else b""

    def grow(self, by: int) -> None:
        """Take room, or refuse as a full disk does."""
        with self._lock:
            if self.room is None or by <= 0:
                return
            if by > self.room:
                self.refused += 1
                raise apsw.FullError("there is no room left on this disk")
            self.room -= by

    def after_power_cut(self, at: int, luck: random.Random | None = None) -> dict[str, bytes]:
        """The files as they are when the power goes before note `at`; without luck all that was not synced is lost."""
        files = {name: _File(bytearray(held), there=bool(held)) for name, held in self._before.items()}
        for index, note in enumerate(self.notes[:at]):
            if note.kind != "said":
                files.setdefault(note.name, _File(bytearray())).take(index, note)
        left = {name: bytes(file.survives(luck)) for name, file in files.items()}
        return {name: held for name, held in left.items() if files[name].there}


@dataclass
class _File:
    """A file's bytes that are safe, and what has been asked of it since its last sync."""

    safe: bytearray
    there: bool = False
    waiting: list[tuple[int, Note]] = field(default_factory=list)

    def take(self, index: int, note: Note) -> None:
        """What happens to the file, or becomes safe."""
        if note.kind != "sync":
            self.waiting.append((index, note))
            return
        kept = [each for began, each in self.waiting if began < note.offset]
        for each in kept:
            _apply(self.safe, each)
            self.there = each.kind != "delete"
        del self.waiting[: len(kept)]

    def survives(self, luck: random.Random | None) -> bytearray:
        """The bytes that are there after the cut."""
        left = bytearray(self.safe)
        for _, each in self.waiting if luck is not None else []:
            if luck is not None and luck.random() < _KEPT:
                _apply(left, each, luck)
                self.there = self.there or each.kind == "write"
        return left


def _apply(held: bytearray, note: Note, luck: random.Random | None = None) -> None:
    if note.kind == "delete":
        held.clear()
    elif note.kind == "truncate":
        del held[note.offset :]
    else:
        for start in range(0, len(note.data), _SECTOR):
            if luck is not None and luck.random() < _TORN:
                continue  # the power went while this write was under way: this sector of it is lost
            piece = note.data[start : start + _SECTOR]
            begin = note.offset + start
            if len(held) < begin:
                held.extend(bytes(begin - len(held)))
            held[begin : begin + len(piece)] = piece


class _NotedFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(path).name if path else None
        if path:
            disk.meet(path)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.grow(offset + len(data) - self.xFileSize())
        super().xWrite(data, offset)
        if self._name:
            self._disk.note("write", self._name, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        if self._name:
            self._disk.note("truncate", self._name, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.broken:
            raise apsw.IOError("this disk cannot keep what it was given")
        began = len(self._disk.notes)
        super().xSync(flags)
        if self._name:
            self._disk.note("sync", self._name, began)


class _NotedVFS(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self._disk = disk
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _NotedFile:  # noqa: N802 - SQLite's name
        return _NotedFile(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(filename, syncdir)
        self._disk.note("delete", Path(filename).name)
        if syncdir:
            self._disk.note("sync", Path(filename).name, len(self._disk.notes))


@contextmanager
def noted_disk(name: str) -> Iterator[Disk]:
    """A VFS of this name, for as long as the block lasts; give the name to `StoreOptions(vfs=...)`."""
    disk = Disk()
    vfs = _NotedVFS(name, disk)
    try:
        yield disk
    finally:
        vfs.unregister()
