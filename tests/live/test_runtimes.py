"""What every runtime does with an agent: starts it once and exactly, finds it again, and knows how it ended."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.errors import Invalid
from holdfast.fleet import processes
from holdfast.fleet.runtimes.port import COLUMNS, ROWS
from runtimes import Kind, Stage, daemon, handles, torn, written

NASTY = (
    "", " ", "a b", "'", '"', "\\", "$HOME", "`id`", "$(id)", "#{pid}", "#[fg=red]", "%H:%M", "~", "~root", ";", "\n",
    "a\nb\tc", "\x1b[31m", "é漢字🎉", "{", "}", "--", "-x", "*", "\udcff",
)  # fmt: skip
TELL = """
import os, sys
with open(sys.argv[1] + ".new", "wb") as file:
    for name in ("cmdline", "environ"):
        file.write(open(f"/proc/self/{name}", "rb").read() + b"\\n--\\n")
    file.write(os.fsencode(os.getcwd()) + b"\\n--\\n" + str(os.get_terminal_size()).encode())
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""


async def test_an_agent_is_started_with_exactly_these_words_this_environment_and_this_terminal(stage: Stage) -> None:
    report = stage.folder / "report"
    given = {f"GIVEN_{number}": word for number, word in enumerate(NASTY)}
    actor = await stage.python("hf0-words-1", TELL, str(report), *NASTY, "x" * 100_000, **given)
    await written(stage.folder, report.exists)
    cmdline, environ, cwd, size = report.read_bytes().split(b"\n--\n")
    assert cmdline.split(b"\0")[:-1] == [os.fsencode(word) for word in actor.place.argv]
    found = dict(entry.split(b"=", 1) for entry in environ.split(b"\0") if entry)
    for name, value in actor.place.env.items():
        assert found[name.encode()] == os.fsencode(value), name
    assert os.fsdecode(cwd) == str(stage.work)
    assert size == f"os.terminal_size(columns={COLUMNS}, lines={ROWS})".encode()


@pytest.mark.guards(
    "an agent gets nothing of the daemon's environment but what programs need",
    against="the daemon's own secrets in every agent",
    breaks=("runtimes-agents-inherit-everything",),
)
async def test_an_agent_gets_nothing_else_of_the_daemons_environment(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE", "postgresql://user:secret@host/db")
    monkeypatch.setenv("SOME_API_KEY", "secret")
    report = stage.folder / "report"
    await stage.python("hf0-env-1", TELL, str(report))
    await written(stage.folder, report.exists)
    names = {entry.partition(b"=")[0].decode() for entry in report.read_bytes().split(b"\n--\n")[1].split(b"\0")}
    assert not names & {"HOLDFAST_DATABASE", "SOME_API_KEY", "TMUX", "TMUX_PANE"}


async def test_a_token_stands_in_no_command_line(stage: Stage) -> None:
    actor = await stage.shell("hf0-token-1", "echo ready; exec sleep 1000", HOLDFAST_TOKEN="hf-token-to-be-hidden")
    await actor.shows(b"ready")
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:
            continue
    assert any(b"sleep\x001000" in line for line in lines)
    assert not any(b"hf-token-to-be-hidden" in line for line in lines)


async def test_the_handle_names_the_agents_own_process(stage: Stage) -> None:
    actor = await stage.shell("hf0-own-1", "echo pid=$$.; exec sleep 1000")
    assert f"pid={actor.handle.process.pid}.".encode() in await actor.shows(b"pid=")
    assert processes.identify(actor.handle.process.pid) == actor.handle.process
    assert processes.state(actor.handle.server) == "alive"
    assert json.loads(json.dumps(actor.handle.name)) == "hf0-own-1"


@pytest.mark.guards(
    "what runs under a name is found instead of started twice",
    against="two agents in one worktree",
    breaks=("tmux-starts-it-twice",),
)
async def test_launching_again_finds_what_runs(stage: Stage) -> None:
    first = await stage.shell("hf0-twice-1", "echo started; exec sleep 1000")
    await first.shows(b"started")
    second = await stage.shell("hf0-twice-1", "echo started; exec sleep 1000")
    assert second.handle == first.handle
    assert await stage.runtime.find("hf0-twice-1") == first.handle
    assert first.output().count(b"started") == 1


async def test_what_nobody_launched_is_not_found(stage: Stage) -> None:
    assert await stage.runtime.find("hf0-nobody-1") is None
    await stage.runtime.forget("hf0-nobody-1")
    look = await stage.runtime.look()
    assert (look.server, dict(look.panes)) == ("missing", {})


async def test_a_name_after_another_is_another_place(stage: Stage) -> None:
    one = await stage.shell("hf0-a-1", "exec sleep 1000")
    two = await stage.shell("hf0-a-11", "exec sleep 1000")
    assert one.handle.process != two.handle.process
    await stage.runtime.forget("hf0-a-1")
    assert await stage.runtime.find("hf0-a-1") is None
    assert await stage.runtime.find("hf0-a-11") == two.handle


@pytest.mark.guards(
    "an agent whose folder or program is missing is refused before anything is started",
    against="an agent that works in the home folder, or none that reads as started",
    breaks=("runtimes-start-anywhere",),
)
async def test_a_missing_folder_or_program_is_refused_and_nothing_is_left(stage: Stage) -> None:
    place = stage.place("hf0-missing-1", "sh", "-c", "exec sleep 1000")
    gone = stage.folder / "gone"
    plain = stage.folder / "plain"
    plain.touch()
    for wrong, said in (
        ({"cwd": gone}, str(gone)),
        ({"cwd": plain}, str(plain)),
        ({"argv": ("no-such-agent", "x")}, "no-such-agent"),
        ({"argv": (str(plain),)}, str(plain)),
        ({"argv": ()}, "''"),
    ):
        asked = type(place)(**{**{name: getattr(place, name) for name in place.__slots__}, **wrong})
        with pytest.raises(Invalid, match=said):
            await stage.runtime.launch(asked)
    assert await stage.runtime.find("hf0-missing-1") is None
    assert not stage.owned()
    assert not (await stage.runtime.look()).panes


@pytest.mark.parametrize(
    ("script", "status", "number"),
    [
        ("exit 0", 0, None),
        ("exit 3", 3, None),
        ("echo ready; exec sh -c 'exit 255'", 255, None),
        ("kill -KILL $$", None, signal.SIGKILL),
        ("kill -TERM $$", None, signal.SIGTERM),
    ],
)
async def test_the_end_of_an_agent_is_told_as_it_was(
    stage: Stage, script: str, status: int | None, number: int | None
) -> None:
    actor = await stage.shell("hf0-end-1", script)
    pane = await actor.end_of()
    assert (pane.verdict, pane.exit_status, pane.exit_signal) == ("dead", status, number)
    assert processes.state(actor.handle.process) == "dead"


async def test_many_quick_ends_are_all_known_and_none_reads_as_well(stage: Stage) -> None:
    actors = [await stage.shell(f"hf0-quick-{number}", "exit 3") for number in range(40)]
    for actor in actors:
        await actor.ended()
        first = (await stage.runtime.look()).panes[actor.place.name]
        assert first.exit_status in {None, 3}
    assert {(await actor.end_of()).exit_status for actor in actors} == {3}


async def test_an_end_is_told_while_a_child_keeps_the_terminal(stage: Stage) -> None:
    actor = await stage.shell("hf0-child-1", "trap '' HUP; sleep 1000 & exit 5")
    assert (await actor.end_of()).exit_status == 5
    left = processes.owned(actor.handle.process, {})
    assert len(left) == 1
    assert not processes.end(left, 5).stubborn


async def test_an_end_survives_the_daemon_that_did_not_see_it(stage: Stage) -> None:
    actor = await stage.shell("hf0-late-1", "read line; exit 4")
    await stage.runtime.close()
    stage.again()
    await stage.runtime.press(actor.handle, "enter")
    assert (await actor.end_of()).exit_status == 4
    stage.again()
    assert (await actor.end_of()).exit_status == 4
    found = await stage.runtime.find("hf0-late-1")
    assert found is not None
    assert found.process == actor.handle.process


async def test_a_daemon_that_an_agent_left_behind_is_found_and_ended(stage: Stage) -> None:
    away = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        os.execvp("sleep", ["sleep", "1000"])
    os._exit(0)
os.wait()
print("away", flush=True)
"""
    actor = await stage.python("hf0-left-1", away)
    assert (await actor.end_of()).exit_status == 0
    assert not processes.owned(actor.handle.process, {})
    left = stage.owned("hf0-left-1")
    assert len(left) == 1
    done = processes.end(lambda: stage.owned("hf0-left-1"), 5)
    assert (list(done.ended), done.stubborn) == (left, ())
    assert not stage.owned("hf0-left-1")


async def test_an_agent_that_will_not_end_is_killed_with_its_children(stage: Stage) -> None:
    actor = await stage.shell("hf0-stubborn-1", "trap '' TERM HUP INT; sleep 1000 & echo ready; while :; do wait; done")
    await actor.shows(b"ready")
    done = processes.end(lambda: processes.owned(actor.handle.process, {"HOLDFAST_STORE": stage.store}), 0.1)
    assert actor.handle.process in done.ended
    assert len(done.ended) == 2
    assert not done.stubborn
    assert (await actor.end_of()).exit_signal == signal.SIGKILL


async def test_forgetting_takes_the_place_away(stage: Stage) -> None:
    actor = await stage.shell("hf0-forget-1", "exit 0")
    other = await stage.shell("hf0-other-1", "exec sleep 1000")
    await actor.end_of()
    await stage.runtime.forget("hf0-forget-1")
    await stage.runtime.forget("hf0-forget-1")
    assert await stage.runtime.find("hf0-forget-1") is None
    assert set((await stage.runtime.look()).panes) == {"hf0-other-1"}
    assert processes.state(other.handle.process) == "alive"


@pytest.mark.parametrize(("kind", "point"), torn())
@pytest.mark.guards(
    "a launch that was torn by the daemon's death is found or made by the next daemon, once",
    against="a second agent in the worktree, or an orphan that nobody knows",
    breaks=("tmux-starts-it-twice",),
)
async def test_a_torn_launch_is_one_launch(new_stage: Callable[[Kind, str], Stage], kind: Kind, point: str) -> None:
    stage = new_stage(kind, "data")
    mark = stage.folder / "marks"
    place = stage.place("hf0-torn-1", "sh", "-c", f"echo x >>{mark}; echo started; exec sleep 1000")
    with daemon(stage, [place], f"{point}=die") as child:
        assert not handles(child)
        assert child.wait(30) == 86
    actor = await stage.launch(place.name, *place.argv)
    await actor.shows(b"started")
    assert mark.read_text() == "x\n"
    assert [each.pid for each in stage.owned()] == [actor.handle.process.pid]


async def test_a_second_daemon_finds_everything_that_the_first_one_left(stage: Stage) -> None:
    places = [
        stage.place(f"hf0-many-{number}", "sh", "-c", "echo here; read line; echo got $line; exec sleep 1000")
        for number in range(5)
    ]
    with daemon(stage, places) as child:
        known = handles(child)
        child.kill()
        child.wait()
    stage.servers.update(handle.server for handle in known)
    look = await stage.runtime.look()
    assert {name: pane.verdict for name, pane in look.panes.items()} == {place.name: "alive" for place in places}
    assert [await stage.runtime.find(place.name) for place in places] == known
    actor = await stage.launch(places[3].name, *places[3].argv)
    await stage.runtime.paste(known[3], "hello")
    await stage.runtime.press(known[3], "enter")
    assert b"got hello" in await actor.shows(b"got hello")


async def test_two_data_folders_do_not_see_each_other(new_stage: Callable[[Kind, str], Stage], kind: Kind) -> None:
    one, two = new_stage(kind, "one"), new_stage(kind, "two")
    first = await one.shell("hf0-same-1", "exec sleep 1000")
    second = await two.shell("hf0-same-1", "exec sleep 1000")
    assert first.handle.process != second.handle.process
    await two.runtime.forget("hf0-same-1")
    assert (await one.runtime.look()).panes["hf0-same-1"].verdict == "alive"
    assert not (await two.runtime.look()).panes


async def test_a_long_data_path_is_no_hindrance(new_stage: Callable[[Kind, str], Stage], kind: Kind) -> None:
    stage = new_stage(kind, "/".join(["long" * 20] * 3) + '/it\'s #[a] #{pid} 50%d "x" $HOME;')
    actor = await stage.shell("hf0-long-1", "pwd; exec sleep 1000")
    assert str(stage.work).encode() in await actor.shows(b"/work")


async def test_nobody_else_gets_at_the_sockets(stage: Stage, sockets: Path) -> None:
    await stage.shell("hf0-mode-1", "exec sleep 1000")
    folder = sockets / "holdfast" / stage.store[:8]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert any(stat.S_ISSOCK(each.stat().st_mode) for each in folder.iterdir())


async def test_what_runs_is_found_from_another_login(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = await stage.shell("hf0-login-1", "exec sleep 1000")
    await stage.runtime.close()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    stage.again()
    assert await stage.runtime.find("hf0-login-1") == actor.handle
    assert (await stage.runtime.look()).panes["hf0-login-1"].verdict == "alive"
