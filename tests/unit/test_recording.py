"""Recordings: segments that a reader puts together again, whatever was pruned, lost or not recorded."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from holdfast.fleet.runtimes.recording import SEGMENT_BYTES, SEGMENTS, Chunk, Gap, Recording, command, segment

SIZE = SEGMENT_BYTES


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path / 'it\'s a "folder"; $HOME')


def record(recording: Recording, data: bytes, *, interrupted: bool = False) -> Path:
    """What a recorder does."""
    prefix = recording.begin(interrupted=interrupted)
    subprocess.run(["/bin/sh", "-c", command(prefix)], input=data, check=True, env={"PATH": os.environ["PATH"]})
    return prefix


def everything(recording: Recording, limit: int = 100_000) -> tuple[bytes, list[Gap]]:
    parts, gaps, at = [], [], 0
    while (chunk := recording.read(at, limit)).data:
        if chunk.missed:
            gaps.append(Gap(at, chunk.offset))
        parts.append(chunk.data)
        at = chunk.next
    return b"".join(parts), gaps


def test_nothing_is_recorded_yet(recording: Recording) -> None:
    assert (recording.size(), recording.start(), recording.gaps(), recording.last_output_at()) == (0, 0, [], None)
    assert recording.read(0, 10) == recording.tail(10) == Chunk(0, b"", 0, 0)
    recording.begin()
    assert (recording.size(), recording.last_output_at()) == (0, None)
    assert recording.read(7, 10) == Chunk(7, b"", 7, 0)


def test_what_goes_in_comes_out_in_pieces_of_any_size(recording: Recording) -> None:
    data = os.urandom(2 * SIZE + 12_345)
    record(recording, data)
    assert [each.end - each.start for each in recording.segments()] == [SIZE, SIZE, 12_345]
    for limit in (1_000_003, SIZE, 70_000):
        assert everything(recording, limit) == (data, [])
    assert recording.read(SIZE - 3, 6) == Chunk(SIZE - 3, data[SIZE - 3 : SIZE + 3], SIZE + 3, 0)
    assert recording.tail(SIZE).data == data[-SIZE:]
    assert recording.tail(10 * SIZE).data == data


def test_every_byte_is_there_at_once(recording: Recording) -> None:
    prefix = recording.begin()
    recorder = subprocess.Popen(["/bin/sh", "-c", command(prefix)], stdin=subprocess.PIPE)
    assert recorder.stdin is not None
    for number in range(5):
        recorder.stdin.write(b"%d" % number)
        recorder.stdin.flush()
        while recording.size() <= number:
            os.sched_yield()
    assert everything(recording)[0] == b"01234"
    recorder.stdin.close()
    recorder.wait()


def test_the_oldest_go_when_the_ring_is_full(recording: Recording) -> None:
    data = os.urandom(SIZE) * (SEGMENTS + 3) + b"end"
    record(recording, data)
    assert len(recording.segments()) == SEGMENTS
    assert (recording.start(), recording.size()) == (4 * SIZE, len(data))
    chunk = recording.read(5, 10)
    assert (chunk.offset, chunk.missed, chunk.data) == (4 * SIZE, 4 * SIZE - 5, data[:10])
    assert recording.tail(3).data == b"end"


def test_a_new_generation_goes_on_where_the_last_one_ended(recording: Recording) -> None:
    record(recording, b"one")
    record(recording, b"")
    record(recording, b"two")
    assert everything(recording) == (b"onetwo", [])
    assert recording.gaps() == []


@pytest.mark.guards(
    "what was not recorded can be seen in what was",
    against="two halves of an output that read as one",
    breaks=("recording-joins-what-was-apart",),
)
def test_an_interruption_is_a_gap(recording: Recording) -> None:
    record(recording, b"before")
    record(recording, b"after", interrupted=True)
    assert recording.gaps() == [Gap(6, 7)]
    assert everything(recording) == (b"beforeafter", [Gap(6, 7)])
    assert recording.read(0, 100) == Chunk(0, b"before", 6, 0)
    assert recording.read(6, 100) == Chunk(7, b"after", 12, 1)
    assert recording.tail(100) == Chunk(7, b"after", 12, 0)


def test_what_a_writer_lost_is_a_gap(recording: Recording) -> None:
    prefix = recording.begin()
    segment(prefix, 0).write_bytes(b"x" * (SIZE - 10))
    segment(prefix, 1).write_bytes(b"y" * 5)
    assert recording.gaps() == [Gap(SIZE - 10, SIZE)]
    assert recording.read(SIZE - 12, 100) == Chunk(SIZE - 12, b"xx", SIZE - 10, 0)
    assert recording.read(SIZE - 10, 100) == Chunk(SIZE, b"yyyyy", SIZE + 5, 10)


def test_pruning_keeps_offsets_and_the_newest(recording: Recording) -> None:
    data = os.urandom(3 * SIZE + 7)
    record(recording, data)
    assert recording.prune(10 * SIZE) == 0
    assert recording.prune(SIZE) == 2 * SIZE
    assert (recording.start(), recording.size()) == (2 * SIZE, len(data))
    assert recording.read(2 * SIZE, 10 * SIZE).data == data[2 * SIZE :]
    assert recording.prune(0) == SIZE
    assert recording.read(0, 100) == Chunk(3 * SIZE, data[-7:], len(data), 3 * SIZE)
    record(recording, b"more")
    assert recording.tail(100).data == data[-7:] + b"more"


def test_all_generations_together_stay_in_bounds(recording: Recording) -> None:
    for _ in range(3):
        record(recording, bytes(SIZE * (SEGMENTS - 1)))
    total = sum(each.end - each.start for each in recording.segments())
    assert total <= 2 * SIZE * SEGMENTS
    recording.begin()
    assert sum(each.end - each.start for each in recording.segments()) <= SIZE * (SEGMENTS + 1)


def test_strange_files_are_left_alone(recording: Recording) -> None:
    record(recording, b"text")
    for name in ("notes", "1-2.3", "a-b-c.d", "000000-000-262144", ".000000-0-1.0"):
        (recording.folder / name).write_bytes(b"strange")
    assert everything(recording) == (b"text", [])


def test_a_recorder_that_outlives_its_turn_does_not_mix_in(recording: Recording) -> None:
    old = record(recording, b"old")
    record(recording, b"new")
    with segment(old, 0).open("ab") as late:
        late.write(b" and late")
    assert everything(recording) == (b"oldnew", [])
