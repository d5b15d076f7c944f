"""Worlds that a forge is tried in: each can make what the suite is about, by that forge's own means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from forging import commit
from holdfast.core.clock import SYSTEM
from holdfast.core.pack import Means
from holdfast.fleet.fleet import Fleet
from holdfast.fleet.forges.port import Forge, Opening
from holdfast.fleet.forges.registry import FORGES
from holdfast.fleet.pulls.facts import Pull
from holdfast.sections import FleetSettings
from repositories import git, repository

BRANCH, BASE = "holdfast/web-1", "main"


class World(Protocol):
    """What a forge is tried with."""

    forge: Forge

    def work(self, **files: str) -> str:
        """Somebody commits these files to the branch; the commit."""
        ...

    def meanwhile(self, **files: str) -> str:
        """Somebody commits these files to the base; the commit."""
        ...

    def rewind(self) -> None:
        """The branch is moved back to where the base is."""
        ...

    def delete_branch(self) -> None:
        """The branch is deleted."""
        ...

    def merge_by_hand(self) -> None:
        """Somebody merges the branch into the base by other means than ours."""
        ...

    def vanish(self) -> None:
        """The forge cannot be asked any more, for now."""
        ...

    def base_files(self) -> dict[str, str]:
        """The files that the base holds."""
        ...

    def base_log(self) -> list[str]:
        """The commits of the base in the order of its first parents, newest first."""
        ...

    def settings(self) -> Any:
        """Whatever the forge must leave as it is."""
        ...

    @property
    def session(self) -> dict[str, Any]:
        """A session whose branch it is."""
        ...

    @property
    def project(self) -> dict[str, Any]:
        """Its project."""
        ...


@dataclass
class LocalWorld:
    """The person's repository, with a worktree for the branch; the base is checked out by the person."""

    folder: Path

    def __post_init__(self) -> None:
        self.repo = repository(self.folder / "repo")
        self.tree = self.folder / "tree"
        git(self.repo, "worktree", "add", "-q", "-b", BRANCH, str(self.tree), BASE)
        store: Any = SimpleNamespace(uuid="0123456789abcdef")
        settings = SimpleNamespace(data=self.folder / "own", host="local", channels={}, fleet=FleetSettings())
        self.forge: Forge = FORGES["local"](Fleet(Means(store, SYSTEM, settings, ())))

    def work(self, **files: str) -> str:
        return commit(self.tree, "work", **files)

    def meanwhile(self, **files: str) -> str:
        return commit(self.repo, "meanwhile", **files)

    def rewind(self) -> None:
        git(self.tree, "reset", "-q", "--hard", BASE)

    def delete_branch(self) -> None:
        git(self.tree, "checkout", "-q", "--detach")
        git(self.repo, "branch", "-q", "-D", BRANCH)

    def merge_by_hand(self) -> None:
        git(self.repo, "merge", "-q", "--no-edit", BRANCH)

    def vanish(self) -> None:
        (self.repo / ".git" / "HEAD").write_text("nonsense\n")

    def base_files(self) -> dict[str, str]:
        names = git(self.repo, "ls-tree", "-r", "--name-only", BASE).splitlines()
        return {name: git(self.repo, "show", f"{BASE}:{name}") for name in names}

    def base_log(self) -> list[str]:
        return git(self.repo, "log", "--first-parent", "--format=%H", BASE).splitlines()

    def settings(self) -> Any:
        kept = ("config", "info/exclude", "HEAD", "description")
        top = self.repo / ".git"
        files = {name: (top / name).read_bytes() for name in kept if (top / name).exists()}
        refs = git(self.repo, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return files, [line for line in refs if f"refs/heads/{BASE} " not in line]

    @property
    def session(self) -> dict[str, Any]:
        return {
            "id": "web-1",
            "project": "web",
            "repository": str(self.repo),
            "branch": BRANCH,
            "base": BASE,
            "title": "Mend the door",
            "host": "local",
        }

    @property
    def project(self) -> dict[str, Any]:
        return {"id": "web", "path": str(self.repo), "base": None, "checks": '["true", "make  test"]'}


#: Every forge that there is, and its world.
WORLDS: dict[str, type[Any]] = {"local": LocalWorld}


def pull_of(opening: Opening, forge: Forge) -> Pull:
    """The pull that was opened, as it is known at first."""
    return Pull(
        id=f"web.{opening.number or 1}",
        project="web",
        number=opening.number or 1,
        forge=forge.name,
        session="web-1",
        opened_by="token:test",
        opened_at="2026-11-21T08:00:00.000000Z",
        branch=opening.branch,
        base=opening.base,
        head=opening.head,
        base_commit=opening.base_commit,
        title=opening.title,
        url=opening.url,
    )
