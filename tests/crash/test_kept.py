"""kill -9 at every point of a workspace's life: it goes on, its work comes back, the checkout is untouched."""

from __future__ import annotations

import importlib
import os
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
import holdfast.fleet.workspaces
from crash.keeping import Life
from holdfast.core import faults
from holdfast.fleet.workspaces import kept, removal, worktree
from holdfast.fleet.workspaces.capture import Captured, capture
from repositories import git, own_of, repository, state_of, tree_of

for _found in pkgutil.iter_modules(holdfast.fleet.workspaces.__path__, "holdfast.fleet.workspaces."):
    importlib.import_module(_found.name)
POINTS = sorted(name for name in faults.points() if name.startswith(("workspace.", "capture.", "kept.")))
LIFE = Path(__file__).with_name("keeping.py")


def _live(repo: Path, data: Path, fault: str) -> tuple[int, str]:
    names = {"HOLDFAST_FAULTS": fault, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(LIFE), str(repo), str(data)],
        env={**os.environ, **names},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr


def test_the_walk_knows_the_points() -> None:
    assert {"workspace.added", "workspace.condemned", "capture.written", "kept.filled", "workspace.unbranched"} <= set(
        POINTS
    )


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.guards(
    "After kill -9 at any point of making, keeping, removing and putting back, the next life comes to the same end: "
    "the work is there in every byte, kept once, and nothing else is left anywhere.",
    against="Work lost, worktrees orphaned, or clean-ups that never end, because a process died at the wrong moment.",
    breaks=("removal-forgets-what-it-moved", "kept-is-never-finished"),
)
@pytest.mark.parametrize("point", POINTS)
def test_kill_9_at_every_point_loses_nothing(tmp_path: Path, point: str) -> None:
    repo, data = repository(tmp_path / "repo"), tmp_path / "data"
    data.mkdir()
    before = own_of(repo)

    status, words = _live(repo, data, f"{point}=die")
    assert status == faults.DIED, words
    # The second one dies there as well, if it comes there.
    status, words = _live(repo, data, f"{point}=die")
    assert status in (0, faults.DIED), words
    status, words = _live(repo, data, "")
    assert status == 0, words

    life = Life(repo, data)
    assert (tree_of(life.top), state_of(life.top)) == pickle.loads((data / "left").read_bytes())
    assert [each.path for each in worktree.ours(repo)] == [life.top]
    assert [each.ref for each in kept.list_refs(repo)] == [f"refs/holdfast/kept/web-{n}/1" for n in (1, 2)]
    captured = capture(life.order)
    assert isinstance(captured, Captured)
    assert captured.ref == "refs/holdfast/kept/web-1/1"
    assert isinstance(removal.remove(life.order, captured), removal.Removed)
    assert list(life.top.parent.iterdir()) == []
    assert own_of(repo) == before
    assert git(repo, "for-each-ref", "--format=%(refname)").split() == [
        "refs/heads/holdfast/web-1",
        "refs/heads/main",
        "refs/holdfast/kept/web-1/1",
        "refs/holdfast/kept/web-2/1",
    ]
