"""Recorded output: bounded files with offsets that stay, written without the daemon, read whether it lives or not.

A recording is a ring of segments of one size in a folder. One run of a recorder is a generation, and its segments are
called `<generation>-<base>-<segment size>.<number>`, so that a byte's offset follows from its file's name alone. Where
offsets have no bytes there is a gap: pruned, lost with a recorder that died, or not recorded because none ran (which
counts as one byte, for nobody knows how many they were). A recorder keeps within its ring, and what is there when one
begins is pruned to as much again. Imports only the standard library: holders start fast.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

#: How large a segment is, and how many of them a recorder keeps: the newest, whoever looks or does not.
SEGMENT_BYTES, SEGMENTS = 262_144, 64
_DIGITS = 9

# GNU split writes what it gets at once and cuts exactly; its filter drops the segment that leaves the ring and becomes
# the writer of the next one. `1${FILE##*.}` keeps leading zeros from being read as octal.
_FILTER = f'old=$((1${{FILE##*.}}-{SEGMENTS})); rm -f -- "${{FILE%.*}}.${{old#1}}"; exec cat >"$FILE"'


class Segment(NamedTuple):
    """One file of a recording, and the offsets that it holds."""

    generation: int
    number: int
    start: int
    end: int
    path: str


class Chunk(NamedTuple):
    """Bytes read in one piece; it ends where a gap begins."""

    #: Where `data` begins: `missed` bytes after what was asked for, because they are not there (any more).
    offset: int
    data: bytes
    #: Where to read on.
    next: int
    missed: int


class Gap(NamedTuple):
    """Offsets between others that are there, but themselves without bytes."""

    start: int
    end: int


def command(prefix: Path) -> str:
    """The shell command that records its input under a prefix that `begin` gave; it costs two small processes."""
    target = shlex.quote(f"{prefix}.")
    # `split` runs its filter by $SHELL, which may be any shell.
    return f"SHELL=/bin/sh exec split -b {SEGMENT_BYTES} -d -a {_DIGITS} --filter={shlex.quote(_FILTER)} - {target}"


def segment(prefix: Path, number: int) -> Path:
    """The file of one segment of a generation, for recorders that are no `command`."""
    return prefix.with_name(f"{prefix.name}.{number:0{_DIGITS}}")


class Recording:
    """The recorded output of one session, over all of its launches. Every method blocks, briefly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, *, interrupted: bool = False) -> Path:
        """Begin a generation where the last one ended: its prefix. The one before must be over.

        After an interruption, when output may have gone unrecorded, the generation begins one byte later.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.prune(SEGMENT_BYTES * SEGMENTS)
        known = self.segments()
        generation = known[-1].generation + 1 if known else 0
        base = known[-1].end + interrupted if known else 0
        prefix = self.folder / f"{generation:06}-{base:018}-{SEGMENT_BYTES}"
        # The first, empty segment says that this generation is taken, be its recorder slow or dead.
        segment(prefix, 0).touch(mode=0o600)
        return prefix

    def segments(self) -> list[Segment]:
        """What is there, in order; a segment ends where the next begins at the latest."""
        found: list[Segment] = []
        for each in sorted(_entries(self.folder), reverse=True):
            limit = found[-1].start if found else each.end
            found.append(each._replace(end=max(each.start, min(each.end, limit))))
        return found[::-1]

    def size(self) -> int:
        """The offset after the newest byte; never smaller than it was."""
        known = self.segments()
        return known[-1].end if known else 0

    def start(self) -> int:
        """The offset of the oldest byte that is kept."""
        return next((each.start for each in self.segments()), 0)

    def gaps(self) -> list[Gap]:
        """Where nothing was recorded between what was."""
        known = self.segments()
        return [Gap(a.end, b.start) for a, b in pairwise(known) if a.end < b.start]

    def read(self, offset: int, limit: int) -> Chunk:
        """At most `limit` bytes from an offset, or from the next one that is there; nothing at the end."""
        parts: list[bytes] = []
        begun = at = offset
        for each in self.segments():
            if each.end <= at:
                continue
            if not parts:
                begun = at = max(at, each.start)
            if each.start > at or limit <= 0:
                break
            data = _bytes(each, at, limit)
            if data is None:
                if parts:
                    break
                continue  # pruned since it was listed: a gap like any other
            parts.append(data)
            at += len(data)
            limit -= len(data)
        if not parts:
            begun = at = offset
        return Chunk(begun, b"".join(parts), at, begun - offset)

    def tail(self, limit: int) -> Chunk:
        """The newest bytes, at most `limit` of them and from after the last gap."""
        known = [each for each in self.segments() if each.start < each.end]
        end = first = known[-1].end if known else 0
        for each in reversed(known):
            if each.end < first:
                break
            first = each.start
        return self.read(max(first, end - limit), limit)

    def prune(self, keep_bytes: int) -> int:
        """Remove the oldest segments beyond about this many bytes, never the newest one: how many bytes went."""
        known, kept = self.segments(), 0
        doomed: list[Segment] = []
        for newer, each in pairwise(reversed(known)):
            kept += newer.end - newer.start
            if kept >= keep_bytes:
                doomed.append(each)
        for each in reversed(doomed):
            Path(each.path).unlink(missing_ok=True)
        return sum(each.end - each.start for each in doomed)

    def last_output_at(self) -> float | None:
        """When the newest byte was written, in seconds of the wall clock; None when there was none."""
        for each in sorted(_entries(self.folder), reverse=True):
            if each.end > each.start:
                try:
                    return Path(each.path).stat().st_mtime
                except FileNotFoundError:
                    continue
        return None


def _entries(folder: Path) -> Iterator[Segment]:
    try:
        with os.scandir(folder) as listed:
            for entry in listed:
                prefix, _, number = entry.name.rpartition(".")
                words = prefix.split("-")
                if len(words) != 3 or not all(word.isdigit() for word in (*words, number)):  # noqa: PLR2004 - as named
                    continue
                generation, base, size = map(int, words)
                try:
                    length = entry.stat().st_size
                except FileNotFoundError:
                    continue
                start = base + int(number) * size
                yield Segment(generation, int(number), start, start + length, entry.path)
    except FileNotFoundError:
        return


def _bytes(each: Segment, at: int, limit: int) -> bytes | None:
    try:
        with Path(each.path).open("rb") as file:
            file.seek(at - each.start)
            return file.read(min(limit, each.end - at))
    except FileNotFoundError:
        return None
