"""The files of an SQLite store: damaged, cut short, read-only, locked or half made, each is noticed and left alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.core import errors, faults
from holdfast.core.store.head import HEAD, Head, write_head
from holdfast.core.store.lock import LOCK, hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.pack import CORE
from holdfast.core.store.prepare import DATABASE
from opened import add, filled, refused, sqlite_only, things
from places import bytes_of

if TYPE_CHECKING:
    from conftest import Place, StoreMaker


async def crashed(make_store: StoreMaker, folder: Path) -> Place:
    """What a killed daemon leaves: the database, its write-ahead log and the head, none of them tidied up."""
    store = await make_store()
    await add(store, *(f"thing{number}" for number in range(20)))
    place = make_store.place_of(store)
    position = store.position()
    copy = type(place)(folder / "crashed", None)
    subprocess.run(["cp", "-r", str(place.data), str(copy.data)], check=True)  # not by us: it would drop SQLite's locks
    (copy.data / LOCK).unlink()
    write_head(copy.data, Head(store.uuid, position.writes, position.seq, "2026-01-02T03:04:05.000000Z"))
    await store.close()
    return copy


@sqlite_only
async def test_what_a_killed_daemon_left_is_opened_with_everything_in_it(
    make_store: StoreMaker, tmp_path: Path
) -> None:
    place = await crashed(make_store, tmp_path)
    assert (place.data / f"{DATABASE}-wal").stat().st_size
    assert len(await things(await make_store(at=place))) == 20


@sqlite_only
@pytest.mark.guards(
    "A truncated write-ahead log is noticed, although SQLite accepts it in silence.",
    against="acknowledged writes that are gone without a word",
    breaks=("head-is-not-compared",),
)
async def test_a_truncated_write_ahead_log_is_refused_untouched(make_store: StoreMaker, tmp_path: Path) -> None:
    place = await crashed(make_store, tmp_path)
    wal = place.data / f"{DATABASE}-wal"
    os.truncate(wal, wal.stat().st_size * 2 // 3)
    message = await refused(make_store, place, errors.StoreBehind)
    assert "are missing" in message
    store = await make_store(at=place, accept_loss=True)
    assert 0 < len(await things(store)) < 20
    assert store.effects_held


@sqlite_only
@pytest.mark.parametrize("damage", ["removed", "emptied", "overwritten"])
async def test_a_lost_write_ahead_log_is_refused_untouched(make_store: StoreMaker, tmp_path: Path, damage: str) -> None:
    place = await crashed(make_store, tmp_path)
    wal = place.data / f"{DATABASE}-wal"
    match damage:
        case "removed":
            wal.unlink()
        case "emptied":
            os.truncate(wal, 0)
        case "overwritten":
            wal.write_bytes(b"\0" * wal.stat().st_size)
    await refused(make_store, place, errors.StoreBehind)


@sqlite_only
async def test_a_log_without_its_database_is_kept_when_loss_is_accepted(make_store: StoreMaker, tmp_path: Path) -> None:
    place = await crashed(make_store, tmp_path)
    log = (place.data / f"{DATABASE}-wal").read_bytes()
    (place.data / DATABASE).unlink()
    (place.data / HEAD).unlink()
    assert "write-ahead log" in await refused(make_store, place, errors.StoreBehind)
    store = await make_store(at=place, accept_loss=True)
    assert await things(store) == []
    (kept,) = place.data.glob(f"{DATABASE}-wal.lost-*")
    assert kept.read_bytes() == log


@sqlite_only
@pytest.mark.parametrize("damage", ["empty", "text", "header", "page", "short"])
@pytest.mark.guards(
    "A damaged database is refused and left exactly as it is, never replaced by an empty one.",
    against="an empty store that takes the place of a damaged one, so that the next write destroys what was left",
    breaks=("corrupt-store-is-replaced",),
)
async def test_a_corrupt_file_is_refused_and_left_as_it_is(make_store: StoreMaker, damage: str) -> None:
    place = await filled(make_store, *(f"thing{number}" for number in range(50)))
    path = place.data / DATABASE
    whole = path.read_bytes()
    damaged = {
        "empty": b"",
        "text": b"this is my shopping list\n" * 400,
        "header": b"\xff" * 100 + whole[100:],
        "page": whole[:4096] + os.urandom(len(whole) - 4096),
        "short": whole[: len(whole) // 2],
    }[damage]
    path.write_bytes(damaged)
    (place.data / HEAD).unlink()  # so that nothing but the file itself tells
    message = await refused(make_store, place, errors.StoreCorrupt)
    assert "restore a backup" in message
    assert path.read_bytes() == damaged


@sqlite_only
async def test_a_crash_while_a_fresh_store_is_made_leaves_none_that_is_half_made(make_store: StoreMaker) -> None:
    place = make_store.place()
    crash = faults.raising(errors.StoreLost("crash"))
    with faults.armed("prepare.built", crash), pytest.raises(errors.StoreLost):
        await make_store(at=place)
    assert not (place.data / DATABASE).exists()
    await add(await make_store(at=place), "one")
    assert not (place.data / f"{DATABASE}.new").exists()


def _as_nobody(work: Callable[[], Awaitable[str]]) -> str:
    """What `work` returns in a process that has no right to do everything."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "the child failed"
        try:
            os.close(reading)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            said = asyncio.run(work())  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent reports it
            said = repr(error)
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize("what", ["folder", "file"])
@pytest.mark.guards(
    "A data folder or database that cannot be written is refused with a message that says so.",
    against="a daemon that comes up and fails at its first write",
    breaks=("read-only-is-not-noticed",),
)
def test_a_read_only_store_is_refused_untouched(what: str) -> None:
    # Below /tmp, because the user without rights must be able to enter it.
    with tempfile.TemporaryDirectory(prefix="hf-ro-") as made:
        data = Path(made)

        async def opened() -> str:
            with hold_data(data) as lock:
                store = await open_store(StoreConfig(data, (CORE,)), lock)
                await store.close()
                return "opened"

        assert asyncio.run(opened()) == "opened"
        before = bytes_of(data)
        for path in data.rglob("*"):
            path.chmod(0o777 if what == "file" else 0o444)
        data.chmod(0o555 if what == "folder" else 0o777)
        (data / DATABASE).chmod(0o444)
        said = _as_nobody(opened)
        data.chmod(0o700)
        assert "cannot be written" in said
        assert "StoreReadOnly" in said
        assert str(data if what == "folder" else data / DATABASE) in said
        after = bytes_of(data)
        assert {**after, LOCK: b""} == {**before, LOCK: b""}


@sqlite_only
async def test_a_store_that_another_program_keeps_locked_is_named(make_store: StoreMaker, tmp_path: Path) -> None:
    place = await crashed(make_store, tmp_path)
    program = (
        "import apsw, sys\n"
        "c = apsw.Connection(sys.argv[1]); c.pragma('locking_mode', 'exclusive')\n"
        "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(place.data / DATABASE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(errors.StoreBusy, match="Another program"):
            await make_store(at=place)
        other.communicate("")
    assert len(await things(await make_store(at=place))) == 20


@sqlite_only
async def test_a_program_that_reads_the_file_does_not_keep_the_daemon_down(
    make_store: StoreMaker, tmp_path: Path
) -> None:
    place = await crashed(make_store, tmp_path)
    program = (
        "import apsw, sys\n"
        "c = apsw.Connection(sys.argv[1]); c.execute('BEGIN'); c.execute('SELECT * FROM things').fetchall()\n"
        "print('reads', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(place.data / DATABASE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "reads\n"
        store = await make_store(at=place)
        await add(store, "more")
        other.communicate("")
    assert len(await things(store)) == 21


@sqlite_only
async def test_a_full_disk_is_named(make_store: StoreMaker) -> None:
    place = make_store.place()
    full = faults.raising(OSError(28, "No space left on device"))
    with faults.armed("prepare.built", full), pytest.raises(errors.StoreFull, match="is full"):
        await make_store(at=place)
    await make_store(at=place)
