"""The head file."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.core import faults
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import StoreBehind
from holdfast.core.store import head as module
from holdfast.core.store.head import HEAD, Head, HeadKeeper, read_head, write_head
from holdfast.core.store.port import Position

AT = "2026-01-02T03:04:05.000000Z"


@dataclass
class Store:
    """A position that a test sets."""

    at: Position

    def position(self) -> Position:
        return self.at


def keeper(data: Path, store: Store) -> HeadKeeper:
    return HeadKeeper(data, Head("u", 0, 0, AT), store.position, SYSTEM)


async def written(keeping: HeadKeeper) -> None:
    """Until the keeper has done what was due at once."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    with faults.armed("head.replaced", lambda: loop.call_soon_threadsafe(done.set)):
        keeping.committed()
        await asyncio.wait_for(done.wait(), 10)
    if keeping._writing is not None:
        await keeping._writing


def test_a_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_head(tmp_path) is None
    write_head(tmp_path, Head("u", 3, 7, AT))
    assert read_head(tmp_path) == Head("u", 3, 7, AT)
    assert [path.name for path in tmp_path.iterdir()] == [HEAD]


def test_a_crash_while_the_head_is_written_leaves_the_former_one_whole(tmp_path: Path) -> None:
    write_head(tmp_path, Head("u", 1, 1, AT))
    crash = faults.raising(faults.FaultRaisedError("crash"))
    with faults.armed("head.written", crash), pytest.raises(faults.FaultRaisedError):
        write_head(tmp_path, Head("u", 2, 2, AT))
    assert read_head(tmp_path) == Head("u", 1, 1, AT)


def test_a_damaged_head_is_not_taken_for_none(tmp_path: Path) -> None:
    for text in (b"", b"{", b'{"uuid":"u"}', b"\0" * 50):
        (tmp_path / HEAD).write_bytes(text)
        with pytest.raises(StoreBehind, match="is damaged"):
            read_head(tmp_path)


async def test_the_head_follows_commits_at_most_once_a_second_and_rests_when_idle(tmp_path: Path) -> None:
    store = Store(Position(1, 2))
    keeping = keeper(tmp_path, store)
    await written(keeping)
    first = read_head(tmp_path)
    assert first is not None
    assert first.position == Position(1, 2)
    assert keeping._due is None  # nothing wakes an idle daemon

    store.at = Position(2, 3)
    keeping.committed()
    keeping.committed()
    assert keeping._due is not None
    assert keeping._due.when() - asyncio.get_running_loop().time() > 0.5  # a second after the first, not at once
    assert read_head(tmp_path) == first
    await keeping.close()
    last = read_head(tmp_path)
    assert last is not None
    assert last.position == Position(2, 3)


async def test_a_commit_during_a_write_of_the_head_is_not_forgotten(tmp_path: Path) -> None:
    store = Store(Position(1, 1))
    keeping, gate = keeper(tmp_path, store), faults.Gate()
    with faults.armed("head.written", gate):
        keeping.committed()
        await asyncio.to_thread(gate.reached.wait, 10)
        store.at = Position(2, 2)
        keeping.committed()
        gate.open()
        if keeping._writing is not None:
            await keeping._writing
    assert keeping._due is not None
    await keeping.close()


async def test_the_head_never_goes_back_when_retention_empties_the_log(tmp_path: Path) -> None:
    store = Store(Position(5, 9))
    keeping = keeper(tmp_path, store)
    await written(keeping)
    store.at = Position(6, 0)
    await keeping.close()
    last = read_head(tmp_path)
    assert last is not None
    assert last.position == Position(6, 9)


async def test_a_store_that_did_not_move_leaves_its_head_alone(tmp_path: Path) -> None:
    keeping = keeper(tmp_path, Store(Position(0, 0)))
    await keeping.close()
    assert not (tmp_path / HEAD).exists()


async def test_a_disk_that_does_not_take_the_head_is_reported_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(data: Path, head: Head) -> None:
        raise OSError(28, "No space left on device")

    keeping = keeper(tmp_path, Store(Position(1, 1)))
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(module, "write_head", full)
        keeping._write()
    assert "No space left" in caplog.text
    await keeping.close()
    last = read_head(tmp_path)
    assert last is not None
    assert last.position == Position(1, 1)
