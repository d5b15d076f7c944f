"""Kept work: lists it, forgets it, and puts it back, byte for byte, where nothing stands."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast.core import faults
from holdfast.core.errors import Conflict, NotFound
from holdfast.core.instants import stamp
from holdfast.fleet.workspaces.capture import KEPT, manifest_of
from holdfast.fleet.workspaces.filling import Filling, put_down
from holdfast.fleet.workspaces.git import DURABLE, TREE_SECONDS, Git
from holdfast.fleet.workspaces.manifest import Manifest
from holdfast.fleet.workspaces.place import Order, Place, disk, place_of
from holdfast.fleet.workspaces.registering import branch_of, register
from holdfast.fleet.workspaces.removal import finish
from holdfast.fleet.workspaces.survey import UnsureError

_REF = re.compile(re.escape(KEPT) + r"[a-z0-9][a-z0-9-]*/[1-9][0-9]*")
_HEADS = "refs/heads/"
#: Whose a worktree is while it is put back for a person; afterwards it is that person's.
_NOBODY = "kept"

BEGUN = faults.point("kept.begun", "a place for kept work is marked, nothing stands there yet")
REGISTERED = faults.point("kept.registered", "git has an empty worktree for kept work")
FILLED = faults.point("kept.filled", "kept work is put back, its HEAD is not")
HEADED = faults.point("kept.headed", "kept work and its HEAD are put back, the place is not called whole yet")


@dataclass(frozen=True, slots=True)
class Kept:
    """A capture as it is listed."""

    ref: str
    commit: str
    session: str
    number: int
    created_at: str
    head: str
    branch: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Restored:
    """Kept work that stands again."""

    path: Path
    head: str
    branch: str  # empty where HEAD is detached
    why: str  # why it is detached though it was not; else empty
    files: int


def list_refs(repo: Path) -> list[Kept]:
    """All kept work of a repository, by session and number."""
    form = "%(refname)%00%(objectname)%00%(committerdate:unix)%00%(contents:body)%00"
    fields = Git(repo).run("for-each-ref", f"--format={form}", KEPT).decode("utf-8", "replace").split("\0")
    found = []
    for ref, commit, when, body in zip(*[iter(fields)] * 4, strict=False):
        name = ref.strip("\n")
        if not _REF.fullmatch(name):
            continue  # somebody else's, below our name
        session, _, number = name.removeprefix(KEPT).partition("/")
        at = stamp(datetime.fromtimestamp(int(when or 0), UTC))
        try:
            facts = json.loads(body)
            found.append(
                Kept(
                    name,
                    commit,
                    session,
                    int(number),
                    at,
                    facts["head"],
                    facts["branch"],
                    facts["files"],
                    facts["bytes"],
                )
            )
        except (ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda kept: (kept.session, kept.number))


def forget(repo: Path, ref: str) -> bool:
    """Let go of a capture for good; whether there was one."""
    git = Git(repo)
    commit = _commit(git, ref)
    if commit:
        git.run("update-ref", "-d", ref, commit, config=DURABLE)
    return bool(commit)


def restore_at(repo: Path, ref: str, path: Path) -> Restored:
    """Put kept work back as a worktree of the person's own, at a path where nothing stands."""
    manifest, commit = _manifest(repo, ref)
    order = Order(repo=repo, store=_NOBODY, session=manifest.session, branch=manifest.branch, commit=commit, path=path)
    return _restored(place_of(order), manifest, commit)


def restore(order: Order, ref: str) -> Restored:
    """Put kept work back as the session's workspace, which must be gone."""
    manifest, commit = _manifest(order.repo, ref)
    return _restored(place_of(order), manifest, commit)


def _commit(git: Git, ref: str) -> str:
    if not _REF.fullmatch(ref):
        message = f"{ref[:200]!r} names no kept work. `holdfast kept ls` lists it."
        raise NotFound(message)
    return git.ask("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").text


def _manifest(repo: Path, ref: str) -> tuple[Manifest, str]:
    git = Git(repo, seconds=TREE_SECONDS)
    commit = _commit(git, ref)
    if not commit:
        message = f"There is no kept work {ref!r}. `holdfast kept ls` lists it."
        raise NotFound(message)
    try:
        return manifest_of(git, commit), commit
    except UnsureError as error:
        message = f"The kept work {ref!r} cannot be put back: {error}. It was left as it is."
        raise Conflict(message, ref=ref) from None


def _restored(place: Place, manifest: Manifest, commit: str) -> Restored:
    with disk(str(place.path)):
        _cleared(place)
        marker = place.mark("making")
        place.claim()
        BEGUN()
        git_dir = _registered(place, manifest.head or commit)
        place.sign(git_dir, marker)
        REGISTERED()
        try:
            put_down(Filling(manifest, place.path, git_dir, place.common))
        except UnsureError as error:
            _cleared(place)
            place.unmark()
            message = f"The kept work could not be put back whole: {error}. Nothing was left; it is still kept."
            raise Conflict(message, path=str(place.path)) from None
        FILLED()
        branch, why = _headed(place, git_dir, manifest)
        HEADED()
        if place.order.store == _NOBODY:
            _given(place, git_dir)
        else:
            place.mark("whole", git_dir=git_dir)
        return Restored(place.path, manifest.head, branch, why, manifest.files)


def _cleared(place: Place) -> None:
    """Make sure that nothing stands there but what a broken attempt of ours left, and take that away."""
    if place.marker() is None and place.path.is_dir() and not place.path.is_symlink() and not any(place.path.iterdir()):
        place.path.rmdir()
    marker = place.known()
    if marker is None:
        return
    if marker.state == "whole":
        message = (
            f"{str(place.path)!r} is a session's workspace already. Choose another path, or clean up that session."
        )
        raise Conflict(message, path=str(place.path))
    if marker.state == "removing":
        finish(place)
    place.clear()


def _registered(place: Place, commit: str) -> Path:
    return register(place, lambda _: ["--detach", str(place.path), commit])


def _headed(place: Place, git_dir: Path, manifest: Manifest) -> tuple[str, str]:
    """Put HEAD back on its branch if that one is free and where it was; else on the commit itself."""
    ref, why = _HEADS + manifest.branch, ""
    git = Git(place.order.repo)
    if manifest.branch:
        found = branch_of(place, manifest.branch)
        if found is None and manifest.head:
            # A branch that stands where this one would have to be a folder, or the other way round, is in the way too.
            made = git.ask("update-ref", ref, manifest.head, "0" * len(manifest.head))
            why = f"the branch cannot be made again ({made.said})" if made.status else ""
        elif found is not None and found.checked_out:
            why = f"the branch is checked out at {found.checked_out!r}"
        elif found is not None and found.tip != manifest.head:
            why = "the branch has moved on"
    if why and not manifest.head:
        message = f"{manifest.branch!r} had no commit when it was kept, and {why}. Rename that branch, then try again."
        raise Conflict(message, ref=ref)
    if manifest.branch and not why:
        (git_dir / "HEAD").write_bytes(b"ref: " + os.fsencode(ref) + b"\n")
        return manifest.branch, ""
    (git_dir / "HEAD").write_bytes(manifest.head.encode("ascii") + b"\n")
    return "", why


def _given(place: Place, git_dir: Path) -> None:
    """Let go of a worktree that is a person's from now on."""
    for name in ("holdfast", "locked"):
        (git_dir / name).unlink(missing_ok=True)
    place.unmark()
