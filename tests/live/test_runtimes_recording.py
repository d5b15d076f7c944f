"""What every runtime records of an agent: everything, at offsets that stay, in bounded files, without the daemon."""

from __future__ import annotations

import hashlib

import pytest

from holdfast.fleet.runtimes.recording import SEGMENT_BYTES, SEGMENTS
from runtimes import Stage, daemon, handles

# Writes numbered lines of 100 bytes: every byte says where it stands.
LINES = """
import os, sys, tty
tty.setraw(0)
first, last = int(sys.argv[1]), int(sys.argv[2])
for number in range(first, last, 500):
    data = b"".join(b"%099d\\n" % each for each in range(number, min(last, number + 500)))
    while data:
        data = data[os.write(1, data):]
os.write(1, b"done")
os.read(0, 1)
"""


def lines(first: int, last: int) -> bytes:
    return b"".join(b"%099d\n" % number for number in range(first, last))


async def test_everything_is_recorded_from_the_first_byte_on(stage: Stage) -> None:
    count = 3 * SEGMENT_BYTES // 100
    actor = await stage.python("hf0-all-1", LINES, "0", str(count))
    assert await actor.shows(b"done") == lines(0, count) + b"done"
    recording = actor.recording
    assert (recording.start(), recording.size(), recording.gaps()) == (0, count * 100 + 4, [])
    chunk = recording.read(2 * SEGMENT_BYTES - 5, 10)
    assert chunk == (2 * SEGMENT_BYTES - 5, lines(0, count)[2 * SEGMENT_BYTES - 5 :][:10], 2 * SEGMENT_BYTES + 5, 0)
    assert recording.tail(7).data == lines(count - 1, count)[-3:] + b"done"
    assert recording.last_output_at() is not None


@pytest.mark.guards(
    "all of an agent's output is recorded, from its first byte, however short it lives",
    against="an answer of the agent that nobody can read any more",
    breaks=("tmux-records-late",),
)
async def test_what_a_quick_agent_said_is_recorded(stage: Stage) -> None:
    for number in range(10):
        actor = await stage.shell(f"hf0-said-{number}", f"printf 'said {number}'")
        assert await actor.shows(f"said {number}".encode()) == f"said {number}".encode()


@pytest.mark.slow
@pytest.mark.guards(
    "recorded output stays within its bound, and the newest of it is what is kept",
    against="a disk filled by one agent that floods its terminal",
    breaks=("recording-keeps-everything",),
)
async def test_a_flood_is_recorded_within_bounds_and_its_end_is_kept(stage: Stage) -> None:
    count = 500_000
    actor = await stage.python("hf0-flood-1", LINES, "0", str(count))
    recording = actor.recording
    await actor.pane(lambda pane: recording.size() == count * 100 + 4)
    kept = sum(each.stat().st_size for each in actor.place.record.iterdir())
    assert kept <= SEGMENT_BYTES * (SEGMENTS + 1)
    assert recording.size() - recording.start() >= SEGMENT_BYTES * (SEGMENTS - 1)
    assert recording.gaps() == []
    first = -(-recording.start() // 100)
    at = first * 100
    digest = hashlib.sha256()
    while (chunk := recording.read(at, 1 << 20)).data:
        assert (chunk.offset, chunk.missed) == (at, 0)
        digest.update(chunk.data)
        at = chunk.next
    assert digest.digest() == hashlib.sha256(lines(first, count) + b"done").digest()
    assert recording.read(0, 1).missed == recording.start()


async def test_recording_goes_on_while_the_daemon_is_dead(stage: Stage) -> None:
    place = stage.place("hf0-alone-1", "sh", "-c", "echo before; read x; echo $x; exec sleep 1000")
    with daemon(stage, [place]) as child:
        (handle,) = handles(child)
        stage.servers.add(handle.server)
    actor = await stage.launch(place.name, *place.argv)
    await actor.shows(b"before")
    size = actor.recording.size()
    await stage.runtime.paste(handle, "after")
    await stage.runtime.press(handle, "enter")
    await actor.shows(b"after\r\nafter")
    chunk = actor.recording.read(size, 100)
    assert (chunk.data, chunk.missed) == (b"after\r\nafter\r\n", 0)


async def test_the_next_launch_records_after_the_last_one(stage: Stage) -> None:
    first = await stage.shell("hf0-next-1", "printf first")
    await first.shows(b"first")
    await first.end_of()
    await stage.runtime.forget("hf0-next-1")
    place = stage.place("hf0-next-2", "sh", "-c", "printf second; exec sleep 1000")
    again = type(place)(place.name, place.cwd, place.argv, place.env, first.place.record)
    await stage.runtime.launch(again)
    assert await first.shows(b"second") == b"firstsecond"
    assert first.recording.gaps() == []
