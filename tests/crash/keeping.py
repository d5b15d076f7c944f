"""One life of a workspace, step by step as a saga has it: `keeping.py REPO DATA`; each step done is a line in a file.

A life that died is lived again from its first step that is not in the file. The steps make a worktree, work in it,
keep the work, remove the worktree, and put the work back.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from holdfast.fleet.workspaces import kept, removal, worktree
from holdfast.fleet.workspaces.capture import Captured, capture, captured
from holdfast.fleet.workspaces.place import Order
from holdfast.fleet.workspaces.setup import Ready, setup
from repositories import git, ordered, repository, state_of, tree_of


class Life:
    """The steps, and what is written down of each."""

    def __init__(self, repo: Path, data: Path) -> None:
        self.data, self.file = data, data / "steps"
        self.order: Order = ordered(repo, data, commit=git(repo, "rev-parse", "main"))
        self.other: Order = ordered(repo, data, 2, commit=self.order.commit)
        self.top = self.order.path

    def live(self) -> None:
        """Take every step that is not done."""
        steps: dict[str, Callable[[], str]] = {
            "add": self.add,
            "set up": self.set_up,
            "work": self.work,
            "capture": self.capture,
            "remove": self.remove,
            "restore": self.restore,
            "add another": self.add_another,
            "capture another": self.capture_another,
            "remove another": self.remove_another,
        }
        for name, take in steps.items():
            if name not in self.done():
                told = take()
                with self.file.open("a", encoding="utf-8") as file:
                    file.write(f"{name}={told}\n")

    def done(self) -> dict[str, str]:
        """The steps that were taken, and what came of them."""
        if not self.file.exists():
            return {}
        return dict(line.split("=", 1) for line in self.file.read_text(encoding="utf-8").splitlines())

    def add(self) -> str:
        return worktree.add(self.order).branch

    def set_up(self) -> str:
        done = setup(self.top, ["echo made > made"], {"PATH": os.environ["PATH"]}, self.data / "log", 60)
        assert done == Ready(1), done
        return "ready"

    def work(self) -> str:
        top = self.top
        (top / "readme.md").write_bytes(b"staged\r\n")
        git(top, "add", "readme.md")
        (top / "readme.md").write_bytes(b"changed\r\n")
        (top / "run.sh").chmod(0o700)
        (top / "link").unlink()
        (top / "empty" / "folder").mkdir(parents=True, exist_ok=True)
        if not (top / "inner").exists():
            repository(top / "inner")
        git(top, "commit", "-q", "-m", "an agent's commit", "--allow-empty")
        git(top, "checkout", "-q", "--detach")
        git(top, "commit", "-q", "-m", "on no branch", "--allow-empty")
        (top / "staged").write_bytes(b"only in the index")
        git(top, "add", "staged")
        (self.data / "left").write_bytes(pickle.dumps((tree_of(top), state_of(top))))
        return "worked"

    def capture(self) -> str:
        kept_work = capture(self.order)
        assert isinstance(kept_work, Captured), kept_work
        return kept_work.ref

    def remove(self) -> str:
        removed = removal.remove(self.order, captured(self.order.repo, self.done()["capture"]))
        assert isinstance(removed, removal.Removed), removed
        return removed.why

    def restore(self) -> str:
        return kept.restore(self.order, self.done()["capture"]).why

    def add_another(self) -> str:
        return worktree.add(self.other).branch

    def capture_another(self) -> str:
        kept_work = capture(self.other)
        assert isinstance(kept_work, Captured), kept_work
        return kept_work.ref

    def remove_another(self) -> str:
        """Its branch goes with it: it has no commit of its own."""
        removed = removal.remove(self.other, captured(self.order.repo, self.done()["capture another"]))
        assert isinstance(removed, removal.Removed), removed
        assert not removed.branch, removed
        return removed.why


if __name__ == "__main__":
    Life(Path(sys.argv[1]), Path(sys.argv[2])).live()
