"""The files by which a place is known: its lock, its identities, and how its agent ended."""

# ruff: noqa: PTH104, PTH108, PTH116, PTH120, PTH123 - pathlib takes longer to load than all that a holder does before its agent runs

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

#: `<name>.place`: who holds it and who runs in it, written before the agent starts and never changed.
PLACE = ".place"
#: `<name>.end`: how the agent ended, written when it has.
END = ".end"
#: `<name>.lock`: held by the holder for as long as it lives, and by nobody else.
LOCK = ".lock"
#: `<name>.broken`: why a holder died of a bug, for people.
BROKEN = ".broken"


def write(path: str, content: bytes) -> None:
    """Put a file in its place whole, and bring it to the disk."""
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(path + ".new", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def lock(path: str) -> int | None:
    """Hold this lock until the descriptor is closed everywhere; None when somebody else does."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == os.stat(path).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        # What was locked is a file that has been taken away since: the next one counts.
        os.close(descriptor)


def remove(path: str) -> None:
    """Take a file away, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def identity(pid: int) -> str:
    """A living process as the JSON of an identity."""
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        boot = file.read().strip().decode("ascii")
    with open(f"/proc/{pid}/stat", "rb") as file:
        started = int(file.read().rpartition(b")")[2].split()[19])
    return f'{{"boot":"{boot}","pid":{pid},"started":{started}}}'
