"""kill -9 of the daemon at every fault point of a session's life, with real runtimes and git: no orphan, ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crash.fleeting import points, walk
from fleets import fleet

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("runtime", ["tmux", "process"])
def test_the_walk_knows_points_of_every_saga(runtime: str) -> None:
    found = points(runtime)
    for start in ("launch.", "undo.", "kill.", "cleanup.", "workspace.", "capture.", "kept.", "watch.", f"{runtime}."):
        assert any(name.startswith(start) for name in found), start


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.needs("tmux")
@pytest.mark.timeout(600)
@pytest.mark.guards(
    "a daemon killed at any point of a session's life leaves one agent or none, and the row says which",
    against="zombies and orphans: agents, worktrees, branches and terminals that nobody knows of any more",
    breaks=("fleet-starts-a-second-agent", "fleet-leaves-what-failed"),
)
def test_a_daemon_killed_at_every_point_leaves_one_agent_or_none(tmp_path: Path) -> None:
    with fleet(tmp_path, "tmux") as subject:  # the other runtime is walked by `make crash`
        assert walk(subject, tmp_path / "dying") == []
