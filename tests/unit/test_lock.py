"""The lock of a data folder."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.core.errors import DataInUse, StoreFull, StoreRefused
from holdfast.core.store.lock import LOCK, hold_data, holder
from places import bytes_of

_DAEMON = """
import sys
from pathlib import Path
from holdfast.core.store.lock import hold_data
with hold_data(Path(sys.argv[1])) as lock:
    lock.describe(url="http://127.0.0.1:4680")
    print(lock.holder.started_at, flush=True)
    sys.stdin.read()
"""


@contextmanager
def daemon(data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that holds the data folder until it is ended, and when it says it started."""
    command = [sys.executable, "-c", _DAEMON, str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        if process.poll() is None:
            process.communicate("")


@pytest.mark.guards(
    "A second daemon on the same data folder refuses with the pid and start time of the first, and changes nothing.",
    against="two daemons that write one store and migrate it under each other",
    breaks=("lock-lets-two-in",),
)
def test_a_second_daemon_names_the_first_and_changes_nothing(tmp_path: Path) -> None:
    with daemon(tmp_path) as (process, started_at):
        before = bytes_of(tmp_path)
        with pytest.raises(DataInUse) as refused, hold_data(tmp_path):
            pass
        assert f"pid {process.pid}, started at {started_at}" in refused.value.message
        assert "holdfast down" in refused.value.message
        assert bytes_of(tmp_path) == before


def test_the_lock_of_a_killed_daemon_is_free(tmp_path: Path) -> None:
    with daemon(tmp_path) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK).read_bytes()  # what it said of itself is still there
        assert holder(tmp_path) is None
        with hold_data(tmp_path) as lock:
            assert lock.holder.pid == os.getpid()


def test_whoever_asks_learns_who_holds_the_folder_and_where_it_serves(tmp_path: Path) -> None:
    with daemon(tmp_path) as (process, started_at):
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.started_at, found.url) == (process.pid, started_at, "http://127.0.0.1:4680")
    assert holder(tmp_path) is None
    assert holder(tmp_path / "nowhere") is None


def test_one_process_holds_a_folder_once(tmp_path: Path) -> None:
    with hold_data(tmp_path), pytest.raises(DataInUse, match=f"pid {os.getpid()}"), hold_data(tmp_path):
        pass
    with hold_data(tmp_path):
        pass


def test_what_the_lock_says_stays_readable_when_it_gets_shorter(tmp_path: Path) -> None:
    with hold_data(tmp_path) as lock:
        lock.describe(url="http://" + "a" * 200)
        lock.describe(url=None)
        assert holder(tmp_path) == lock.holder


def test_asking_who_holds_a_folder_does_not_make_a_starting_daemon_give_up(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / LOCK).touch()
    asking = os.open(tmp_path / LOCK, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    tries: list[int] = []

    class Pause:
        def wait(self, seconds: float) -> None:
            tries.append(1)
            os.close(asking)  # the one who asked is done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.core.store.lock.threading.Event", Pause)
        with hold_data(tmp_path) as lock:
            assert lock.holder.pid == os.getpid()
    assert tries == [1]


def test_a_child_that_outlives_the_daemon_does_not_keep_the_lock(tmp_path: Path) -> None:
    with hold_data(tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
        )
    try:
        with hold_data(tmp_path) as lock:
            assert lock.holder.pid == os.getpid()
    finally:
        child.communicate(b"")


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for data in (file, file / "below"):
        with pytest.raises(StoreRefused, match="is a file"), hold_data(data):
            pass
    assert file.read_text() == "mine"


def test_a_lock_that_was_given_back_opens_nothing(tmp_path: Path) -> None:
    with hold_data(tmp_path) as lock:
        pass
    with pytest.raises(StoreRefused, match="given back"):
        lock.claim()


def _no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.guards(
    "A full disk under the lock is refused in words, and the folder can be held as soon as there is room.",
    against="a folder that stays locked by the very process that could not lock it",
    breaks=("lock-stays-after-a-full-disk",),
)
def test_a_full_disk_leaves_the_folder_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", _no_room)
        with pytest.raises(StoreFull, match="Make room"), hold_data(tmp_path):
            pass
    with hold_data(tmp_path) as lock:
        assert holder(tmp_path) == lock.holder


@pytest.mark.guards(
    "A disk that fills up before the lock can tell the address is refused in words, and what it said before stands.",
    against="a bare OSError on the terminal, and a lock that names nobody",
    breaks=("lock-says-the-bare-error",),
)
@pytest.mark.parametrize("room", [_no_room, lambda *_: 3], ids=["none", "for a part"])
def test_a_lock_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: Callable[..., int]
) -> None:
    with hold_data(tmp_path) as lock:
        before = lock.holder
        with monkeypatch.context() as full:
            full.setattr(os, "pwrite", room)
            with pytest.raises(StoreFull, match="Make room"):
                lock.describe(url="http://127.0.0.1:1")
        assert lock.holder == before
        assert holder(tmp_path) == before
