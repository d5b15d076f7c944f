"""The story of the demo, told by `--demo` and by hand: it takes nothing that anybody else could not do as well."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import PATIENCE, ROOT, Daemon, environment
from fleets import Fleet, git
from holdfast.cli.demo import CHECK, PARTS, PROJECT, add_demo, make

pytestmark = pytest.mark.needs("tmux")


def holdfast(shop: Fleet, *words: str) -> str:
    """What our own command line prints; it must succeed."""
    env = environment(HOLDFAST_DATA=str(shop.daemon.data))
    command = [sys.executable, "-m", "holdfast", *words]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def by_demo(shop: Fleet) -> None:
    """As `holdfast up --demo` does it."""
    shop.daemon.words = (*shop.daemon.words, "--demo")
    shop.up()


def by_hand(shop: Fleet) -> None:
    """As a person does it, in a repository with the same files."""
    make(shop.repository)
    shop.up()
    holdfast(shop, "project", "add", str(shop.repository), "--id", PROJECT, "--agent", "scripted", "--check", CHECK)
    for part in PARTS:
        words = ("--title", part.title, "--prompt", part.prompt, "-o", f"steps={part.steps}")
        holdfast(shop, "spawn", PROJECT, *words)


@pytest.fixture(params=[by_demo, by_hand], ids=["demo", "by hand"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """A daemon with the demo's project and both of its agents at work."""
    data = tmp_path / "data"
    made = Fleet(Daemon(data), data / PROJECT if request.param is by_demo else tmp_path / "repo", "tmux")
    try:
        request.param(made)
        yield made
    finally:
        made.close()


def test_the_story_of_the_demo(shop: Fleet) -> None:
    titles = {row["title"]: name for name, row in shop.wait(shop.sessions, lambda rows: len(rows) == 2).items()}
    seller, sorter = titles["Sell pears"], titles["Sort the prices"]

    def pull() -> Any:
        return next(iter(shop.get(f"/api/v1/pulls?session={seller}")["items"]), None)

    # It breaks the check, is given the log, mends it.
    ready = shop.wait(pull, lambda found: found is not None and found["status"] == "mergeable", seconds=PATIENCE)
    whole = shop.get(f"/api/v1/pulls/{ready['id']}")
    assert [check["state"] for check in whole["checks"]] == ["passed"]
    assert [nudge["reaction"] for nudge in whole["nudges"] if nudge["message"]] == ["ci-failed"]
    (told,) = [each for each in shop.get(f"/api/v1/sessions/{seller}/messages")["items"] if each["kind"] == "message"]
    assert "FAILED: total.sh prints 75" in told["text"]
    assert told["state"] == "confirmed"
    states = [(row["state"], row["commit_id"]) for row in shop.rows("SELECT state, commit_id FROM checks ORDER BY id")]
    assert [state for state, _ in states] == ["failed", "passed"]
    assert len({commit for _, commit in states}) == 2

    # It asks for the merge; the other one asks a question.
    def notices() -> dict[str, Any]:
        return {each["kind"]: each for each in shop.get("/api/v1/notices")["items"]}

    asked = shop.wait(notices, lambda found: "approved-and-green" in found)
    assert f"holdfast pulls merge {ready['id']}" in asked["approved-and-green"]["text"]
    shop.until(sorter, lambda row: row["status"] == "needs_input")

    # A person merges; the notice is over, and so is the session.
    before = git(shop.repository, "rev-parse", "main")
    holdfast(shop, "pulls", "merge", ready["id"])
    assert "pears 15" in (shop.repository / "prices.txt").read_text()
    assert git(shop.repository, "rev-parse", "main") != before
    assert git(shop.repository, "status", "--porcelain") == ""
    shop.until(seller, lambda row: row["status"] == "merged")
    shop.wait(notices, lambda found: "approved-and-green" not in found)


def test_a_demo_that_is_added_again_adds_nothing(tmp_path: Path) -> None:
    shop = Fleet(Daemon(tmp_path / "data"), tmp_path / "data" / PROJECT, "tmux")
    try:
        by_demo(shop)
        ids = shop.wait(shop.sessions, lambda rows: len(rows) == 2).keys()
        add_demo(shop.daemon.data, shop.daemon.url)
        assert shop.sessions().keys() == ids
    finally:
        shop.close()
