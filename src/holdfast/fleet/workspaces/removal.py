"""Removes workspaces: only ours, only on proof that their work is kept, and no branch that has commits of its own."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from holdfast.core import faults
from holdfast.fleet.workspaces.capture import Captured, Doubt, prove
from holdfast.fleet.workspaces.git import Git
from holdfast.fleet.workspaces.place import Order, Place, disk, erase, place_of
from holdfast.fleet.workspaces.registering import branch_of

_HEADS = "refs/heads/"
#: Where commits count as kept by somebody else: what we keep and what other sessions are at may go again.
_OTHERS = ("refs/heads/", "refs/tags/", "refs/remotes/")
_OURS = "refs/heads/holdfast/"

MOVED = faults.point("workspace.moved", "a workspace is out of reach by its path, nothing is decided")
UNBRANCHED = faults.point("workspace.unbranched", "the branch is deleted, its commits are looked for once more")
CONDEMNED = faults.point("workspace.condemned", "its removal is decided, on proof, and written down")
ERASED = faults.point("workspace.erased", "its files are deleted, git still knows the worktree")
FORGOTTEN = faults.point("workspace.forgotten", "git has forgotten the worktree, the branch is still there")
SETTLED = faults.point("workspace.settled", "the branch is settled, only the marker is left")


@dataclass(frozen=True, slots=True)
class Removed:
    """The workspace is gone."""

    branch: str  # empty where it went too
    why: str  # why the branch is still there, or is not


def remove(order: Order, captured: Captured | None) -> Removed | Doubt:
    """Remove a workspace whose work was captured; one that was never whole needs no capture. Again is fine."""
    place = place_of(order)
    with disk(str(place.path)):
        marker = place.known()
        if marker is None:  # a branch of this name, if there is one, is not known to be ours
            return Removed("", "nothing of it is there")
        if marker.state == "whole" and (doubt := _moved(place, captured)) is not None:
            return doubt
        if marker.state != "removing":
            place.mark("removing", git_dir=place.git_dir(), kept=captured.ref if captured else "")
            CONDEMNED()
        finish(place)
        FORGOTTEN()
        settled = Removed(*settle_branch(place))
        SETTLED()
        place.unmark()
        return settled


def _moved(place: Place, captured: Captured | None) -> Doubt | None:
    """Move it out of reach of whoever writes by its path, between two proofs; back where the second one fails."""
    git_dir = place.git_dir()
    if captured is None:
        return Doubt("the work in it was not captured")
    if git_dir is None:
        return Doubt(f"git does not know the worktree {str(place.path)!r} any more")
    place.stand_in(git_dir)
    doubt = prove(place, git_dir, captured)
    if doubt is None:
        place.path.rename(place.going)
        MOVED()
        doubt = prove(Place(place.order, place.going, place.common), git_dir, captured)
        if doubt is not None:
            place.going.rename(place.path)
    return doubt


def finish(place: Place) -> None:
    """Go on with a removal that was decided: the files first, then git's folder of them."""
    marker = place.marker()
    if marker is not None and not marker.kept:
        place.clear()  # never whole, so it was not moved either
    erase(place.going)
    ERASED()
    place.deregister()
    with suppress(OSError):  # others are in it, or it is gone already
        (place.common / "worktrees").rmdir()  # as git does, so that the repository is as it was before the first


def settle_branch(place: Place) -> tuple[str, str]:
    """Delete the branch if others hold all its commits and nobody has it checked out; else say why it stays."""
    branch, git = place.order.branch, Git(place.order.repo)
    ref = _HEADS + branch
    found = branch_of(place, branch)
    if found is None:
        return "", "the branch is not there"
    tip = found.tip
    if found.checked_out:
        return branch, f"it is checked out at {found.checked_out!r}"
    holder = _holder(git, tip, ref)
    if not holder:
        return branch, "it has commits that no other branch has"
    git.run("update-ref", "-d", ref, tip)
    UNBRANCHED()
    if not _holder(git, tip, ref):
        # Somebody took the other one back in between. Not one transaction with a `verify` of it: git would write that
        # into the log of the person's HEAD.
        git.run("update-ref", ref, tip, "0" * len(tip))
        return branch, f"{holder.removeprefix(_HEADS)!r} has just let go of its commits"
    return "", f"{holder.removeprefix(_HEADS)!r} holds all its commits"


def _holder(git: Git, tip: str, ref: str) -> str:
    """Another branch, tag or remote's branch that holds this commit."""
    rows = git.run("for-each-ref", "--contains", tip, "--format=%(refname)", *_OTHERS).decode(errors="replace")
    return next((name for name in rows.splitlines() if name != ref and not name.startswith(_OURS)), "")
