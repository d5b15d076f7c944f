"""What is particular to the runtime `process`: holders of their own, found by their files."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from holdfast.core.errors import Invalid
from holdfast.fleet import processes
from holdfast.fleet.runtimes.port import COLUMNS, ROWS, NotThere, Pane, RuntimeFailed
from holdfast.fleet.runtimes.process import ProcessRuntime
from runtimes import PATIENCE, RUNTIMES, Kind, Stage, ended, written

NAME = "hf0-demo-1"
#: Says when it is there, and never reads.
DEAF = "import os, signal, tty; tty.setraw(0); os.write(1, b'ready'); signal.pause()"
#: Reads without a terminal's help, and says in hexadecimal what it got.
LISTENING = """
import os, sys, tty
tty.setraw(0)
os.write(1, sys.argv[1].encode().decode("unicode_escape").encode() + b"ready ")
while data := os.read(0, 4096):
    os.write(1, data.hex().encode() + b" ")
"""


@pytest.fixture
def kind() -> Kind:
    """This runtime alone, with little patience for those that do not answer."""

    def make(home: Path, store: str) -> ProcessRuntime:
        return ProcessRuntime(home, store, answer_seconds=2, paste_seconds=0.5, look_seconds=0.3)

    found = next(each for each in RUNTIMES if each.name == "process")
    return Kind(found.name, make, found.torn)


def files(stage: Stage) -> Path:
    """Where the files of all places are."""
    return stage.home / "process"


async def pane(stage: Stage, name: str = NAME) -> Pane:
    """One look at one place."""
    return (await stage.runtime.look()).panes[name]


def ticks(pid: int) -> int:
    """Processor time, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# --- starting ------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "However many launch the same place at once, one agent is started, and all of them find it.",
    against="two agents in one worktree, or one that nobody knows of",
    breaks=("holder-starts-twice",),
)
async def test_many_daemons_that_launch_the_same_at_once_start_one_agent(stage: Stage) -> None:
    marks = stage.folder / "marks"
    place = stage.place(NAME, "sh", "-c", f"echo x >>{marks}; echo started; exec sleep 1000")
    handles = await asyncio.gather(*(stage.kind.make(stage.home, stage.store).launch(place) for _ in range(6)))
    assert len(set(handles)) == 1
    actor = await stage.launch(NAME, *place.argv)
    await actor.shows(b"started")
    assert marks.read_text() == "x\n"
    assert [each.pid for each in stage.owned()] == [actor.handle.process.pid]


@pytest.mark.guards(
    "The agent runs only once its identity is on the disk.",
    against="an agent that was started by a holder which died before anybody could know of it",
    breaks=("holder-lets-the-agent-go-first",),
)
async def test_an_agent_whose_identity_cannot_be_written_never_runs(stage: Stage) -> None:
    marks = stage.folder / "marks"
    script = f"echo x >>{marks}; echo started; exec sleep 1000"
    blocked = files(stage) / f"{NAME}.place.new"
    blocked.mkdir(parents=True)
    with pytest.raises(RuntimeFailed, match="IsADirectoryError"):
        await stage.shell(NAME, script)
    assert await stage.runtime.find(NAME) is None
    blocked.rmdir()
    # What the first holder left behind, its lock above all, is in nobody's way.
    await (await stage.shell(NAME, script)).shows(b"started")
    assert marks.read_text() == "x\n"


async def test_a_program_that_the_kernel_refuses_is_refused_and_leaves_nothing(stage: Stage) -> None:
    script = stage.work / "agent"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(0o755)
    with pytest.raises(Invalid, match="No such file or directory"):
        await stage.launch(NAME, "./agent")
    assert await stage.runtime.find(NAME) is None
    assert list(files(stage).iterdir()) == []


@pytest.mark.guards(
    "A holder has nothing of the daemon's: not its environment, not an open file, whichever event loop started it.",
    against="a token that anybody of this user reads in the environment of a process that outlives the daemon",
    breaks=("holder-keeps-the-daemons-files", "holder-keeps-the-daemons-environment"),
)
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_holder_has_nothing_of_the_daemon(
    kind: Kind,
    tmp_path: Path,
    sockets: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    monkeypatch.setenv("DAEMON_SECRET", "hunter2")
    stage = Stage(kind, tmp_path / "data")
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    pipe = str(Path(f"/proc/self/fd/{writing}").readlink())

    async def live() -> None:
        actor = await stage.python(NAME, LISTENING, "", AGENT_SECRET="swordfish")
        await actor.shows(b"ready")
        for pid in (actor.handle.server.pid, actor.handle.process.pid):
            folder = Path(f"/proc/{pid}")
            assert b"hunter2" not in (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            assert pipe not in {str(each.readlink()) for each in (folder / "fd").iterdir()}
        assert b"swordfish" in Path(f"/proc/{actor.handle.process.pid}/environ").read_bytes()
        assert b"swordfish" not in Path(f"/proc/{actor.handle.server.pid}/environ").read_bytes()
        assert {each.name for each in Path(f"/proc/{actor.handle.process.pid}/fd").iterdir()} == {"0", "1", "2"}

    async def all_of_it() -> None:
        try:
            await live()
        finally:
            await stage.clear()

    try:
        run(all_of_it())
    finally:
        os.close(reading)
        os.close(writing)


def test_a_holder_loads_next_to_nothing() -> None:
    main = Path("src/holdfast/fleet/runtimes/holder/__main__.py").absolute()
    command = [sys.executable, "-I", "-S", "-E", "-X", "importtime", str(main), "hold"]
    told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stderr
    loaded = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    assert "holdfast.fleet.runtimes.holder.terminal" in loaded
    slow = {"re", "typing", "pathlib", "json", "subprocess", "asyncio", "msgspec", "logging", "holdfast.core"}
    assert loaded & slow == set()


# --- looking -------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A holder that is stopped is a failed look at its own place only, and nothing once it goes on.",
    against="one hanging process that is read as a death, or as an outage of all",
    breaks=("holder-stopped-is-alive",),
)
async def test_a_stopped_holder_is_failed_and_then_alive(stage: Stage) -> None:
    stopped = await stage.launch(NAME, "sleep", "1000")
    await stage.launch("other", "sleep", "1000")
    os.kill(stopped.handle.server.pid, signal.SIGSTOP)
    await stopped.pane(lambda pane: pane.verdict == "failed")
    assert (await pane(stage, "other")).verdict == "alive"
    assert (await stage.runtime.look()).server == "alive"
    with pytest.raises(RuntimeFailed, match="did not answer"):
        await stage.runtime.screen(stopped.handle)
    os.kill(stopped.handle.server.pid, signal.SIGCONT)
    await stopped.pane(lambda pane: pane.verdict == "alive")


@pytest.mark.guards(
    "The end of an agent whose holder was killed before it was known stays unknown: missing, and no exit status.",
    against="a crash that is shown as success",
    breaks=("holder-killed-is-success",),
)
async def test_a_killed_holder_is_missing_without_a_status_and_hangs_up_its_agent(stage: Stage) -> None:
    actor = await stage.launch(NAME, "sleep", "1000")
    handle, runtime = actor.handle, stage.runtime
    os.kill(handle.server.pid, signal.SIGKILL)
    await ended(handle.server)
    await actor.ended()
    assert await pane(stage) == Pane(NAME, "missing")
    assert await runtime.find(NAME) == handle
    for asked in (runtime.screen(handle), runtime.paste(handle, "x"), runtime.press(handle, "enter")):
        with pytest.raises(NotThere):
            await asked
    await runtime.forget(NAME)
    assert list(files(stage).iterdir()) == []


@pytest.mark.guards(
    "How an agent ended is on the disk: it is known after its holder is gone.",
    against="an end that nobody knows any more because the daemon was not there when it came",
    breaks=("holder-keeps-the-end-to-itself",),
)
async def test_an_end_outlives_the_holder(stage: Stage) -> None:
    actor = await stage.shell(NAME, "exit 7")
    await written(files(stage), (files(stage) / f"{NAME}.end").exists)
    os.kill(actor.handle.server.pid, signal.SIGKILL)
    await ended(actor.handle.server)
    assert await pane(stage) == Pane(NAME, "dead", exit_status=7)
    stage.again()
    assert await pane(stage) == Pane(NAME, "dead", exit_status=7)


async def test_an_end_that_could_not_be_written_is_asked_for(stage: Stage) -> None:
    actor = await stage.shell(NAME, "read go; exit 7")
    blocked = files(stage) / f"{NAME}.end.new"
    blocked.mkdir()
    await stage.runtime.press(actor.handle, "enter")
    assert await actor.end_of() == Pane(NAME, "dead", exit_status=7)
    assert not (files(stage) / f"{NAME}.end").exists()
    blocked.rmdir()


@pytest.mark.guards(
    "A look asks no holder whose files and processes are clear: at idle all of them sleep.",
    against="forty processes that wake up for every look at them",
    breaks=("holder-is-asked-at-every-look",),
)
async def test_a_look_asks_no_holder_that_is_well(stage: Stage) -> None:
    actor = await stage.launch(NAME, "sleep", "1000")
    socket = Path(stage.runtime.attach(actor.handle)[-1])
    socket.unlink()
    for _ in range(20):
        assert (await pane(stage)).verdict == "alive"
    assert not socket.exists()
    # Whoever is asked makes its socket again, so that a look that had asked would have left one.
    await stage.runtime.screen(actor.handle)
    assert socket.exists()


async def test_nothing_is_known_where_nothing_was_started_and_damage_is_no_death(stage: Stage) -> None:
    assert (await stage.runtime.look()).server == "missing"
    await stage.launch(NAME, "sleep", "1000")
    file = files(stage) / f"{NAME}.place"
    whole = file.read_bytes()
    file.write_bytes(b'{"version":1')
    assert (await pane(stage)).verdict == "failed"
    for refused in (stage.runtime.find(NAME), stage.runtime.forget(NAME), stage.launch(NAME, "sleep", "1000")):
        with pytest.raises(RuntimeFailed, match="cannot be read"):
            await refused
    file.write_bytes(whole)
    assert (await pane(stage)).verdict == "alive"


# --- reaching ------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A holder whose socket somebody cleaned away, with the folder that it was in, is reached all the same.",
    against="agents that are lost because a log-out removed the run-time folder of their user",
    breaks=("holder-is-lost-with-its-socket",),
)
async def test_a_socket_that_was_cleaned_away_is_made_again(stage: Stage) -> None:
    actor = await stage.shell(NAME, "echo here; exec sleep 1000")
    await actor.shows(b"here")
    folder = Path(stage.runtime.attach(actor.handle)[-1]).parent
    shutil.rmtree(folder)
    assert (await stage.runtime.screen(actor.handle)).lines[0] == "here"
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.guards(
    "An agent that does not read holds up nobody: the paste fails in time, and everything else goes on.",
    against="a daemon that waits for ever on an agent that hangs",
    breaks=("holder-waits-for-the-agent",),
)
async def test_an_agent_that_does_not_read_holds_up_nobody(stage: Stage) -> None:
    actor = await stage.python(NAME, DEAF)
    await actor.shows(b"ready")
    for _ in range(4):
        with pytest.raises(RuntimeFailed):
            await stage.runtime.paste(actor.handle, "x" * 900_000)
    assert (await stage.runtime.screen(actor.handle)).lines[0] == "ready"
    assert (await pane(stage)).verdict == "alive"
    spent = ticks(actor.handle.server.pid)
    with pytest.raises(RuntimeFailed):
        await stage.runtime.paste(actor.handle, "x")
    assert ticks(actor.handle.server.pid) - spent <= 5  # all of that half second would be 50
    await asyncio.to_thread(processes.end, [actor.handle.process], 5)
    assert (await actor.end_of()).exit_signal == signal.SIGTERM


@pytest.mark.guards(
    "A paste is put between marks where the agent asked for that, and only there.",
    against="a prompt of many lines that is submitted at its first one",
    breaks=("holder-never-brackets",),
)
@pytest.mark.parametrize(
    ("says", "typed"),
    [("", "a\nb"), (r"\x1b[?2004h", "\x1b[200~a\nb\x1b[201~"), (r"\x1b[?2004h\x1b[?2004l", "a\nb")],
    ids=["never", "asked for", "taken back"],
)
async def test_a_paste_has_marks_where_they_were_asked_for(stage: Stage, says: str, typed: str) -> None:
    actor = await stage.python(NAME, LISTENING, says)
    await actor.shows(b"ready")
    await stage.runtime.paste(actor.handle, "a\nb")
    await stage.runtime.press(actor.handle, "escape")

    def got() -> bytes:
        return bytes.fromhex(actor.output().decode().partition("ready ")[2])

    await written(actor.place.record, lambda: got().endswith(b"\x1b"))
    assert got() == typed.encode() + b"\x1b"


async def test_an_agent_that_asks_its_terminal_where_it_stands_is_answered(stage: Stage) -> None:
    actor = await stage.python(NAME, LISTENING, r"\x1b[2J\x1b[3;9H\x1b[6n\x1b[c")
    await actor.shows(b"\x1b[3;9R\x1b[?1;2c".hex().encode())


async def test_the_socket_of_another_process_is_not_talked_to(stage: Stage) -> None:
    actor = await stage.launch(NAME, "sleep", "1000")
    path = Path(stage.runtime.attach(actor.handle)[-1])
    path.unlink()
    async with await asyncio.start_unix_server(lambda *_: None, path):
        with pytest.raises(RuntimeFailed, match="not the holder"):
            await stage.runtime.press(actor.handle, "enter")


async def test_a_person_joins_types_and_leaves_and_the_agent_goes_on(stage: Stage) -> None:
    actor = await stage.shell(NAME, "stty -echo; echo before; while read line; do echo got $line; stty size; done")
    await actor.shows(b"before")
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "rows", "30", "cols", "90"], stdin=theirs, check=True)
    person = subprocess.Popen(list(stage.runtime.attach(actor.handle)), stdin=theirs, stdout=theirs, stderr=theirs)
    seen = b""

    async def sees(text: bytes) -> None:
        nonlocal seen
        async with asyncio.timeout(PATIENCE):
            while text not in seen:
                seen += await asyncio.to_thread(os.read, ours, 65_536)

    try:
        await sees(b"\x1b[2Jbefore")
        os.write(ours, b"hello\r")
        await sees(b"got hello\r\n30 90")
        os.write(ours, b"\x1d")
        await sees(b"\x1b[?2004l")
        assert await asyncio.to_thread(person.wait, PATIENCE) == 0
    finally:
        person.kill()
        person.wait()
        os.close(ours)
        os.close(theirs)
    await stage.runtime.paste(actor.handle, "on")
    await stage.runtime.press(actor.handle, "enter")
    await actor.shows(f"got on\r\n{ROWS} {COLUMNS}".encode())


@pytest.mark.guards(
    "A holder survives whatever is said to its socket, and hears others meanwhile.",
    against="an agent that is hung up because somebody spoke nonsense",
    breaks=("holder-falls-over-nonsense",),
)
async def test_what_speaks_nonsense_is_shown_out_and_harms_nobody(stage: Stage) -> None:
    actor = await stage.shell(NAME, "echo here; exec sleep 1000")
    await actor.shows(b"here")
    path = stage.runtime.attach(actor.handle)[-1]
    for nonsense in (
        b"P\xff\xff\xff\xff",
        b"A\x00\x00\x00\x03a b",
        b"A\x00\x00\x00\x010",
        b"A\x00\x00\x00\x089999 999",
    ):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(nonsense)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
    idle = [await asyncio.open_unix_connection(path) for _ in range(50)]
    assert (await stage.runtime.screen(actor.handle)).lines[0] == "here"
    for _, writer in idle:
        writer.close()
