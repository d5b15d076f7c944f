"""Looks at a folder the way git does: is it a repository that agents can work in. Changes nothing there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import Invalid
from holdfast.fleet.workspaces.git import Git

_GIT_SECONDS = 10
_LONGEST_NAME = 300
_LONGEST_ID = 40
_NOT_IN_ID = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree with at least one commit."""

    path: str  # its top folder, links followed

    @property
    def id(self) -> str:
        """The project id that its folder's name makes, or nothing where that makes none."""
        return _NOT_IN_ID.sub("-", Path(self.path).name.lower()).strip("-")[:_LONGEST_ID].strip("-")


def look_at(path: str) -> Repository:
    """The repository at or around this folder; blocks, so it runs on a thread."""
    name = repr(path if len(path) <= _LONGEST_NAME else path[:_LONGEST_NAME] + "…")
    if not path.startswith("/"):
        message = f"{name} is not an absolute path. Write it out from the root."
        raise Invalid(message, field="path")
    try:
        there = Path(path).is_dir()
    except (OSError, ValueError):  # too long a name, a loop of links, no permission on the way
        there = False
    if not there:
        message = f"{name} is not a folder that the daemon can see. Check the path and its permissions."
        raise Invalid(message, field="path")
    status, bare, said = _git(path, "rev-parse", "--is-bare-repository")
    if status:
        message = f"{name} is not a git repository ({said}). Make one there with `git init`, or give another path."
        raise Invalid(message, field="path")
    if bare == "true":
        message = f"{name} is a bare repository: there are no files to work on. Clone it and give the clone."
        raise Invalid(message, field="path")
    status, top, said = _git(path, "rev-parse", "--show-toplevel")
    if status or not top:
        message = f"{name} is not inside a work tree ({said}). Give the folder that holds the files."
        raise Invalid(message, field="path")
    if _git(path, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")[0]:
        message = f"The repository {top!r} has no commit yet, so nothing can branch off it. Make a first commit."
        raise Invalid(message, field="path")
    return Repository(str(Path(top).resolve()))


def _git(path: str, *words: str) -> tuple[int, str, str]:
    answer = Git(Path(path), seconds=_GIT_SECONDS).ask(*words)
    return answer.status, answer.text, answer.said
