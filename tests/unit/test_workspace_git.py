"""Running git: its environment, its time, and the words of its failures."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from holdfast.core.errors import Unavailable
from holdfast.fleet.workspaces.git import Git, environment
from holdfast.fleet.workspaces.survey import Hasher
from repositories import git, repository


def test_nothing_of_the_callers_git_nor_our_secrets_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("HOLDFAST_TOKEN", "hft_secret")
    told = environment({"GIT_INDEX_FILE": "/index"})
    assert {name for name in told if name.startswith(("GIT_", "HOLDFAST_"))} == {
        "GIT_OPTIONAL_LOCKS",
        "GIT_TERMINAL_PROMPT",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_LITERAL_PATHSPECS",
        "GIT_EDITOR",
        "GIT_INDEX_FILE",
    }


@pytest.mark.guards(
    "A git that does not come to its end is ended, with all its children, and that is told.",
    against="A thread and a saga that wait for ever for a git that hangs on a filter or a dead disk.",
    breaks=("git-has-no-end",),
)
def test_git_is_ended_with_its_children_when_its_time_is_over(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    git(repo, "config", "alias.hang", "!sleep 15 & echo $! > child; sleep 15")
    with pytest.raises(Unavailable, match=r"took longer than 1 s"):
        Git(repo, seconds=1).ask("hang")
    with pytest.raises(Unavailable, match=r"took longer than 1 s"), Git(repo, seconds=1).talk("hang") as talk:
        talk.hear.read()
    with suppress(psutil.NoSuchProcess):
        assert psutil.Process(int((repo / "child").read_text())).wait(10) is None


def test_a_failure_says_what_git_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = repository(tmp_path / "repo")
    with pytest.raises(Unavailable, match=r"git rev-parse failed in .*Needed a single revision"):
        Git(repo).run("rev-parse", "--verify", "nope")
    with pytest.raises(Unavailable), Git(repo).talk("cat-file", "--nope") as talk:
        talk.tell.write(b"x" * 1_000_000)
    with pytest.raises(Unavailable, match="cannot change to"):
        Git(tmp_path / "gone").run("status")
    with pytest.raises(Unavailable, match="could not be run"):
        Git(repo).run("rev-parse", "a\0b")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="not installed"):
        Git(repo).run("status")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_bytes_are_named_as_git_names_them(tmp_path: Path, algorithm: str) -> None:
    git(tmp_path, "init", "-q", f"--object-format={algorithm}")
    for data in (b"", b"\0", b"a\r\n" * 1000, os.urandom(3_000_000)):
        name = git(tmp_path, "hash-object", "--stdin", stdin=data)
        pieces = iter([data[:7], data[7:]])
        assert Hasher(algorithm).of(data) == name == Hasher(algorithm).stream(len(data), pieces)
        assert Hasher(algorithm).stream(len(data) + 1, iter([data])) == ""
