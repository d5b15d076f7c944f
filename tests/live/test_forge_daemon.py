"""The whole of it: a real daemon, a real agent, a check, a merge by policy, and the end of the session for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleets import ended, fleet, git

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_an_agent_that_is_done_is_checked_merged_and_ended(tmp_path: Path) -> None:
    with fleet(tmp_path, "process", HOLDFAST_FLEET_FORGE_SECONDS="0.2") as subject:
        wanted = {"checks": ["test -f made"], "merge_by": "policy", "merge_how": "squash"}
        assert subject.daemon.ask("PATCH", "/api/v1/projects/demo", wanted).status == 200
        session = subject.spawn(steps="turn:\nedit made it\ncommit\ndone")
        row = subject.until(session, ended)
        assert (row["state"], row["reason"], row["status"]) == ("terminated", "pr_merged", "merged")
        assert git(subject.repository, "show", "main:made") == "it"
        assert (subject.repository / "made").read_text() == "it\n"
        assert git(subject.repository, "status", "--porcelain") == ""
        (pull,) = subject.rows("SELECT id, state, merge_commit FROM pulls")
        assert pull == {"id": "demo.1", "state": "merged", "merge_commit": git(subject.repository, "rev-parse", "main")}
        (check,) = subject.rows("SELECT name, state FROM checks")
        assert check == {"name": "test -f made", "state": "passed"}
        assert subject.processes() == []
