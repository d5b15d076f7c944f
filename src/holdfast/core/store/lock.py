"""Owns the lock of a data folder: one daemon at a time, held by the kernel, so that it dies with its process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from holdfast.core import clock
from holdfast.core.errors import DataInUse, StoreRefused
from holdfast.core.store.files import refusal

#: The file of the lock in the data folder. It stays when nobody holds it: a lock whose file can vanish locks nothing.
LOCK = "lock"
# `holder` takes the lock for an instant to see whether somebody has it; a daemon that starts just then tries again.
_TRIES = 5
_PAUSE = 0.02
_LARGEST = 65_536


class Holder(msgspec.Struct, frozen=True):
    """Who holds a data folder."""

    pid: int
    started_at: str
    url: str | None = None

    def __str__(self) -> str:
        """As it stands in messages."""
        return f"pid {self.pid}, started at {self.started_at}" + (f", serving {self.url}" if self.url else "")


class DataLock:
    """A data folder that this process holds."""

    def __init__(self, data: Path, descriptor: int, holder: Holder) -> None:
        self.data = data
        self._descriptor = descriptor
        self._opened = threading.Lock()
        self._write(holder)

    def describe(self, *, url: str | None) -> None:
        """Tell those who find the folder taken where the daemon serves."""
        self._write(msgspec.structs.replace(self.holder, url=url))

    def claim(self) -> None:
        """Take the right to open the store; there is one to a data folder."""
        if self._descriptor < 0:
            raise StoreRefused(f"The lock of {self.data} was given back: the store can no longer be opened under it.")
        if not self._opened.acquire(blocking=False):
            raise DataInUse(
                f"The store in {self.data} is already open, or being opened, in this process ({self.holder}). "
                "Close it before opening it again.",
                pid=self.holder.pid,
                started_at=self.holder.started_at,
            )

    def free(self) -> None:
        """Give that right back."""
        self._opened.release()

    def release(self) -> None:
        """Let the next daemon in."""
        with contextlib.suppress(OSError):  # what a file says that nobody holds is not believed anyhow
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = -1

    def _write(self, holder: Holder) -> None:
        # In place, never by rename: the lock is on this very file. One write, so that a reader sees it whole.
        text = msgspec.json.encode(holder) + b"\n"
        try:
            whole = os.pwrite(self._descriptor, text, 0) == len(text)
            if whole:
                os.ftruncate(self._descriptor, len(text))
        except OSError as error:
            raise refusal(self.data, error) from error
        if not whole:
            raise refusal(self.data, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        self.holder = holder


@contextlib.contextmanager
def hold_data(data: Path) -> Iterator[DataLock]:
    """Hold the data folder, made if it is not there, for as long as the block lasts."""
    descriptor = _take(data)
    try:
        lock = DataLock(data, descriptor, Holder(os.getpid(), clock.SYSTEM.stamp()))
    except BaseException:
        os.close(descriptor)  # it is the lock: the folder would stay held for as long as this process lives
        raise
    try:
        yield lock
    finally:
        lock.release()


def holder(data: Path) -> Holder | None:
    """Who holds the data folder now, if anybody does; never waits and changes nothing."""
    try:
        descriptor = os.open(data / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


def _take(data: Path) -> int:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(data, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "the folder cannot be written")
        descriptor = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _lock(data, descriptor)
    except OSError as error:
        raise refusal(data, error) from error
    return descriptor


def _lock(data: Path, descriptor: int) -> None:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Event().wait(_PAUSE)
        except OSError:
            os.close(descriptor)
            raise
        else:
            return
    found = _read(descriptor)
    os.close(descriptor)
    raise DataInUse(
        f"The data folder {data} is held by another daemon ({found or 'it has not said which'}). "
        "End it with `holdfast down`, or choose another folder with --data.",
        pid=found.pid if found else None,
        started_at=found.started_at if found else None,
    )


def _read(descriptor: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, _LARGEST, 0), type=Holder)
    except msgspec.MsgspecError:
        return None
