"""What is particular to the runtime in tmux: one server, one client, and the errors of tmux that are worked around."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.core.errors import Invalid
from holdfast.fleet import processes
from holdfast.fleet.runtimes.port import COLUMNS, ROWS, NotThere, RuntimeFailed
from holdfast.fleet.runtimes.recording import Gap
from holdfast.fleet.runtimes.tmux import TmuxRuntime
from holdfast.fleet.runtimes.tmux_server import BUFFER
from runtimes import RUNTIMES, Kind, Stage, ended, written

pytestmark = pytest.mark.needs("tmux")
TMUX = next(kind for kind in RUNTIMES if kind.name == "tmux")

# Lets go of its terminal first and ends a little later, while tmux signs the terminal off.
AFTERWARDS = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.closerange(0, 3)
until = time.perf_counter() + float(sys.argv[1])
while time.perf_counter() < until:
    pass
os._exit(3)
"""


@pytest.fixture
def tmux(new_stage: Callable[[Kind, str], Stage]) -> Stage:
    return new_stage(TMUX, "data")


def runtime(stage: Stage) -> TmuxRuntime:
    assert isinstance(stage.runtime, TmuxRuntime)
    return stage.runtime


async def ask(stage: Stage, *commands: str) -> list[list[bytes]]:
    """Ask the server something that the runtime itself does not ask."""
    return await (await runtime(stage)._server.control()).ask(*commands, seconds=5)


def forks() -> int:
    """How many processes this machine has ever started."""
    text = Path("/proc/stat").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("processes "))


def _cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


async def test_it_can_be_used_here(tmux: Stage) -> None:
    assert tmux.runtime.available() is None


async def test_what_is_missing_is_said(tmux: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "tmux is not installed" in str(tmux.runtime.available())
    for name, said in (("tmux", "echo tmux 2.9a"), ("split", "echo no such thing")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{said}\n")
        (tmp_path / name).chmod(0o755)
    assert "2.9a is too old" in str(tmux.runtime.available())
    (tmp_path / "tmux").write_text("#!/bin/sh\necho tmux next-3.6\n")
    assert "coreutils" in str(tmux.runtime.available())


async def test_the_server_is_in_nobodys_session_and_holds_nothing_of_the_daemon(
    tmux: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    actor = await tmux.shell("hf0-server-1", "exec sleep 1000", HOLDFAST_TOKEN="hf-secret")
    server = actor.handle.server.pid
    stat = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    assert (int(stat[1]), int(stat[3])) == (1, server), "its parent is init and it leads its own session"
    environ = Path(f"/proc/{server}/environ").read_bytes()
    assert b"SOME_API_KEY" not in environ
    assert b"HOLDFAST_" not in environ
    held = [str(each.readlink()) for each in Path(f"/proc/{server}/fd").iterdir()]
    assert not [path for path in held if str(tmux.folder) in path]
    assert Path(f"/proc/{server}/cwd").readlink() == Path("/")
    assert tmux.owned() == [actor.handle.process], "neither the server nor a recorder passes for the session's"


@pytest.mark.guards(
    "a paste or key for an agent that has ended does not reach tmux",
    against="tmux 3.3a crashing on a paste into a dead pane, and every session with it",
    breaks=("tmux-pastes-into-dead-panes",),
)
async def test_a_paste_into_a_dead_pane_does_not_take_the_server_down(tmux: Stage) -> None:
    actor = await tmux.shell("hf0-gone-1", "exit 0")
    await actor.end_of()
    with pytest.raises(NotThere):
        await tmux.runtime.paste(actor.handle, "hello")
    assert processes.state(actor.handle.server) == "alive"
    assert (await ask(tmux, "list-buffers")) == [[]]


@pytest.mark.guards(
    "an exit status that tmux missed is found out",
    against="tmux 3.3a showing a dead pane without a status until some other child ends",
    breaks=("tmux-waits-for-another-end",),
)
async def test_an_end_that_tmux_missed_is_told_all_the_same(tmux: Stage) -> None:
    for number in range(24):  # one after the other: the next one's end would tell of the one before
        actor = await tmux.python(f"hf0-missed-{number}", AFTERWARDS, str(number * 0.00025))
        assert (await actor.end_of()).exit_status == 3


@pytest.mark.guards(
    "looking at everything costs no fork",
    against="one tmux process per session and poll",
    breaks=("tmux-looks-by-forking",),
)
async def test_looks_fork_nothing(tmux: Stage) -> None:
    for number in range(5):
        await tmux.shell(f"hf0-idle-{number}", "exec sleep 1000")
    await tmux.runtime.look()
    counts = []
    for _ in range(5):  # others fork too on this machine: one quiet round proves it
        before = forks()
        for _ in range(20):
            await tmux.runtime.look()
        counts.append(forks() - before)
    assert min(counts) < 20, counts


async def test_the_client_hears_nothing_of_what_agents_say(tmux: Stage) -> None:
    heard = bytearray()
    actor = await tmux.shell("hf0-loud-1", "read x; seq 1 20000; echo done; exec sleep 1000")
    control = await runtime(tmux)._server.control()
    feed = control._answers.feed
    control._answers.feed = lambda data: (heard.extend(data), feed(data))[1]  # type: ignore[method-assign]
    await tmux.runtime.press(actor.handle, "enter")
    await actor.shows(b"done")
    await tmux.runtime.look()
    assert len(heard) < 4_000
    assert b"19999" not in heard


@pytest.mark.slow
async def test_a_stopped_server_is_a_failed_look_and_one_that_goes_on_is_alive(tmux: Stage) -> None:
    actor = await tmux.shell("hf0-stopped-1", "exec sleep 1000")
    os.kill(actor.handle.server.pid, signal.SIGSTOP)
    try:
        look = await tmux.runtime.look()
        assert (look.server, dict(look.panes)) == ("failed", {})
        assert "did not answer" in look.detail
        control = await runtime(tmux)._server.control()
        for _ in range(3):
            with pytest.raises(RuntimeFailed):
                await control.ask("list-buffers", seconds=0.05)
        assert len(control._questions) == 1, "what waits for a server that hangs does not pile up"
    finally:
        os.kill(actor.handle.server.pid, signal.SIGCONT)
    assert (await tmux.runtime.look()).server == "alive"


async def test_a_killed_server_is_dead_and_a_new_one_is_another(tmux: Stage) -> None:
    first = await tmux.shell("hf0-killed-1", "exec sleep 1000")
    os.kill(first.handle.server.pid, signal.SIGKILL)
    await ended(first.handle.server)
    look = await tmux.runtime.look()
    assert (look.server, dict(look.panes)) == ("dead", {})
    assert str(first.handle.server.pid) in look.detail
    tmux.again()
    assert (await tmux.runtime.look()).server == "dead"
    await first.ended()
    second = await tmux.shell("hf0-killed-2", "exec sleep 1000")
    assert second.handle.server != first.handle.server
    assert second.handle.pane == first.handle.pane, "a new server counts from the start"
    with pytest.raises(NotThere):
        await tmux.runtime.paste(first.handle, "for somebody else")
    assert set((await tmux.runtime.look()).panes) == {"hf0-killed-2"}


async def test_a_client_that_is_killed_is_replaced(tmux: Stage) -> None:
    await tmux.shell("hf0-client-1", "exec sleep 1000")
    control = await runtime(tmux)._server.control()
    assert control._transport is not None
    os.kill(control._transport.get_pid(), signal.SIGKILL)
    await control._gone.wait()
    assert (await tmux.runtime.look()).panes["hf0-client-1"].verdict == "alive"


async def test_a_keeper_that_somebody_closed_is_made_again(tmux: Stage) -> None:
    await tmux.shell("hf0-keeper-1", "exec sleep 1000")
    control = await runtime(tmux)._server.control()
    await control.ask("kill-session -t =holdfast-keeper", seconds=5)
    await control._gone.wait()
    look = await tmux.runtime.look()
    assert (look.server, set(look.panes)) == ("alive", {"hf0-keeper-1"})


async def test_a_socket_that_somebody_removed_is_made_again(tmux: Stage) -> None:
    actor = await tmux.shell("hf0-socket-1", "exec sleep 1000")
    await tmux.runtime.close()
    runtime(tmux)._server.socket.unlink()
    tmux.again()
    assert (await tmux.runtime.look()).panes["hf0-socket-1"].verdict == "alive"
    assert await tmux.runtime.find("hf0-socket-1") == actor.handle


async def test_nobody_elses_folder_is_used_for_the_socket(tmux: Stage, sockets: Path) -> None:
    (sockets / "elsewhere").mkdir()
    (sockets / "holdfast").symlink_to(sockets / "elsewhere")
    with pytest.raises(RuntimeFailed, match="belongs to somebody else"):
        await tmux.shell("hf0-link-1", "exec sleep 1000")
    (sockets / "holdfast").unlink()


async def test_a_person_who_looks_on_changes_nothing(tmux: Stage) -> None:
    actor = await tmux.shell("hf0-person-1", "echo ready; read x; stty size; exec sleep 1000")
    await actor.shows(b"ready")
    command = tmux.runtime.attach(actor.handle)
    report = tmux.folder / "looked"
    # In a terminal of another size, inside somebody's own tmux.
    watcher = await tmux.shell(
        "hf0-watcher-1", f"TMUX=/x,1,1; export TMUX; stty rows 10 cols 40; {' '.join(command)}; touch {report}"
    )
    await watcher.shows(b"ready")
    await tmux.runtime.press(actor.handle, "enter")
    await actor.shows(f"{ROWS} {COLUMNS}".encode())
    await ask(tmux, "detach-client -s =hf0-person-1")
    await written(tmux.folder, report.exists)
    assert processes.state(actor.handle.process) == "alive"


async def test_a_person_who_scrolls_back_takes_no_key_away(tmux: Stage) -> None:
    actor = await tmux.shell("hf0-scroll-1", "seq 1 100; echo ready; read line; echo got $line; exec sleep 1000")
    await actor.shows(b"ready")
    await ask(tmux, f"copy-mode -t {actor.handle.pane}", f"send-keys -t {actor.handle.pane} -X page-up")
    await tmux.runtime.paste(actor.handle, "hello")
    await tmux.runtime.press(actor.handle, "enter")
    await actor.shows(b"got hello")


async def test_windows_that_a_person_opens_are_not_taken_for_agents(tmux: Stage) -> None:
    actor = await tmux.shell("hf0-more-1", "exec sleep 1000")
    await ask(tmux, "split-window -d -t =hf0-more-1: sleep 1000", "new-window -t =hf0-more-1: sleep 1000")
    await ask(tmux, "rename-session -t =hf0-more-1 renamed")
    assert set((await tmux.runtime.look()).panes) == {"hf0-more-1"}
    assert await tmux.runtime.find("hf0-more-1") == actor.handle
    await tmux.runtime.forget("hf0-more-1")
    assert await ask(tmux, "list-sessions -F '#{session_name}'") == [[b"holdfast-keeper"]]


async def test_a_recorder_that_dies_is_replaced_and_the_gap_can_be_seen(tmux: Stage) -> None:
    actor = await tmux.shell("hf0-gap-1", "echo before; while read x; do echo got $x; done")
    await actor.shows(b"before")
    recorders = [
        each for each in Path("/proc").glob("[0-9]*")
        if str(actor.place.record).encode() in _cmdline(each)
    ]  # fmt: skip
    assert len(recorders) == 1
    recorder = processes.identify(int(recorders[0].name))
    assert recorder is not None
    assert processes.end([recorder], 0).ended == (recorder,)
    await tmux.runtime.paste(actor.handle, "lost\n")
    while await ask(tmux, f"display-message -p -t {actor.handle.pane} '#{{pane_pipe}}'") != [[b"0"]]:
        await asyncio.sleep(0)
    await tmux.runtime.look()
    await tmux.runtime.paste(actor.handle, "kept\n")
    assert b"got kept" in await actor.shows(b"got kept")
    (gap,) = actor.recording.gaps()
    assert gap == Gap(len(b"before\r\n"), len(b"before\r\n") + 1)
    chunk = actor.recording.read(gap.start, 100)
    assert (chunk.missed, chunk.data.endswith(b"got kept\r\n")) == (1, True)


async def test_what_a_dead_daemon_left_in_buffers_is_swept(tmux: Stage) -> None:
    await tmux.shell("hf0-buffers-1", "exec sleep 1000")
    await ask(tmux, f"set-buffer -b {BUFFER}7 secret", "set-buffer -b mine kept")
    await tmux.runtime.close()
    tmux.again()
    await tmux.runtime.look()
    assert await ask(tmux, "list-buffers -F '#{buffer_name}'") == [[b"mine"]]


async def test_a_nul_is_refused(tmux: Stage) -> None:
    actor = await tmux.shell("hf0-nul-1", "exec sleep 1000")
    with pytest.raises(Invalid, match="NUL"):
        await tmux.runtime.paste(actor.handle, "a\0b")
    with pytest.raises(Invalid, match="NUL"):
        await tmux.shell("hf0-nul-2", "a\0b")
    with pytest.raises(Invalid, match="no name"):
        await tmux.shell("hf0.dots:1", "exit 0")


async def test_the_users_own_tmux_and_configuration_play_no_part(tmux: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmux.folder / "home"
    home.mkdir()
    (home / ".tmux.conf").write_text("set -g prefix C-a\nset -g status on\nset -g base-index 1\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMUX", "/nowhere,1,1")
    await tmux.shell("hf0-mine-1", "exec sleep 1000")
    assert await ask(tmux, "show-options -gv prefix", "show-options -gv base-index") == [[b"C-b"], [b"0"]]
    listed = subprocess.run(["tmux", "-L", "default", "ls"], capture_output=True, text=True, check=False)
    assert "hf0-mine-1" not in listed.stdout


async def test_a_recorder_that_cannot_start_does_not_spoil_the_look(tmux: Stage) -> None:
    actor = await tmux.shell("hf0-full-1", "echo ready; read x; exec sleep 1000")
    await actor.shows(b"ready")
    (tmux.folder / "records" / "hf0-full-1").rename(tmux.folder / "moved")
    (tmux.folder / "records" / "hf0-full-1").touch()
    await ask(tmux, f"pipe-pane -t {actor.handle.pane}")
    assert (await tmux.runtime.look()).panes["hf0-full-1"].verdict == "alive"
    with pytest.raises(RuntimeFailed, match="cannot be recorded"):
        await tmux.runtime.launch(replace(actor.place, name="hf0-full-2"))
    assert await tmux.runtime.find("hf0-full-2") is None
