"""Agents that read lines from a real terminal, and texts with lines that it would cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.fleet.messages import decider
from holdfast.fleet.runtimes.line_mode import LINE
from messaging import PACKS, Outside, Stage, soon
from runtimes import PYTHON, RUNTIMES, Kind

if TYPE_CHECKING:
    from conftest import StoreMaker

# The agent of the how-to: it reads a task as a line, and writes it down.
BY_LINES = (
    "while printf '> ' && IFS= read -r task; do printf '%s\\n' \"$task\" >> tasks.txt; echo 'wrote it down'; done"
)
# One that reads keys once it has been told that it may begin: it draws what it reads, and writes it down at Enter.
BY_KEYS = """
import os, time, tty
os.write(1, b"loading")
while not os.path.exists("go"):
    time.sleep(0.01)
tty.setraw(0)
os.write(1, b"\\r\\n> ")
task = b""
while not task.endswith(b"\\r"):
    key = os.read(0, 65536)
    os.write(1, key)
    task += key
with open("tasks.txt", "wb") as file:
    file.write(task[:-1] + b"\\n")
os.write(1, b"\\r\\nwrote it down\\r\\n> ")
os.read(0, 1)
"""


@pytest.fixture(
    params=[pytest.param(kind, id=kind.name, marks=[pytest.mark.needs(kind.needs or "sh")]) for kind in RUNTIMES]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every runtime."""
    found: Kind = request.param
    return found


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
async def stage(make_store: StoreMaker, kind: Kind, sockets: Path, tmp_path: Path) -> AsyncIterator[Stage]:
    store = await make_store(packs=PACKS)
    outside = Outside(tmp_path / "outside", store.uuid, kind=kind)
    yield Stage(store, outside)
    await outside.end()


@pytest.mark.guards(
    "An agent that reads lines gets a line of the largest length whole; a longer one is not typed into its terminal, "
    "and what is said after it comes.",
    against="A task of more than 4,095 bytes in one line reaches the agent in part, and is called delivered.",
    breaks=("messages-ask-no-terminal", "tmux-terminals-read-keys", "holder-terminals-read-keys"),
)
async def test_a_line_that_the_terminal_would_cut_never_reaches_an_agent_that_reads_lines(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decider, "LINES_SECONDS", 0.3)
    handle = await stage.outside.run("sh", "-c", BY_LINES)
    await stage.lives(handle, "command")
    longest, after = "a" * LINE, "and then this"
    async with stage.delivering():
        whole = await stage.say(longest)
        assert (await stage.reached(whole, "confirmed", "unknown", "failed"))["state"] == "confirmed"
        cut = await stage.say("b" * 6_000 + " DO NOT DELETE THE DATABASE")
        row = await stage.reached(cut, "confirmed", "unknown", "failed")
        assert (row["state"], row["presses"]) == ("failed", 0)
        assert "into a file" in row["reason"]
        last = await stage.say(after)
        assert (await stage.reached(last, "confirmed", "unknown", "failed"))["state"] == "confirmed"
    tasks = stage.outside.path("tree") / "tasks.txt"
    await soon(lambda: tasks.read_text().count("\n") == 2)
    assert tasks.read_text().splitlines() == [longest, after]


async def test_an_agent_that_starts_and_then_reads_keys_gets_a_long_line_whole(stage: Stage) -> None:
    handle = await stage.outside.run(*PYTHON, BY_KEYS)
    await stage.lives(handle, "command")
    assert await stage.outside.runtime.reads_lines(handle)
    text = "c" * 6_000 + " and all the rest"
    async with stage.delivering():
        number = await stage.say(text)
        held = await stage.reached(number, "held", "typed", "submitted", "confirmed")
        assert held["state"] == "held"
        (stage.outside.path("tree") / "go").touch()
        assert (await stage.reached(number, "confirmed", "unknown", "failed"))["state"] == "confirmed"
    assert not await stage.outside.runtime.reads_lines(handle)
    assert (stage.outside.path("tree") / "tasks.txt").read_text() == text + "\n"
