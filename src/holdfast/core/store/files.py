"""Owns how a finished file gets its name (synced, renamed whole, the folder synced), and what a failing disk means."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from holdfast.core.clock import Clock
from holdfast.core.errors import StoreError, StoreFull, StoreLost, StoreReadOnly, StoreRefused


def stamped(clock: Clock) -> str:
    """The present instant as part of a file's name, in the order of time."""
    return clock.stamp().replace(":", "").replace("-", "")


def clear(path: Path) -> None:
    """Remove what an earlier attempt left under a working name of ours."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def make_private(path: Path) -> None:
    """Make an empty file for this user alone under a working name, in place of what an earlier attempt left there.

    It is for a library to fill that would make it readable by everybody.
    """
    clear(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def put_in_place(new: Path, path: Path) -> None:
    """Give a finished file its name, durably."""
    sync(new)
    new.rename(path)
    sync(path.parent)


def sync(target: Path) -> None:
    """Bring a file's content, or a folder's list of names, to the disk."""
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refusal(data: Path, error: OSError) -> StoreError:
    """What an operation that failed in the data folder means for whoever wants to start there."""
    why = os.strerror(error.errno) if error.errno else str(error)
    match error.errno:
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return StoreReadOnly(
                f"The data folder {data} cannot be written ({why}). Nothing was changed. Give this user the right to "
                "write there, mount it writable, or choose another folder with --data."
            )
        case errno.ENOSPC | errno.EDQUOT:
            return StoreFull(f"The disk of the data folder {data} is full ({why}). Make room and try again.")
        case errno.EEXIST | errno.ENOTDIR:
            return StoreRefused(f"The data folder {data} is a file, not a folder. Choose another with --data.")
        case errno.ENOLCK | errno.EOPNOTSUPP:
            return StoreRefused(
                f"The file system of {data} cannot lock files, so two daemons could run on one store. Choose a folder "
                "on a local disk with --data."
            )
        case errno.EIO:
            return StoreLost(f"The disk under {data} failed ({why}). Look at the system's log.")
        case _:
            return StoreRefused(f"The data folder {data} cannot be used: {error}. Choose another with --data.")
