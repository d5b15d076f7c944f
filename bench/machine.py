"""What the kernel tells about a process and this machine."""

from __future__ import annotations

import os
import platform
import resource
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("apsw", "uvicorn", "uvloop", "httptools", "fastapi", "starlette", "msgspec")


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def resident_kb(pid: int) -> int:
    """Resident memory now."""
    return _status(pid, "VmRSS")


def cpu_seconds(pid: int) -> float:
    """Processor time of all the process's threads, to the nanosecond where the kernel keeps it."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wake_ups(pid: int) -> int:
    """How often its threads went to sleep and were woken."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(_status_of_task(task) for task in tasks)


def _status_of_task(task: Path) -> int:
    lines = (task / "status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:")), 0)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Others:
    """How much of the processors other programs took during a run: with much of it, no number means anything."""

    def __init__(self) -> None:
        self._spared = 0.0
        self._begin, self._busy = time.monotonic(), self._theirs()

    def spare(self, seconds: float) -> None:
        """Count what a program took that the run has started and that is no child of it, such as a server, as ours."""
        self._spared += seconds

    def _theirs(self) -> float:
        """Busy seconds of all processors, without ours (a child counts when it has ended)."""
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        idle = fields[3] + fields[4]
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        ours = sum(usage.ru_utime + usage.ru_stime for usage in used)
        return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK") - ours - self._spared

    def percent(self) -> float:
        """Their share of all processors since the start of the run."""
        span = (time.monotonic() - self._begin) * (os.cpu_count() or 1)
        return max(0.0, 100 * (self._theirs() - self._busy) / span)


def allow_many_files() -> None:
    """A thousand subscribers need a thousand descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A folder on a real disk (not a tmpfs, where fsync costs nothing), removed afterwards."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".run-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def fsync_ms(folder: Path, count: int = 100) -> list[float]:
    """What one 4 KiB write and fsync costs in this folder."""
    path = folder / "fsync-probe"
    taken = []
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        for index in range(count):
            os.pwrite(descriptor, b"x" * 4096, index * 4096)
            begin = time.perf_counter()
            os.fsync(descriptor)
            taken.append((time.perf_counter() - begin) * 1e3)
    finally:
        os.close(descriptor)
        path.unlink()
    return taken


def file_system(folder: Path) -> str:
    """The type of the file system that holds this folder."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [m for m in mounts if folder.resolve().is_relative_to(m[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2] if holding else "unknown"


def about(folder: Path) -> dict[str, Any]:
    """Versions, machine and how busy it is: what a reader of the numbers must know."""
    import apsw

    versions = {name: metadata.version(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        **versions,
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "file_system": file_system(folder),
    }
