"""`holdfast jobs` against a real daemon, whose store holds effects in every state when it starts."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

import owed
from daemons import ROOT, Daemon, environment, holdfast
from holdfast.app import packs
from holdfast.core.clock import SYSTEM
from holdfast.core.propagation.verdict import MAX_STARTS
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from owed import LOOSE, OTHER, Note


@dataclass
class Jobs:
    """A daemon, and the numbers of what its store holds: all of kinds that no process knows."""

    daemon: Daemon
    later: int
    dead: list[int]
    crashed: int
    done: int

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command; what it printed, or what it complained."""
        done = holdfast("jobs", *words, "--data", str(self.daemon.data))
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    def states(self) -> dict[int, str]:
        """The state of every one of them."""
        return {
            row["id"]: row["state"] for row in json.loads(self.run("ls", "--json")) if row["kind"].startswith("test.")
        }


async def _fill(data: Path) -> tuple[int, list[int], int, int]:
    with hold_data(data) as lock:
        store = await open_store(StoreConfig(data=data, packs=packs(), url=None, clock=SYSTEM), lock)
        done = await owed.owe(store, LOOSE)
        await owed.settle(store, await owed.lease(store, LOOSE, done))
        dead = [await owed.dead(store, LOOSE, Note("hello", password="open sesame")) for _ in range(2)]
        dead.append(await owed.dead(store, OTHER))
        crashed = await owed.owe(store, LOOSE)
        await owed.bury(store, LOOSE, crashed, reason=MAX_STARTS, error=None)
        later = await owed.owe(store, LOOSE, at=SYSTEM.now() + timedelta(days=1), key="tomorrow")
        await store.close()
    return later, dead, crashed, done


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """A daemon with five effects that are not over and one that is."""
    data = tmp_path / "data"
    data.mkdir()
    filled = asyncio.run(_fill(data))
    daemon = Daemon(data).up()
    yield Jobs(daemon, *filled)
    daemon.close()


def test_jobs_are_listed_filtered_and_shown(jobs: Jobs) -> None:
    assert jobs.states() == {
        jobs.later: "pending", jobs.crashed: "dead", jobs.done: "done", **dict.fromkeys(jobs.dead, "dead"),
    }  # fmt: skip
    listed = [line.split("\t") for line in jobs.run("ls", "--state", "dead", "--kind", LOOSE.name).splitlines()]
    assert [line[:4] for line in listed] == [
        [str(number), LOOSE.name, "-", "dead"] for number in (jobs.crashed, *reversed(jobs.dead[:2]))
    ]
    assert len(jobs.run("ls", "--limit", "2").splitlines()) == 2
    assert jobs.run("ls", "--kind", "test.nobody") == ""
    shown = jobs.run("show", str(jobs.dead[0]))
    assert "no answer" in shown
    assert "sesame" not in shown
    assert json.loads(jobs.run("show", str(jobs.later), "--json"))["key"] == "tomorrow"


def test_named_jobs_are_redriven_and_one_that_cannot_be_keeps_no_other_from_it(jobs: Jobs) -> None:
    first, second, _ = jobs.dead
    assert jobs.run("redrive", str(first)) == f"Redrove job {first} of {LOOSE.name}.\n"
    refused = jobs.run("redrive", str(jobs.done), "999", str(second), status=1)
    assert f"Propagation {jobs.done} is done since" in refused
    assert "There is no propagation '999'" in refused
    assert "2 of 3 jobs were left as they are" in refused
    states = jobs.states()
    assert (states[first], states[second], states[jobs.done]) == ("pending", "pending", "done")


@pytest.mark.guards(
    "A redrive by kind or reason starts afresh what was named on the command line, and nothing else.",
    against="An option that is taken and not sent.",
    breaks=("cli-redrives-any-reason",),
)
def test_jobs_are_redriven_by_kind_and_reason(jobs: Jobs) -> None:
    assert jobs.run("redrive", "--kind", LOOSE.name, "--reason", "max_starts") == "Redrove 1 jobs.\n"
    states = jobs.states()
    assert (states[jobs.crashed], [states[number] for number in jobs.dead]) == ("pending", ["dead"] * 3)
    came = json.loads(jobs.run("redrive", "--kind", LOOSE.name, "--json"))
    assert came == {"redriven": 2, "refused": []}
    assert jobs.states()[jobs.dead[2]] == "dead"
    assert "No kind 'test.lose' is known here" in jobs.run("redrive", "--kind", "test.lose", status=1)


def test_all_the_dead_are_redriven_only_by_somebody_who_says_yes(jobs: Jobs) -> None:
    assert "--yes" in jobs.run("redrive", "--all", status=2)
    assert _asked(jobs, "n") == 1
    assert "dead" in jobs.states().values()
    assert _asked(jobs, "y") == 0
    assert "dead" not in jobs.states().values()
    assert jobs.run("redrive", "--all", "--yes") == "Redrove 0 jobs.\n"


def _asked(jobs: Jobs, said: str) -> int:
    """`redrive --all` by a person at a terminal, who says this; its exit status."""
    ours, theirs = pty.openpty()
    words = ["jobs", "redrive", "--all", "--data", str(jobs.daemon.data)]
    asking = subprocess.Popen(
        [sys.executable, "-m", "holdfast", *words], env=environment(), cwd=ROOT, stdin=theirs,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.write(ours, f"{said}\n".encode())
    try:
        return asking.wait(30)
    finally:
        asking.kill()
        os.close(ours)
        os.close(theirs)


def test_jobs_are_cancelled_and_the_acts_are_on_record(jobs: Jobs) -> None:
    run = jobs.run("cancel", str(jobs.later), str(jobs.dead[0]))
    assert run.splitlines() == [f"Cancelled job {number} of {LOOSE.name}." for number in (jobs.later, jobs.dead[0])]
    states = jobs.states()
    assert (states[jobs.later], states[jobs.dead[0]]) == ("cancelled", "cancelled")
    audit = holdfast("audit", "--data", str(jobs.daemon.data)).stdout
    assert f"propagation.cancelled  {jobs.later}" in audit
    assert "is cancelled since" in jobs.run("cancel", str(jobs.later), status=1)


def test_effects_that_are_not_held_are_not_released(jobs: Jobs) -> None:
    assert jobs.run("release").startswith("No effects were held")
    assert json.loads(jobs.run("release", "--json")) == {"released": False}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["redrive"], "--kind KIND"),
        (["redrive", "1", "--all"], "one of the three"),
        (["redrive", "1", "--reason", "max_starts"], "--reason"),
        (["redrive", "x"], "integer"),
        (["cancel"], "ID"),
        (["ls", "--state", "gone"], "pending"),
        (["ls", "--limit", "0"], "limit"),
    ],
)
def test_wrong_usage_says_what_to_do(words: list[str], hint: str, tmp_path: Path) -> None:
    done = holdfast("jobs", *words, "--data", str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert hint in done.stderr


def test_without_a_daemon_only_the_schedules_are_told(tmp_path: Path) -> None:
    for words in (["ls"], ["show", "1"], ["redrive", "1"], ["cancel", "1"], ["release"]):
        done = holdfast("jobs", *words, "--data", str(tmp_path))
        assert (done.returncode, "holdfast up" in done.stderr) == (3, True), words
    told = {line.split("\t")[0]: line.split("\t")[1:4] for line in holdfast("jobs", "schedule").stdout.splitlines()}
    assert told["standard"] == ["11", "55 h 51 m", "1 m, 5 m, 15 m, 30 m, 1 h, 2 h, 4 h, 8 h, 16 h, 24 h"]
    assert told["interactive"] == ["6", "23.2 s", "0.2 s, 1 s, 2 s, 5 s, 15 s"]
    tables = json.loads(holdfast("jobs", "schedule", "--json").stdout)
    assert [table["horizon_seconds"] for table in tables if table["name"] == "standard"] == [201_060.0]


def test_an_empty_list_teaches_at_a_terminal(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data").up()
    try:
        ours, theirs = pty.openpty()
        words = ["jobs", "ls", "--state", "dead", "--data", str(daemon.data)]
        shown = subprocess.run(
            [sys.executable, "-m", "holdfast", *words], env=environment(), cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=theirs, check=True, timeout=30,
        )  # fmt: skip
        assert shown.returncode == 0
        assert b"redrive or cancel them" in os.read(ours, 4_096)
        os.close(ours)
        os.close(theirs)
    finally:
        daemon.close()
