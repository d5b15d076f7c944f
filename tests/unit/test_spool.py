"""The spool: what hooks wrote is read in order, as often as it takes, until it is settled."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import faults
from holdfast.core.errors import HoldfastError, Invalid
from holdfast.fleet.signals import hook
from holdfast.fleet.signals.spool import BATCH_BYTES, COMMITTED, READ, Spool, Spooled

_seqs = itertools.count(1)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def tell(
    spool: Spool, event: str, *, session: str = "a-1", launch: int = 1, seq: int | None = None, **detail: Any
) -> None:
    """As a hook does, without a process."""
    environ = {"HOLDFAST_SPOOL": str(spool.path(session)), "HOLDFAST_LAUNCH": str(launch)}
    hook.tell("scripted", event, detail, environ, next(_seqs) if seq is None else seq)


def events(signals: tuple[Spooled, ...]) -> list[str]:
    return [signal.event for signal in signals]


def drained(spool: Spool, session: str = "a-1") -> list[str]:
    """Everything that is there, settled batch by batch."""
    found: list[str] = []
    while True:
        batch = spool.read(session)
        found += events(batch.signals)
        spool.settle(batch)
        if not batch.more:
            return found


@contextmanager
def held(path: Path) -> Iterator[None]:
    """The lock of a spool file, by somebody who does not give it back."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def test_a_signal_is_read_as_it_was_given(spool: Spool) -> None:
    tell(spool, "stop", launch=2, seq=17, prompt="żółw \x01 🦀", nested={"a": [1, None, True, 0.5]})
    (signal,) = spool.read("a-1").signals
    assert (signal.launch, signal.seq, signal.agent, signal.event) == (2, 17, "scripted", "stop")
    assert signal.detail == {"prompt": "żółw \x01 🦀", "nested": {"a": [1, None, True, 0.5]}}
    assert signal.at.endswith("Z")
    assert len(signal.at) == 27


def test_nothing_is_nothing(spool: Spool) -> None:
    batch = spool.read("a-1")
    assert (batch.signals, batch.garbage, batch.dropped, batch.more) == ((), 0, 0, False)
    spool.settle(batch)
    assert spool.pending() == []


@pytest.mark.guards(
    "A daemon that dies after it has read signals and before they are committed reads them again.",
    against="signals that are lost by a kill -9 between the read and the commit",
    breaks=("spool-read-is-final",),
)
@pytest.mark.parametrize("point", [READ, COMMITTED], ids=lambda point: point.name)
def test_what_was_read_is_read_again_until_it_is_settled(spool: Spool, tmp_path: Path, point: faults.Point) -> None:
    tell(spool, "one")
    tell(spool, "two")
    died = HoldfastError("died here")
    with faults.armed(point, faults.raising(died)), pytest.raises(HoldfastError) as raised:
        spool.settle(spool.read("a-1"))
    assert raised.value is died
    assert spool.pending() == ["a-1"]
    assert events(spool.read("a-1").signals) == ["one", "two"]
    after = Spool(tmp_path / "spool")
    assert after.pending() == ["a-1"]
    assert drained(after) == ["one", "two"]
    assert after.pending() == []


@pytest.mark.guards(
    "A signal that comes between the read of a batch and its settlement is not lost.",
    against="a spool that is emptied with a line in it that nobody has read",
    breaks=("spool-empties-what-it-has-not-read",),
)
def test_what_comes_between_the_read_and_the_settlement_is_read_next(spool: Spool) -> None:
    tell(spool, "one")
    batch = spool.read("a-1")
    tell(spool, "two")
    spool.settle(batch)
    assert spool.pending() == ["a-1"]
    assert drained(spool) == ["two"]
    assert spool.path("a-1").stat().st_size == 0
    tell(spool, "three")
    assert drained(spool) == ["three"]


def test_signals_are_in_the_order_in_which_they_were_given(spool: Spool) -> None:
    for launch, seq in ((1, 30), (2, 10), (1, 20), (2, 5)):
        tell(spool, f"{launch}-{seq}", launch=launch, seq=seq)
    assert events(spool.read("a-1").signals) == ["1-20", "1-30", "2-5", "2-10"]


@pytest.mark.guards(
    "A line that was torn is left out and counted; it spoils neither the lines before nor those after it.",
    against="a hook that is killed as it writes and takes the next signal with it",
    breaks=("spool-torn-line-takes-the-next",),
)
def test_a_torn_line_spoils_no_other(spool: Spool) -> None:
    tell(spool, "before")
    path = spool.path("a-1")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    batch = spool.read("a-1")
    assert (events(batch.signals), batch.garbage) == (["before"], 0)
    spool.settle(batch)
    assert path.stat().st_size == len(whole) + 40
    assert events(spool.read("a-1").signals) == []
    assert spool.pending() == [], "a torn line alone is nothing to read"
    tell(spool, "after")
    assert spool.pending() == ["a-1"]
    batch = spool.read("a-1")
    assert (events(batch.signals), batch.garbage) == (["after"], 1)
    spool.settle(batch)
    assert path.stat().st_size == 0


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[]",
        b'{"launch":"1"}',
        b"\xff\xfe",
        b"{" * 100_000,
        b'{"launch":1,"seq":1}',
        b'{"launch":1,"seq":9223372036854775808,"agent":"a","event":"b","detail":{},"at":""}',
        b'{"launch":-1,"seq":1,"agent":"a","event":"b","detail":{},"at":""}',
        b'{"a":' * 5000 + b"1",
    ],
)
def test_lines_that_are_no_signals_are_counted_and_left_out(spool: Spool, line: bytes) -> None:
    tell(spool, "before")
    with spool.path("a-1").open("ab") as file:
        file.write(line + b"\n\n  \n")
    tell(spool, "after")
    batch = spool.read("a-1")
    assert (events(batch.signals), batch.garbage) == (["before", "after"], 1)


def test_a_line_longer_than_a_batch_ends_nothing(spool: Spool) -> None:
    with spool.path("a-1").open("ab") as file:
        file.write(b"x" * (2 * BATCH_BYTES + 5) + b"\n")
    tell(spool, "after")
    assert drained(spool) == ["after"]


def test_a_full_spool_is_read_in_batches_and_every_signal_is_read_or_counted(spool: Spool) -> None:
    for number in range(30):
        tell(spool, str(number), text="x" * 200_000)
    path = spool.path("a-1")
    assert path.stat().st_size <= hook.SPOOL_BYTES
    batch = spool.read("a-1")
    assert batch.more
    assert 0 < len(batch.signals) < 20
    dropped = batch.dropped
    found = drained(spool)
    assert found == [str(number) for number in range(len(found))]
    assert len(found) + dropped == 30
    assert path.stat().st_size == 0
    tell(spool, "again")
    assert drained(spool) == ["again"]


@pytest.mark.guards(
    "Signals that do not fit into the spool are counted, and the daemon is told how many there were.",
    against="signals that are dropped without a trace",
    breaks=("spool-drops-without-a-count",),
)
def test_signals_that_do_not_fit_are_counted(spool: Spool) -> None:
    tell(spool, "first")
    os.truncate(spool.path("a-1"), hook.SPOOL_BYTES)
    spool.settle(spool.read("a-1"))
    assert spool.read("a-1").dropped == 0
    tell(spool, "second")
    tell(spool, "third")
    assert "a-1" in spool.pending()
    assert spool.read("a-1").dropped == 2


def test_a_count_that_was_told_is_nothing_to_read(spool: Spool) -> None:
    hook.count_dropped(str(spool.path("a-1")))
    assert spool.pending() == ["a-1"]
    assert spool.read("a-1").dropped == 1
    assert spool.pending() == []
    assert spool.read("a-1").dropped == 1


@pytest.mark.guards(
    "A hook that cannot get the lock of the spool in time writes a file of its own, which is read like the rest.",
    against="a signal that is written into a spool while a stopped process is about to empty it",
    breaks=("hook-writes-without-the-lock",),
)
def test_a_lock_that_nobody_gives_back_loses_nothing(spool: Spool, tmp_path: Path) -> None:
    tell(spool, "one")
    path = spool.path("a-1")
    before = path.read_bytes()
    with held(path):
        tell(spool, "two")
        assert path.read_bytes() == before
        os.truncate(path, 0)
    after = Spool(tmp_path / "spool")
    assert after.pending() == ["a-1"]
    batch = after.read("a-1")
    assert (events(batch.signals), batch.dropped) == (["two"], 0)
    assert events(after.read("a-1").signals) == ["two"]
    after.settle(batch)
    assert (after.pending(), drained(after)) == ([], [])


def test_files_of_single_hooks_are_bounded(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "_LOCK_SECONDS", 0.0)
    monkeypatch.setattr(hook, "ASIDE_FILES", 3)
    with held(spool.path("a-1")):
        for number in range(6):
            tell(spool, str(number))
    batch = spool.read("a-1")
    assert events(batch.signals) == ["0", "1", "2"]
    assert batch.dropped == 3


def test_a_file_that_its_hook_has_not_finished_is_left_alone(spool: Spool) -> None:
    path = spool.path("a-1")
    unfinished = path.with_name(f"{path.name}.1-5")
    unfinished.write_bytes(b'{"launch":1')
    batch = spool.read("a-1")
    assert (batch.signals, batch.garbage) == ((), 0)
    spool.settle(batch)
    assert unfinished.exists()


def test_a_spool_that_is_locked_is_not_emptied_and_not_read_twice(spool: Spool) -> None:
    tell(spool, "one")
    with held(spool.path("a-1")):
        assert drained(spool) == ["one"]
        assert spool.path("a-1").stat().st_size > 0
        assert spool.pending() == []
    assert drained(spool) == []
    tell(spool, "two")
    assert drained(spool) == ["two"]
    assert spool.path("a-1").stat().st_size == 0


def test_signals_that_came_by_a_call_are_not_read_again(spool: Spool) -> None:
    tell(spool, "one", seq=1_000_001)
    tell(spool, "two", seq=1_000_002)
    spool.called("a-1", 1, 1_000_001)
    assert drained(spool) == ["two"]
    assert spool.path("a-1").stat().st_size == 0


def test_only_the_sessions_with_something_to_read_are_pending(spool: Spool) -> None:
    for session in ("b-2", "a-10", "c-1"):
        tell(spool, "stop", session=session)
    assert drained(spool, "c-1") == ["stop"]
    assert spool.pending() == ["a-10", "b-2"]


def test_nothing_is_left_of_a_session_that_is_forgotten(spool: Spool, tmp_path: Path) -> None:
    tell(spool, "one", session="a-10")
    tell(spool, "one")
    hook.count_dropped(str(spool.path("a-1")))
    with held(spool.path("a-1")):
        tell(spool, "two")
    spool.forget("a-1")
    spool.forget("a-1")
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["a-10.jsonl"]


def test_nobody_else_reads_the_spool(spool: Spool, tmp_path: Path) -> None:
    tell(spool, "one")
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert spool.path("a-1").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("session", ["", "../a-1", "a/b", "A-1", "a.jsonl", "a\n", "-a"])
def test_what_is_no_id_of_a_session_has_no_spool(spool: Spool, session: str) -> None:
    with pytest.raises(Invalid, match="no id of a session"):
        spool.path(session)


def test_random_histories_of_hooks_and_daemons_lose_nothing(spool: Spool, tmp_path: Path) -> None:
    """Hooks, reads, commits, settlements and deaths in any order: each signal is committed, in the end."""
    chance = random.Random(7)
    given: list[str] = []
    committed: list[str] = []
    reader, batch = spool, spool.read("a-1")

    def give() -> None:
        given.append(str(len(given)))
        tell(reader, given[-1], text="x" * chance.choice([1, 1000, 100_000]))

    def read() -> None:
        nonlocal batch
        batch = reader.read("a-1")
        committed.extend(events(batch.signals))

    def die() -> None:
        nonlocal reader, batch
        reader = Spool(tmp_path / "spool")
        batch = reader.read("a-1")
        committed.extend(events(batch.signals))

    def settle() -> None:
        nonlocal batch
        reader.settle(batch)
        batch = reader.read("a-1")
        committed.extend(events(batch.signals))

    steps: list[Callable[[], None]] = [give, give, read, settle, settle, die]
    for _ in range(600):
        chance.choice(steps)()
    committed += drained(reader)
    assert reader.read("a-1").dropped == 0
    assert len(given) > 100
    assert set(committed) == set(given)
