"""Writes what an agent shows into the ring of segments that `recording.py` lays out and reads."""

# ruff: noqa: PTH104, PTH108 - pathlib takes longer to load than all that a holder does before its agent runs

from __future__ import annotations

import os
from contextlib import suppress


class Recorder:
    """One generation after the other. A disk that takes nothing loses output, visibly, and never stops the agent."""

    def __init__(self, first: str, kept: int) -> None:
        """`first` is the first segment of a generation, which is there and empty; `kept` how many a ring has."""
        self._prefix, _, number = first.rpartition(".")
        self._digits = len(number)
        self._size = int(self._prefix.rpartition("-")[2])
        self._kept = kept
        self._number = self._filled = 0
        #: Bytes that could not be written since the last one that was.
        self._lost = 0
        self._file = os.open(first, os.O_WRONLY | os.O_APPEND)

    def write(self, data: bytes) -> None:
        """Record this; what finds no room is counted, and leaves a gap of its size."""
        rest = memoryview(data)
        try:
            if self._lost:
                self._begin_again()
            while rest:
                if self._filled == self._size:
                    self._next()
                done = os.write(self._file, rest[: self._size - self._filled])
                self._filled += done
                rest = rest[done:]
        except OSError:
            self._lost += len(rest)

    def _next(self) -> None:
        self._open(self._prefix, self._number + 1)
        gone = self._number - self._kept
        if gone >= 0:
            with suppress(FileNotFoundError):
                os.unlink(self._path(self._prefix, gone))

    def _begin_again(self) -> None:
        """A new generation, as many bytes further on as were lost."""
        head, generation, base, size = self._words()
        start = int(base) + self._number * self._size + self._filled + self._lost
        # One that holds nothing is moved on: a disk that stays full is not filled with the names of empty files.
        empty = not self._number and not self._filled
        prefix = f"{head}{int(generation) + (not empty):0{len(generation)}}-{start:0{len(base)}}-{size}"
        if empty:
            os.rename(self._path(self._prefix, 0), self._path(prefix, 0))
        else:
            self._open(prefix, 0)
        self._prefix, self._lost = prefix, 0

    def _words(self) -> tuple[str, str, str, str]:
        folder, slash, name = self._prefix.rpartition("/")
        generation, base, size = name.split("-")
        return folder + slash, generation, base, size

    def _open(self, prefix: str, number: int) -> None:
        new = os.open(self._path(prefix, number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.close(self._file)
        self._file, self._number, self._filled = new, number, 0

    def _path(self, prefix: str, number: int) -> str:
        return f"{prefix}.{number:0{self._digits}}"
