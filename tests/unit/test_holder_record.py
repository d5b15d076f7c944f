"""What a holder records, read by the reader of recordings."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from holdfast.fleet.runtimes.holder.record import Recorder
from holdfast.fleet.runtimes.recording import SEGMENT_BYTES, Gap, Recording, segment


def recorder(recording: Recording, kept: int = 64) -> Recorder:
    return Recorder(str(segment(recording.begin(), 0)), kept)


def test_what_was_written_is_read_at_its_offsets_over_segments_and_launches(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "output")
    data = b"".join(b"%09d\n" % number for number in range(SEGMENT_BYTES // 4))
    first = recorder(recording)
    for at in range(0, len(data), 5000):
        first.write(data[at : at + 5000])
    recorder(recording).write(b"the next launch")
    assert recording.size() == len(data) + len(b"the next launch")
    assert recording.read(0, len(data)).data == data
    assert recording.read(len(data), 100).data == b"the next launch"
    assert recording.gaps() == []


@pytest.mark.guards(
    "What a holder records is a ring: the newest segments are kept, under offsets that never change.",
    against="an agent that shows the same line for a night and fills the disk",
    breaks=("holder-keeps-every-segment",),
)
def test_the_oldest_segments_make_room_for_the_newest(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "output")
    made = recorder(recording, kept=3)
    for number in range(7):
        made.write(bytes([48 + number]) * SEGMENT_BYTES)
    made.write(b"end")
    assert len(list(recording.folder.iterdir())) == 3
    assert recording.start() == 5 * SEGMENT_BYTES
    assert recording.size() == 7 * SEGMENT_BYTES + 3
    assert recording.read(6 * SEGMENT_BYTES - 1, 2).data == b"56"


@pytest.mark.guards(
    "Output that the disk did not take leaves a gap of its size, and recording goes on when there is room.",
    against="offsets that shift by what was lost, so that a text is looked for in the wrong place and found missing",
    breaks=("holder-forgets-what-it-lost",),
)
def test_a_full_disk_leaves_a_gap_of_the_size_of_what_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(tmp_path / "output")
    made = recorder(recording)
    made.write(b"before")
    with monkeypatch.context() as full:

        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(os, "write", refuse)
        made.write(b"lost")
        for _ in range(100):
            made.write(b"lost too")
    made.write(b"after")
    assert recording.gaps() == [Gap(6, 810)]
    assert recording.read(0, 100).data == b"before"
    after = recording.read(6, 100)
    assert (after.offset, after.data, after.missed) == (810, b"after", 804)
    assert len(list(recording.folder.iterdir())) == 2
