"""Registers a worktree with git: without its files, one of us at a time, again where others were in the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import Conflict
from holdfast.fleet.workspaces.git import Git, failed
from holdfast.fleet.workspaces.place import Place, alone

#: What git says of another worktree's entry that is just being written, by the person or by an agent.
_IN_THE_WAY = "failed to read"
_TRIES = 4
_TAKEN = ("already exists", "already checked out", "not a valid")


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch as it is now."""

    tip: str
    checked_out: str  # the worktree that has it checked out; empty where none has


def register(place: Place, words: Callable[[bool], list[str]]) -> Path:
    """Let git make its folder of the worktree.

    The words are asked for with every try and told whether one went before, which may have come as far as the branch.
    """
    git, said = Git(place.order.repo), ""
    for number in range(_TRIES):
        more = words(number > 0)
        with alone(place.common):
            answer = git.ask("worktree", "add", "--quiet", "--no-checkout", "--lock", "--reason", place.reason, *more)
        git_dir = place.git_dir()
        if answer.status == 0 and git_dir is not None:
            return git_dir
        said = answer.said
        if _IN_THE_WAY not in said:
            break
        place.clear()
        place.path.mkdir(exist_ok=True)
    if any(taken in said for taken in _TAKEN):
        message = f"git could not make the worktree {str(place.path)!r}: {said}."
        raise Conflict(f"{message} Choose another name, or clear the way.", path=str(place.path))
    raise failed(("worktree",), place.path, said)


def branch_of(place: Place, name: str) -> Branch | None:
    """A branch of the repository, and whether somebody has it checked out."""
    ref = f"refs/heads/{name}"
    with alone(place.common):
        form = "--format=%(refname) %(objectname) %(worktreepath)"
        rows = os.fsdecode(Git(place.order.repo).run("for-each-ref", form, ref)).split("\n")
    for row in rows:
        if row.startswith(f"{ref} "):
            _, tip, checked_out = row.split(" ", 2)
            return Branch(tip, checked_out)
    return None
