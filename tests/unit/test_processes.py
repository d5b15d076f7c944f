"""Processes by identity: alive or not, whose they are, how they end, and what they take."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import uvloop

from holdfast.fleet import processes
from holdfast.fleet.processes import Identity

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts shell scripts that say `ready`; they are gone after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def shell(script: str, **env: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            ["sh", "-c", script],
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], **env},
        )
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        return child

    yield shell
    for child in started:
        for each in processes.owned(processes.identify(child.pid), {}):
            os.kill(each.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def identity(child: subprocess.Popen[bytes]) -> Identity:
    found = processes.identify(child.pid)
    assert found is not None
    return found


def refuse_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    processes._warn.cache_clear()


def test_this_process_lives() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert processes.state(me) == "alive"
    assert processes.lives(os.getpid())
    assert processes.identify(2**22 + 1) is None


@pytest.mark.guards(
    "a process is known by its start and boot, not by its pid",
    against="somebody else's process taken for the agent, and ended for it",
    breaks=("processes-go-by-pid",),
)
def test_another_process_of_the_same_pid_is_another_process() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert processes.state(Identity(me.boot, me.pid, me.started + 1)) == "dead"
    assert processes.state(Identity(me.boot, me.pid, 0)) == "dead"
    assert processes.state(Identity("another boot", me.pid, me.started)) == "dead"


def test_a_zombie_is_dead(start: Start) -> None:
    child = start("echo ready; exit 3")
    known = identity(child)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.identify(child.pid) == known
    assert (processes.state(known), processes.lives(child.pid)) == ("dead", False)
    child.wait()
    assert processes.state(known) == "dead"


def test_a_process_whose_first_thread_has_ended_lives(start: Start) -> None:
    program = """
import ctypes, threading
threading.Thread(target=threading.Event().wait).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
    child = start(f"exec {sys.executable} -c '{program}'")
    while b") Z " not in Path(f"/proc/{child.pid}/stat").read_bytes():
        os.sched_yield()
    assert processes.state(identity(child)) == "alive"


def test_names_with_brackets_and_blanks_are_read(start: Start, tmp_path: Path) -> None:
    link = tmp_path / "a) Z 1 (b"
    link.symlink_to(sys.executable)
    child = start(f"exec '{link}' -c 'import time; print(\"ready\", flush=True); time.sleep(1000)'")
    assert processes.state(identity(child)) == "alive"


@pytest.mark.guards(
    "a look that told nothing is not taken for a death",
    against="an unreadable /proc that reads as the death of every agent",
    breaks=("processes-unread-is-dead",),
)
def test_a_look_that_fails_is_no_death(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert processes.state(me) == "failed"
    folder = tmp_path / str(os.getpid())
    folder.mkdir()
    (folder / "stat").write_text("nonsense")
    assert processes.state(me) == "failed"

    def denied(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert processes.state(me) == "failed"


def test_all_that_descends_from_a_root_or_shares_its_session_is_owned(start: Start) -> None:
    child = start("sh -c 'sleep 1000 & sleep 1000' & (sleep 1000 &) ; echo ready; wait")
    found = processes.owned(identity(child), {})
    while len(found) < 5:  # the shell may not have started all of them yet
        found = processes.owned(identity(child), {})
    assert identity(child) in found
    assert len(found) == 5


def test_what_left_session_and_parent_is_found_by_all_of_its_marks(start: Start) -> None:
    store = uuid4().hex
    one = start("setsid sh -c 'setsid sleep 1000 &' & echo ready; exit 0", HOLDFAST_STORE=store, HOLDFAST_SESSION="a-1")
    two = start("echo ready; exec sleep 1000", HOLDFAST_STORE=store, HOLDFAST_SESSION="a-10")
    one.wait()
    marks = {"HOLDFAST_STORE": store, "HOLDFAST_SESSION": "a-1"}
    left = processes.owned(None, marks)
    while not any(Path(f"/proc/{each.pid}/cmdline").read_bytes().startswith(b"sleep") for each in left):
        left = processes.owned(None, marks)
    assert two.pid not in {each.pid for each in left}
    assert {each.pid for each in processes.owned(None, {"HOLDFAST_STORE": store})} > {two.pid}
    assert processes.owned(None, {"HOLDFAST_STORE": store, "HOLDFAST_SESSION": "a"}) == []
    assert processes.owned(None, {}) == []
    processes.end(lambda: processes.owned(None, marks), 5)


@pytest.mark.guards(
    "neither this process nor one that it descends from is ever owned",
    against="a daemon that was started from an agent's terminal ending itself",
    breaks=("processes-own-themselves",),
)
def test_this_process_and_its_forebears_are_spared(start: Start) -> None:
    store = uuid4().hex
    program = f"""
from holdfast.fleet import processes
import os, subprocess
print("ready", flush=True)
child = subprocess.Popen(["sleep", "1000"])
found = processes.owned(processes.identify(os.getppid()), {{"M": "{store}"}})
print(*[each.pid == child.pid for each in found], flush=True)
child.kill()
child.wait()
"""
    script = f"{sys.executable} -c '{program}'; exit 0"
    child = start(script, M=store, PYTHONPATH=os.pathsep.join(sys.path))
    assert child.stdout is not None
    assert child.stdout.readline() == b"True\n"
    assert child.wait() == 0


def test_a_pid_that_somebody_else_has_now_owns_nothing(start: Start) -> None:
    child = start("sleep 1000 & echo ready; wait")
    known = identity(child)
    before = Identity(known.boot, known.pid, known.started - 1)
    assert processes.owned(before, {}) == []
    assert processes.owned(Identity("another boot", known.pid, known.started), {}) == []
    assert processes.end([before], 0).ended == (before,)
    assert processes.state(known) == "alive"


def test_the_polite_end_politely(start: Start, tmp_path: Path) -> None:
    mark = tmp_path / "said"
    child = start(f"trap 'echo bye >{mark}; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
    done = processes.end(lambda: processes.owned(known, {}), 20) if (known := identity(child)) else None
    assert done is not None
    assert known in done.ended
    assert not done.stubborn
    assert mark.read_text() == "bye\n"


@pytest.mark.guards(
    "what does not end when asked is killed, with whatever it has started meanwhile",
    against="an agent that works on after its session was ended",
    breaks=("processes-only-ask",),
)
def test_the_stubborn_and_the_stopped_are_killed(start: Start) -> None:
    child = start("trap '' TERM; sleep 1000 & echo ready; while :; do sleep 1000; done")
    stopped = start("echo ready; exec sleep 1000")
    os.kill(stopped.pid, signal.SIGSTOP)
    roots = [identity(child), identity(stopped)]
    done = processes.end(lambda: [each for root in roots for each in processes.owned(root, {})], 0.2)
    assert set(roots) < set(done.ended)
    assert not done.stubborn
    assert stopped.wait() == -signal.SIGTERM, "one that was stopped is woken to be asked"
    assert child.wait() == -signal.SIGKILL


def test_what_is_started_while_ending_ends_too(start: Start) -> None:
    child = start("trap 'setsid sleep 1000 & exit 0' TERM; echo ready; while :; do sleep 0.01; done", MARK=uuid4().hex)
    environ = Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")
    mark = next(each for each in environ if each.startswith(b"MARK=")).decode().partition("=")[2]
    done = processes.end(lambda: processes.owned(identity(child), {"MARK": mark}), 20)
    assert not done.stubborn
    assert processes.owned(None, {"MARK": mark}) == []


def test_without_pidfds_ends_are_found_by_looking(start: Start, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    refuse_pidfds(monkeypatch)
    child = start("trap '' TERM; echo ready; while :; do sleep 1000; done")
    root = identity(child)
    done = processes.end(lambda: processes.owned(root, {}), 0.1)
    assert root in done.ended
    assert not done.stubborn


def new_loops() -> list[Any]:
    return [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]


@pytest.mark.parametrize("new_loop", new_loops())
@pytest.mark.parametrize("pidfds", [True, False])
def test_an_end_is_told_once(
    start: Start, monkeypatch: pytest.MonkeyPatch, new_loop: Callable[[], asyncio.AbstractEventLoop], pidfds: bool
) -> None:
    if not pidfds:
        refuse_pidfds(monkeypatch)
    child = start("echo ready; read x")
    other = start("echo ready; exec sleep 1000")
    known = identity(child)

    async def watching() -> list[str]:
        told: list[str] = []
        gone = asyncio.Event()
        processes.watch(known, lambda: (told.append("first"), gone.set())[0])
        never = processes.watch(known, lambda: told.append("never"))
        never()
        never()
        unwatch = processes.watch(identity(other), lambda: told.append("other"))
        child.kill()
        await asyncio.wait_for(gone.wait(), 20)
        gone.clear()
        processes.watch(known, lambda: (told.append("again"), gone.set())[0])
        await asyncio.wait_for(gone.wait(), 20)
        unwatch()
        return told

    with asyncio.Runner(loop_factory=new_loop) as runner:
        before = len(list(Path("/proc/self/fd").iterdir()))
        assert runner.run(watching()) == ["first", "again"]
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_trees_take_comes_from_one_pass(start: Start) -> None:
    program = 'x = bytearray(50_000_000); print("ready", flush=True); import time; time.sleep(1000)'
    big = start(f"{sys.executable} -c '{program}'; exit")
    small = start("echo ready; exec sleep 1000")
    gone = Identity(processes.boot_id(), small.pid, 1)
    found = processes.usage([identity(big), identity(small), gone])
    assert set(found) == {identity(big), identity(small)}
    assert found[identity(big)].processes == 2
    assert found[identity(big)].resident_bytes > 50_000_000 > found[identity(small)].resident_bytes > 0
    assert found[identity(big)].cpu_seconds >= found[identity(small)].cpu_seconds >= 0
