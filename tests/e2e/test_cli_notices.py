"""`holdfast notices`, `channels` and `status` against a real daemon, whose desktop is a program of the test."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from daemons import PATIENCE, ROOT, Daemon, environment, holdfast
from holdfast.app import packs
from holdfast.core.clock import SYSTEM
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.core.store.port import Act, Unit
from holdfast.notify.notices import raise_notice

KINDS = ("agent-stuck", "approved-and-green", "pr-merged", "escalated")


@dataclass
class Told:
    """A daemon with four notices, and the desktop that it shows them on."""

    daemon: Daemon
    desk: Path

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command; what it printed, or what it complained."""
        done = holdfast(*words, "--data", str(self.daemon.data))
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    def listed(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("notices", "ls", "--json", *words))
        return found

    def program(self, text: str) -> None:
        file = self.desk / "notify-send"
        file.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        file.chmod(0o755)

    def shown(self) -> list[str]:
        file = self.desk / "shown"
        return file.read_text("utf-8").splitlines() if file.exists() else []


def _raise(unit: Unit) -> None:
    for number, kind in enumerate(KINDS, 1):
        raise_notice(
            unit, kind=kind, subject=f"session:shop-{number}", key=f"key-{number}", text=f"Look at \x1b{number}.",
            scope="shop",
        )  # fmt: skip


async def _fill(data: Path) -> None:
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(data=data, packs=packs(), url=None, clock=SYSTEM), lock)
        await store.unit(Act("daemon", "test"), _raise)
        await store.close()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    """A daemon that has something to say from its start."""
    data, desk = tmp_path / "data", tmp_path / "desk"
    data.mkdir()
    desk.mkdir()
    (data / "holdfast.toml").write_text('[channels.desk]\ntype = "desktop"\nkinds = ["escalated"]\n', "utf-8")
    asyncio.run(_fill(data))
    env = {"PATH": f"{desk}:{os.environ['PATH']}", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}
    made = Told(Daemon(data, env=env), desk)
    made.program(f'echo "$4" >> {desk}/shown')
    made.daemon.up()
    yield made
    made.daemon.close()


def test_notices_are_listed_acknowledged_and_told_with_the_status(told: Told) -> None:
    assert [(row["id"], row["kind"], row["state"]) for row in told.listed()] == [
        (4, "escalated", "open"), (3, "pr-merged", "open"), (2, "approved-and-green", "open"),
        (1, "agent-stuck", "open"),
    ]  # fmt: skip
    lines = told.run("notices", "ls").splitlines()
    assert lines[3].split("\t")[:4] == ["1", "open", "agent-stuck", "session:shop-1"]
    status = told.run("status")
    assert "4 notices are open" in status
    assert "pr-merged  session:shop-3  Look at 3." in status
    assert "agent-stuck" not in status
    shown = json.loads(told.run("status", "--json"))["notices"]
    assert (shown["open"], [row["id"] for row in shown["newest"]]) == (4, [4, 3, 2])
    assert told.run("notices", "ack", "2").strip() == "Acknowledged notice 2 (approved-and-green, session:shop-2)."
    assert "no notice '9'" in told.run("notices", "ack", "9", status=1).lower()
    assert "one of the two" in told.run("notices", "ack", status=2)
    assert "one of the two" in told.run("notices", "ack", "1", "--all", status=2)
    assert len(told.run("notices", "ack", "--all").splitlines()) == 3
    assert told.listed() == []
    assert {row["state"] for row in told.listed("--all")} == {"acked"}
    assert told.run("notices", "ack", "--all").strip() == "No notice was open."
    assert "notices are open" not in told.run("status")
    acts = [line.split("  ")[2] for line in told.run("audit").splitlines()]
    assert acts.count("notice.acked") == 4


def test_what_is_raised_is_shown_on_the_desktop(told: Told) -> None:
    deadline = monotonic() + PATIENCE
    while told.shown() != ["Holdfast: escalated, session:shop-4"]:
        assert monotonic() < deadline, told.shown()
        told.listed()
    (row,) = [row for row in told.listed() if row["kind"] == "escalated"]
    assert row["told_at"] is not None
    assert row["urgency"] == "high"


def test_channels_are_listed_and_tried(told: Told) -> None:
    (channel,) = json.loads(told.run("channels", "ls", "--json"))
    assert (channel["name"], channel["type"], channel["kinds"], channel["unavailable"]) == (
        "desk", "desktop", ["escalated"], None,
    )  # fmt: skip
    assert "ready" in told.run("channels", "ls")
    assert told.run("channels", "test", "desk").strip() == "Channel desk has taken it."
    assert "Holdfast: test, test" in told.shown()
    told.program("echo no bus >&2; exit 1")
    assert "notify-send ended with 1: no bus" in told.run("channels", "test", "desk", status=1)
    assert "No channel is called 'nobody'" in told.run("channels", "test", "nobody", status=1)
    (told.desk / "notify-send").unlink()
    assert "unavailable" in told.run("channels", "ls")


def test_notices_are_followed(told: Told) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "notices", "ls", "-f", "--json", "--data", str(told.daemon.data)],
        env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        first = [json.loads(process.stdout.readline()) for _ in KINDS]
        assert [row["id"] for row in first] == [1, 2, 3, 4]
        told.run("notices", "ack", "2")
        while True:  # that the others are sent is news, too
            row = json.loads(process.stdout.readline())
            if row["id"] == 2 and row["acked_at"]:
                break
        assert (row["state"], row["kind"], row["text"]) == ("acked", "approved-and-green", "Look at 2.")
    finally:
        process.kill()
        process.communicate()


def test_a_channel_for_a_kind_that_there_is_not_keeps_the_daemon_from_starting(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "holdfast.toml").write_text('[channels.desk]\ntype = "desktop"\nkinds = ["agent-stuk"]\n', "utf-8")
    checked = holdfast("config", "check", "--data", str(data))
    assert (checked.returncode, "nearest known one is 'agent-stuck'" in checked.stderr) == (1, True)
    daemon = Daemon(data)
    daemon.begin()
    assert not daemon.ready()
    assert daemon.ended() != 0
    assert "nearest known one is 'agent-stuck'" in daemon.said()
