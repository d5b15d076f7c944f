"""Random work in a worktree: kept, removed, collected by git and put back, it is what it was in every byte."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from holdfast.fleet.workspaces import kept, removal, worktree
from holdfast.fleet.workspaces.capture import Captured, capture
from repositories import git, ordered, repository, state_of, tree_of

NAMES = st.sampled_from(
    [
        *(
            b"readme.md",
            b"run.sh",
            b"link",
            b"src",
            b"src/app.py",
            b"a",
            b"a/b",
            b"a/b/c",
            b"new",
            b".gitignore",
            b"x.log",
        ),
        *(
            b"build/out",
            b"line\nfeed",
            b"\xff\xfe",
            b'a/quo"te',
            b"-n",
            b"git~1",
            b".gitattributes",
            b"\\",
            b"sub",
            b"nest",
        ),
    ]
)
BYTES = st.one_of(
    st.sampled_from(
        [b"", b"\r\n", b"a\r\nb\n", b"\0\xff", b"$Id$\n", b"one\ntwo\nthree\n", b"* text eol=crlf filter=shout\n"]
    ),
    st.binary(max_size=40),
)
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o777, 0o4755, 0o640])
FOLDER_MODES = st.sampled_from([0o755, 0o700, 0o555, 0o1777])


@dataclass(frozen=True)
class Step:
    """Something an agent does; what cannot be done at that moment is not."""

    what: str
    name: bytes = b""
    data: bytes = b""
    mode: int = 0


def _step(what: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.builds(Step, what=st.just(what), **parts)


STEPS = st.one_of(
    _step("write", name=NAMES, data=BYTES),
    _step("write", name=NAMES, data=BYTES),
    _step("stage", name=NAMES),
    _step("intend", name=NAMES),
    _step("chmod", name=NAMES, mode=MODES),
    _step("folder", name=NAMES, mode=FOLDER_MODES),
    _step("delete", name=NAMES),
    _step("link", name=NAMES, data=st.sampled_from([b"readme.md", b"..", b"nowhere", b"/etc", b"a\nb\xff"])),
    _step("fifo", name=NAMES),
    _step("commit"),
    _step("reset"),
    _step("detach"),
    _step("branch"),
    _step("orphan"),
    _step("stage all"),
    _step("conflict"),
    _step("nest", name=st.sampled_from([b"nest", b"a/nest", b"build/nest", b"src"])),
    _step("nest with commits", name=st.sampled_from([b"nest", b"build/deep", b"sp ace"])),
    _step("submodule"),
)


@dataclass
class Agent:
    """Works in a worktree, with real git and real files."""

    top: Path
    library: Path
    count: int = 0

    def do(self, step: Step) -> None:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.top), step.name)))  # noqa: PTH118
        act: Callable[[], Any] = {
            "write": lambda: self._write(path, step.data),
            "stage": lambda: git(self.top, "add", "-f", "--", step.name, check=False),
            "intend": lambda: git(self.top, "add", "-N", "--", step.name, check=False),
            "chmod": lambda: path.chmod(step.mode) if _is(path, stat.S_ISREG) else None,
            "folder": lambda: self._folder(path, step.mode),
            "delete": lambda: path.unlink() if os.path.lexists(path) and not _is(path, stat.S_ISDIR) else None,
            "link": lambda: os.symlink(step.data, os.fsencode(path)),  # noqa: PTH211
            "fifo": lambda: os.mkfifo(path),
            "commit": lambda: git(self.top, "commit", "-q", "--allow-empty", "-m", "more", check=False),
            "reset": lambda: git(self.top, "reset", "-q", "--hard", "HEAD~1", check=False),
            "detach": lambda: git(self.top, "checkout", "-q", "--detach", check=False),
            "branch": lambda: git(self.top, "checkout", "-q", "-b", f"feature-{self.count}", check=False),
            "orphan": lambda: git(self.top, "checkout", "-q", "--orphan", f"orphan-{self.count}", check=False),
            "stage all": lambda: git(self.top, "add", "-A", check=False),
            "conflict": self._conflict,
            "nest": lambda: self._nest(path),
            "nest with commits": lambda: repository(path),
            "submodule": self._submodule,
        }[step.what]
        self.count += 1
        try:
            act()
        except (OSError, AssertionError):
            event(f"not now: {step.what}")

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        if os.path.lexists(path) and not _is(path, stat.S_ISREG):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    @staticmethod
    def _folder(path: Path, mode: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)

    def _conflict(self) -> None:
        tree = git(self.top, "rev-parse", "HEAD^{tree}")
        other = git(self.top, "hash-object", "-w", "--stdin", stdin=b"theirs %d\n" % self.count)
        index = self.top.parent / "index-of-theirs"
        names = {"GIT_INDEX_FILE": str(index)}
        git(self.top, "read-tree", tree, **names)
        git(self.top, "update-index", "--add", "--cacheinfo", f"100644,{other},readme.md", **names)
        theirs = git(
            self.top, "commit-tree", "-p", "HEAD~1", "-m", "theirs", git(self.top, "write-tree", **names), check=False
        )
        index.unlink(missing_ok=True)
        git(self.top, "merge", "--no-edit", theirs or "HEAD", check=False)

    def _nest(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        git(path, "init", "-q")
        (path / "begun").write_bytes(b"begun\r\n")
        git(path, "add", "begun")

    def _submodule(self) -> None:
        words = ("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(self.library), "sub")
        git(self.top, *words)
        (self.top / "sub" / "readme.md").write_bytes(b"changed in the submodule\r\n")


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    return os.path.lexists(path) and kind(path.lstat().st_mode)


@pytest.mark.slow
@pytest.mark.guards(
    "Random work of any kind comes back byte for byte, with its modes, its index and its HEAD, after it was removed.",
    against="A mixture of states that nobody thought of, lost or changed by a clean-up.",
    breaks=("kept-follows-its-links", "kept-without-empty-folders"),
)
@settings(max_examples=20, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=3, max_size=14))
def test_random_work_comes_back_as_it_was(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        repo = repository(base / "repo", attributes="* text=auto\n")
        git(repo, "config", "filter.shout.clean", "tr a-z A-Z")
        git(repo, "commit", "-q", "--allow-empty", "-m", "second")
        order = ordered(repo, base / "data")
        top = worktree.add(order).path
        agent = Agent(top, repository(base / "library"))
        # The agent's own git would wait for ever for a writer to a fifo, were one there before its merges.
        for step in sorted(steps, key=lambda step: step.what == "fifo"):
            agent.do(step)
        left = (tree_of(top), state_of(top))

        captured = capture(order, ignored=True)
        assert isinstance(captured, Captured), captured
        removed = removal.remove(order, captured)
        assert isinstance(removed, removal.Removed), removed
        git(repo, "gc", "-q", "--prune=now")
        kept.restore(order, captured.ref)

        assert (tree_of(top), state_of(top)) == left
        assert isinstance(removal.remove(order, captured), removal.Removed)
        git(repo, "fsck", "--no-dangling")
