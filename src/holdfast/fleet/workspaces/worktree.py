"""Makes worktrees: looks whether one can be made, makes it once however often it is asked, lists those we made."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from holdfast.core import faults
from holdfast.core.errors import Conflict, Invalid
from holdfast.fleet.workspaces.bringing import bring
from holdfast.fleet.workspaces.git import TREE_SECONDS, Git
from holdfast.fleet.workspaces.place import Made, Marker, Order, Place, common_dir, disk, made_in, place_of
from holdfast.fleet.workspaces.registering import register
from holdfast.fleet.workspaces.removal import finish

#: Names that git takes for branches without asking it: what we make ourselves.
_PLAIN_BRANCH = re.compile(r"[a-z0-9][a-z0-9-]{0,99}(/[a-z0-9][a-z0-9-]{0,99}){0,9}")
_HEADS = "refs/heads/"
_LONGEST_NAME = 200

MARKED = faults.point("workspace.marked", "a workspace is marked as ours, nothing of it is made yet")
CLAIMED = faults.point("workspace.claimed", "an empty folder for the workspace is there, git knows nothing of it")
REGISTERED = faults.point("workspace.registered", "git knows the worktree, its files are not there yet")
ADDED = faults.point("workspace.added", "git has made the worktree and its branch, it is not signed yet")
SIGNED = faults.point("workspace.signed", "the worktree is signed in git's folder, its files are not brought yet")
BROUGHT = faults.point("workspace.brought", "the person's files are in the workspace, it is not called whole yet")


@dataclass(frozen=True, slots=True)
class Base:
    """Where a branch begins."""

    commit: str
    name: str  # the branch or revision it was found under


@dataclass(frozen=True, slots=True)
class Worktree:
    """A workspace that stands."""

    path: Path
    branch: str
    git_dir: Path
    brought: tuple[str, ...]


def check(repo: Path, branch: str, base: str | None = None) -> Base:
    """Whether a workspace can be made: the repository, its base and the branch. Changes nothing; two processes."""
    found = base_of(repo, base)
    require_free(repo, branch)
    return found


def base_of(repo: Path, base: str | None) -> Base:
    """Where a branch would begin; refused where the repository has nothing to begin from."""
    if base is not None and (not base or base.startswith("-") or not base.isprintable()):
        message = f"{base[:_LONGEST_NAME]!r} cannot name a base. Give a branch, a tag or a commit."
        raise Invalid(message, field="base")
    if not repo.is_dir():
        message = f"The repository {str(repo)!r} is not there. Put it back, or remove the project."
        raise Conflict(message, field="path")
    asked = [f"{base}^{{commit}}"] if base else []
    words = ["--is-bare-repository", "HEAD^{commit}", *asked, "--symbolic-full-name", "HEAD"]
    answer = Git(repo).ask("rev-parse", *words)
    match answer.text.split("\n"):
        case [""]:
            message = f"{str(repo)!r} is not a git repository ({answer.said}). Put it back, or remove the project."
            raise Conflict(message, field="path")
        case ["true", *_]:
            message = f"{str(repo)!r} is a bare repository: there are no files to work on. Give a clone of it."
            raise Conflict(message, field="path")
        case [_, head, name] if base is None and answer.status == 0:
            return Base(head, name.removeprefix(_HEADS))
        case [_, _, commit, _] if base is not None and answer.status == 0:
            return Base(commit, base)
        case [_] | [_, "HEAD^{commit}"]:
            message = f"The repository {str(repo)!r} has no commit on its HEAD, so nothing can branch off it."
            raise Conflict(f"{message} Make a first commit.", field="path")
        case _:
            message = f"The base {(base or '')[:_LONGEST_NAME]!r} is no commit of {str(repo)!r}."
            raise Invalid(f"{message} Give a branch, a tag or a commit that `git log` finds there.", field="base")


def require_free(repo: Path, branch: str) -> None:
    """Refuse a branch that cannot be made."""
    git = Git(repo)
    if not _PLAIN_BRANCH.fullmatch(branch):
        long = any(len(os.fsencode(part)) > _LONGEST_NAME for part in branch.split("/"))
        odd = long or branch.startswith("-") or not branch.isprintable()
        if odd or git.ask("check-ref-format", _HEADS + branch).status:
            message = f"{branch[:_LONGEST_NAME]!r} cannot be the name of a branch. `git check-ref-format` says why."
            raise Invalid(message, field="branch")
    top = branch.partition("/")[0]
    # Names that begin alike on the way up or down: a ref is a file or a folder, never both.
    names = set(git.run("for-each-ref", "--format=%(refname)", _HEADS + top).decode("utf-8", "surrogateescape").split())
    if _HEADS + branch in names:
        message = f"The branch {branch!r} is there already. Choose another name, or delete it if nobody needs it."
        raise Conflict(message, field="branch")
    for name in sorted(names):
        above, below = (_HEADS + branch).startswith(f"{name}/"), name.startswith(f"{_HEADS}{branch}/")
        if above or below:
            message = f"The branch {name.removeprefix(_HEADS)!r} stands in the way of {branch!r}: git cannot have both."
            raise Conflict(f"{message} Rename it with `git branch -m`.", field="branch")


def add(order: Order) -> Worktree:
    """Make the workspace, or finish making it; asked again it answers the same and changes nothing."""
    place = place_of(order)
    with disk(str(place.path)):
        marker = place.known()
        again = marker is not None
        if marker is not None and marker.state == "removing":
            finish(place)
        elif marker is not None and marker.state == "whole":
            return _standing(place, place.git_dir())
        elif marker is not None:  # half made: nobody has worked there yet
            place.clear()
        marker = place.mark("making")
        MARKED()
        place.claim()
        CLAIMED()
        git_dir = _made(place, again=again)
        ADDED()
        place.sign(git_dir, marker)
        SIGNED()
        brought = bring(order.repo, place.path, order.copy, order.link)
        BROUGHT()
        place.mark("whole", git_dir=git_dir)
        return Worktree(place.path, order.branch, git_dir, brought)


def _standing(place: Place, git_dir: Path | None) -> Worktree:
    if git_dir is None:
        message = f"Git does not know the worktree {str(place.path)!r} any more. Its files were left as they are."
        raise Conflict(f"{message} Save what you need of them, then delete the folder.", path=str(place.path))
    if not place.path.exists():
        place.stand_in(git_dir)
        Git(place.path, git_dir, seconds=TREE_SECONDS).run("checkout-index", "--all", "--quiet")
    return Worktree(place.path, place.order.branch, git_dir, ())


def _made(place: Place, *, again: bool) -> Path:
    order = place.order

    def words(tried: bool) -> list[str]:  # noqa: FBT001 - the one thing it is told
        if (again or tried) and _begun(order):
            return [str(place.path), order.branch]
        return ["--no-track", "-b", order.branch, str(place.path), order.commit]

    try:
        git_dir = register(place, words)
    except Conflict:
        place.clear()
        if not again:  # the branch, which came up after it had been looked for, is not ours
            place.unmark()
        raise
    REGISTERED()
    # What `worktree add` would have done itself, but with nobody else waiting for it.
    Git(place.path, git_dir, seconds=TREE_SECONDS).run("reset", "--hard", "--quiet", "--no-recurse-submodules")
    return git_dir


def _begun(order: Order) -> bool:
    """Whether an earlier attempt of ours came as far as the branch."""
    ref = _HEADS + order.branch
    return Git(order.repo).ask("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").status == 0


def ours(repo: Path) -> list[Made]:
    """The worktrees of this repository that Holdfast made, whichever store asked for them."""
    with disk(str(repo)):
        return list(made_in(common_dir(repo.resolve())))


def marker_of(order: Order) -> Marker | None:
    """What is known of a workspace; nothing where none was begun."""
    place = place_of(order)
    with disk(str(place.path)):
        return place.known()
