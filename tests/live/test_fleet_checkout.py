"""The person's own checkout: after twenty sessions came and went it is what it was, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleets import bytes_of, ended, fleet, git, settled

if TYPE_CHECKING:
    from pathlib import Path

TWENTY = 20
#: What of git's folder is ours, or only ever grows.
_OURS = ("objects/", "refs/holdfast", "refs/heads/holdfast", "logs/refs/heads/holdfast")


def _person_at_work(repo: Path) -> None:
    """A checkout as people have them: things staged, changed again, new, ignored, stashed, tagged, configured."""
    git(repo, "config", "core.autocrlf", "false")
    git(repo, "config", "alias.st", "status -s")
    git(repo, "tag", "-m", "a tag", "v1")
    git(repo, "branch", "feature")
    (repo / "code.py").write_text("print('stashed')\n")
    git(repo, "stash")
    (repo / ".git" / "info" / "exclude").write_text("# mine\n*.log\n")
    (repo / ".gitignore").write_text("secret.env\n")
    (repo / "secret.env").write_text("KEY=1\n")
    (repo / "run.log").write_text("noise\n")
    (repo / "staged.txt").write_text("staged\n")
    git(repo, "add", "staged.txt")
    (repo / "staged.txt").write_text("staged, then changed\n")
    (repo / "code.py").write_text("print('not committed')\r\n")
    (repo / "new file.txt").write_bytes(b"\x00\xff new")
    (repo / "link").symlink_to("README")
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)


def _git_folder(repo: Path) -> dict[str, str]:
    found = bytes_of(repo / ".git")
    return {name: what for name, what in found.items() if not name.startswith(_OURS) and name != "refs"}


def _refs(repo: Path) -> list[str]:
    lines = git(repo, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return [line for line in lines if not line.startswith(("refs/holdfast/", "refs/heads/holdfast/"))]


@pytest.mark.slow
@pytest.mark.needs("tmux")
@pytest.mark.guards(
    "The person's own checkout is byte-identical after sessions came and went: files, index, HEAD, refs, reflogs, "
    "configuration and exclude file, also with work in it that is not committed.",
    against="Worktrees of agents write to the configuration, the exclude file or the index that they share with the "
    "person's checkout, or leave folders and refs there.",
    breaks=("fleet-writes-the-persons-exclude", "fleet-keeps-its-marks-in-the-config"),
)
def test_the_persons_checkout_is_untouched_after_twenty_sessions(tmp_path: Path) -> None:
    with fleet(tmp_path, "tmux", HOLDFAST_FLEET_MAX_SESSIONS="32") as subject:
        repo = subject.repository
        _person_at_work(repo)
        files, inside, refs = bytes_of(repo), _git_folder(repo), _refs(repo)
        objects = set(bytes_of(repo / ".git" / "objects"))
        plain, commits = "turn:\nedit README more\nedit fresh.txt new", "turn:\nedit fresh.txt new\ncommit\nedit late x"
        ids = [subject.spawn(f"task {n}", steps=commits if n % 2 else plain) for n in range(TWENTY)]
        subject.until_all(ids, settled)
        assert len(subject.worktrees()) == TWENTY
        assert bytes_of(repo) == files
        for each in ids:
            subject.ask(each, "kill")
        subject.until_all(ids, ended)
        assert sorted(subject.post("/api/v1/sessions/cleanup")["sessions"]) == sorted(ids)
        subject.until_all(ids, lambda row: row["workspace"] is None and row["saga"] is None)

        assert bytes_of(repo) == files
        assert _git_folder(repo) == inside
        assert _refs(repo) == refs
        assert objects <= set(bytes_of(repo / ".git" / "objects"))
        assert subject.worktrees() == set()
        # The branches with commits of their own are all that is left, beside the kept work.
        assert len(subject.branches()) == TWENTY // 2
        kept = subject.get("/api/v1/kept?limit=100")["items"]
        assert {each["session"] for each in kept} == set(ids)
        git(repo, "fsck", "--strict")
