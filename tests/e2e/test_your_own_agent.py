"""The page about one's own agent is true: its two programs are run as it says, and do what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from daemons import PATIENCE, ROOT, environment
from fleets import fleet
from holdfast.cli.main import app
from holdfast.fleet.agents.declare import SIGNAL_KINDS

pytestmark = pytest.mark.needs("tmux")
PAGE = (ROOT / "docs/how-to/your-own-agent.md").read_text("utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
PROGRAMS = [block for block in BLOCKS if block.startswith("#!/bin/sh\n")]


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "speaking"])
def test_the_agents_of_the_page_work_as_it_says(silent: bool, tmp_path: Path) -> None:
    plain, speaking = PROGRAMS
    program = tmp_path / "my-agent"
    program.write_text(plain if silent else speaking)
    program.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "holdfast").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m holdfast "$@"\n')
    (tmp_path / "bin" / "holdfast").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{environment()['PATH']}"
    with fleet(tmp_path, "tmux", PATH=path) as shop:

        def run(*words: str) -> str:
            env = environment(HOLDFAST_DATA=str(shop.daemon.data))
            command = [sys.executable, "-m", "holdfast", *words]
            done = subprocess.run(
                command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        more = ("--agent", "command", "-o", f"command={program}", "--prompt", "first task", "--wait")
        session = run("spawn", "demo", *more).strip()
        run("send", session, "second task", "--wait", "submitted" if silent else "confirmed")
        if not silent:
            shop.until(session, lambda found: found["status"] == "idle" and found["activity"]["source"] == "signal")
        tasks = Path(shop.session(session)["workspace"]) / "tasks.txt"
        shop.wait(lambda: tasks.read_text() if tasks.exists() else "", lambda text: text.count("\n") == 2)
        assert tasks.read_text() == "first task\nsecond task\n"
        assert "+second task" in run("diff", session)
        run("kill", session, "--wait")
        run("cleanup", session, "--wait")
        assert session in run("kept", "ls")


def test_the_page_names_every_signal() -> None:
    assert re.findall(r"^\| `(\w+)` \| it", PAGE, re.MULTILINE) == list(SIGNAL_KINDS)


def test_what_the_page_says_to_type_are_commands_with_such_options() -> None:
    lines = [line for block in BLOCKS for line in block.splitlines() if line.startswith("holdfast ")]
    assert len(lines) > 8
    for line in lines:
        words = shlex.split(line)[1:]
        command = typer.main.get_command(app)
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        assert command.make_context("holdfast", words) is not None
