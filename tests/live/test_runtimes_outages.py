"""What every runtime says when what holds the terminals is stopped or gone: a silence is no death."""

from __future__ import annotations

import os
import signal

import pytest

from holdfast.fleet import processes
from holdfast.fleet.runtimes.port import NotThere, RuntimeFailed
from runtimes import Stage, ended


@pytest.mark.slow
@pytest.mark.guards(
    "what holds a terminal and does not answer is not taken for dead, and is of use again when it goes on",
    against="one hiccup that reads as the death of every session",
    breaks=("tmux-silence-is-death",),
)
async def test_a_silence_is_no_death(stage: Stage) -> None:
    actor = await stage.shell("hf0-silent-1", "echo ready; read line; echo got $line; exec sleep 1000")
    await actor.shows(b"ready")
    os.kill(actor.handle.server.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            look = await stage.runtime.look()
            assert look.server in {"alive", "failed"}
            pane = look.panes.get("hf0-silent-1")
            assert pane is None or pane.verdict in {"alive", "failed"}
        with pytest.raises(RuntimeFailed):
            await stage.runtime.screen(actor.handle)
        with pytest.raises(RuntimeFailed):
            await stage.runtime.press(actor.handle, "escape")
    finally:
        os.kill(actor.handle.server.pid, signal.SIGCONT)
    await actor.pane(lambda pane: pane.verdict == "alive")
    await stage.runtime.paste(actor.handle, "hello")
    await stage.runtime.press(actor.handle, "enter")
    await actor.shows(b"got")


async def test_a_death_is_told_and_names_nothing_that_lives(stage: Stage) -> None:
    actor = await stage.shell("hf0-dead-1", "exec sleep 1000")
    os.kill(actor.handle.server.pid, signal.SIGKILL)
    await ended(actor.handle.server)
    await actor.ended()  # its terminal hung up
    look = await stage.runtime.look()
    pane = look.panes.get("hf0-dead-1")
    assert pane is None or (pane.verdict in {"dead", "missing"} and pane.exit_status is None)
    with pytest.raises(NotThere):
        await stage.runtime.paste(actor.handle, "hello")
    with pytest.raises(NotThere):
        await stage.runtime.screen(actor.handle)
    await stage.runtime.forget("hf0-dead-1")
    assert "hf0-dead-1" not in (await stage.runtime.look()).panes


async def test_a_launch_after_a_death_is_a_new_one(stage: Stage) -> None:
    first = await stage.shell("hf0-anew-1", "exec sleep 1000")
    os.kill(first.handle.server.pid, signal.SIGKILL)
    await ended(first.handle.server)
    await first.ended()
    await stage.runtime.forget("hf0-anew-1")
    second = await stage.shell("hf0-anew-2", "echo ready; exec sleep 1000")
    await second.shows(b"ready")
    with pytest.raises(NotThere):
        await stage.runtime.press(first.handle, "enter")
    assert (await stage.runtime.look()).panes["hf0-anew-2"].verdict == "alive"
    assert processes.state(second.handle.server) == "alive"
