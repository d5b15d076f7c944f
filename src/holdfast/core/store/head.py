"""Owns the head file: how far the store had come, kept beside it, so that a store that went back in time is noticed.

SQLite accepts a truncated write-ahead log in silence: what was acknowledged is gone and nothing says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from holdfast.core import faults
from holdfast.core.clock import Clock
from holdfast.core.errors import StoreBehind
from holdfast.core.store.port import Position

#: The file of the head in the data folder.
HEAD = "head"
#: Seconds between two writes of it, at least.
EVERY = 1.0

_LOG = logging.getLogger(__name__)
_WRITTEN = faults.point("head.written", "the new head file is on the disk, beside the old one")
_REPLACED = faults.point("head.replaced", "the new head file has taken the place of the old one")


class Head(msgspec.Struct, frozen=True):
    """A position that was durable, of which store, and when."""

    uuid: str
    writes: int
    seq: int
    at: str

    @property
    def position(self) -> Position:
        """How far the store had come."""
        return Position(self.writes, self.seq)


def read_head(data: Path) -> Head | None:
    """The head of the data folder; None if there is none (yet)."""
    try:
        text = (data / HEAD).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(text, type=Head)
    except msgspec.MsgspecError as error:
        # It is only ever replaced as a whole, so the disk, or somebody, has damaged it.
        raise DamagedHead(data) from error


def write_head(data: Path, head: Head) -> None:
    """Replace the head as a whole. The folder is not synced: after a power cut an older head is as good."""
    path, new = data / HEAD, data / f"{HEAD}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(head) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _WRITTEN()
    new.replace(path)
    _REPLACED()


class DamagedHead(StoreBehind):
    """The head file cannot be read, so nobody can tell whether the store lost anything."""

    def __init__(self, data: Path) -> None:
        super().__init__(
            f"The file {data / HEAD} is damaged, so it cannot be told whether the store lacks writes that were "
            "acknowledged. Look for faults of the disk and put the file back if you can; `holdfast up --accept-loss` "
            "goes on with the store as it is."
        )


class HeadKeeper:
    """Writes the head at most once in `EVERY` seconds, after commits only: an idle store costs nothing."""

    def __init__(self, data: Path, head: Head, position: Callable[[], Position], clock: Clock) -> None:
        self._data = data
        self._head = head
        self._position = position
        self._clock = clock
        self._written_at = float("-inf")
        self._due: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._closed = False

    def committed(self) -> None:
        """Note, on the event loop, that the store has moved on."""
        if self._due is None and self._writing is None and not self._closed:
            wait = max(0.0, self._written_at + EVERY - self._clock.monotonic())
            self._due = asyncio.get_running_loop().call_later(wait, self._begin)

    async def close(self) -> None:
        """Write the last head; call it when the store is closed."""
        self._closed = True
        if self._due is not None:
            self._due.cancel()
        if self._writing is not None:
            await self._writing
        await asyncio.get_running_loop().run_in_executor(None, self._write)

    def _begin(self) -> None:
        self._due = None
        self._writing = asyncio.get_running_loop().run_in_executor(None, self._write)
        self._writing.add_done_callback(self._ended)

    def _ended(self, _: asyncio.Future[None]) -> None:
        self._writing = None
        if self._next() is not None:  # more was committed meanwhile, or the disk did not take it: once more, later
            self.committed()

    def _next(self) -> Head | None:
        """The head to write, if the store has moved on. Never back: retention may have emptied the log."""
        position, head = self._position(), self._head
        writes, seq = max(position.writes, head.writes), max(position.seq, head.seq)
        return None if (writes, seq) == (head.writes, head.seq) else Head(head.uuid, writes, seq, self._clock.stamp())

    def _write(self) -> None:
        self._written_at = self._clock.monotonic()
        head = self._next()
        if head is None:
            return
        try:
            write_head(self._data, head)
        except OSError as error:
            # Loss would be harder to notice; that is no reason to take the daemon down.
            _LOG.warning("the head file %s could not be written: %s", self._data / HEAD, error)
        else:
            self._head = head
