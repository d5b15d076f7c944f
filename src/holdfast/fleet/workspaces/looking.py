"""Takes a workspace down as it is now: the work tree, git's folders of it, and what only they hold on to."""

# ruff: noqa: PTH114, PTH118, PTH120 - names in a tree are bytes, which pathlib does not take
from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.fleet.workspaces.git import TREE_SECONDS, Git
from holdfast.fleet.workspaces.manifest import Area, Manifest
from holdfast.fleet.workspaces.place import SIGN, Place
from holdfast.fleet.workspaces.survey import (
    IGNORE_RULES,
    Hasher,
    Ignoring,
    Survey,
    UnsureError,
    chunks_of,
    refuse_waiting,
    told,
    whole,
    work,
)

#: What ties git's folder to its place; it is made anew where a capture is put back.
_TIES = frozenset({b"gitdir", b"commondir", b"locked", SIGN.encode(), f"{SIGN}.new".encode()})
_OBJECT = re.compile(rb"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{40})(?![0-9a-f])")
_GITLINK = "160000"


@dataclass(frozen=True, slots=True)
class Seen:
    """A workspace as it was at one look."""

    manifest: Manifest
    commits: frozenset[str]  # that git's folders name: HEAD's log, a merge or rebase under way


def leave_ties(path: bytes) -> bool:
    """What of git's folder is no work: its ties, and half-written copies by a git that is gone."""
    top = b"/" not in path
    return path in _TIES or (top and (path.endswith(b".lock") or path.startswith(b"fast_import_crash_")))


def look(place: Place, git_dir: Path, *, ignored: bool) -> Manifest:
    """All that is there, every byte of it read."""
    # Before git is asked anything: what it opens may be a fifo, and it would not come back within a person's patience.
    refuse_waiting(git_dir, below=os.fsencode(git_dir))
    if not ignored:
        refuse_waiting(place.path, IGNORE_RULES)
    git = Git(place.path, git_dir, seconds=TREE_SECONDS)
    answer = git.ask("rev-parse", "--show-object-format", "HEAD^{commit}")
    algorithm, _, head = answer.text.partition("\n")
    if algorithm not in ("sha1", "sha256"):
        raise UnsureError(f"git's folder of the worktree cannot be read: {answer.said}")
    branch = git.ask("symbolic-ref", "--quiet", "HEAD").text
    hasher = Hasher(algorithm)
    tracked = frozenset(path for _, _, path in staged(git))
    pointer = b"gitdir: " + os.fsencode(git_dir)
    tree = work(place.path, hasher, _ignoring(place.path, git_dir, ignored=ignored), tracked, pointer)
    areas = [
        _area("tree", place.path, tree),
        _area("git", git_dir, whole(git_dir, hasher, leave_ties)),
        *(_area(f"outside/{at.name}", at, whole(at, hasher, leave_ties)) for at in _outside(place, git_dir, tree)),
    ]
    return Manifest(
        place.order.session,
        head if answer.status == 0 else "",
        branch.removeprefix("refs/heads/"),
        algorithm,
        ignored,
        tuple(areas),
        (),
        tuple(tree.not_kept),
    )


def _area(name: str, folder: Path, survey: Survey) -> Area:
    return Area(name, str(folder), tuple(survey.entries))


def staged(git: Git) -> list[tuple[str, str, bytes]]:
    """Mode, blob and path of all that the index holds, at all stages."""
    rows = []
    for line in git.run("ls-files", "--stage", "-z").split(b"\0"):
        if line:
            facts, _, path = line.partition(b"\t")
            mode, oid, _ = facts.decode("ascii").split(" ")
            rows.append((mode, oid, path))
    return rows


def _ignoring(top: Path, git_dir: Path, *, ignored: bool) -> Ignoring:
    """What each repository in the tree ignores; nothing where ignored files are to be kept as well."""

    def of(relative: bytes) -> frozenset[bytes]:
        if ignored:
            return frozenset()
        folder = top / os.fsdecode(relative)
        git = Git(folder, git_dir if not relative else folder / ".git", seconds=TREE_SECONDS)
        answer = git.ask("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
        if answer.status and not relative:
            raise UnsureError(f"git could not say what is ignored: {answer.said}")
        # A repository in the tree that git cannot read is kept as it stands.
        return frozenset(filter(None, answer.out.split(b"\0"))) if answer.status == 0 else frozenset()

    return of


def _outside(place: Place, git_dir: Path, tree: Survey) -> list[Path]:
    """Git's folders of other worktrees of this repository that stand inside this one."""
    found = set()
    for pointer in tree.pointers:
        path = os.path.join(tree.top, pointer)
        if os.path.islink(path):
            continue
        word, _, target = b"".join(chunks_of(path)).strip(b"\n").partition(b": ")
        folder = (place.path / os.fsdecode(os.path.dirname(pointer)) / os.fsdecode(target)).resolve()
        if word == b"gitdir" and folder.parent == place.common / "worktrees" and folder != git_dir and folder.is_dir():
            found.add(folder)
    return sorted(found)


def pinned(place: Place, git_dir: Path, manifest: Manifest) -> Seen:
    """What nothing holds on to but the index and the files of git's folders: it must be held by the capture."""
    git, blobs, named = Git(place.path, git_dir, seconds=TREE_SECONDS), set[str](), set[str]()
    for area in manifest.areas[1:]:
        own = Git(place.path, Path(area.folder))
        blobs.update(oid for mode, oid, _ in staged(own) if mode != _GITLINK)
        undo = own.run("ls-files", "--resolve-undo", "-z").split(b"\0")
        blobs.update(line.split(b" ")[1].decode("ascii") for line in undo if line and not line.startswith(b"160"))
        named.update(_named(area))
    types = kinds_of(git, blobs | named)
    pins = {oid for oid in blobs if oid in types} | {oid for oid in named if types.get(oid) in ("blob", "tree")}
    commits = frozenset(oid for oid in named if types.get(oid) == "commit")
    return Seen(replace(manifest, pins=tuple(sorted(pins))), commits)


def _named(area: Area) -> Iterable[str]:
    for entry in area.entries:
        parts = entry.path.split(b"/")
        if entry.kind == "file" and parts[0] not in (b"modules", b"index") and not parts[0].startswith(b"sharedindex."):
            with_bytes = b"".join(chunks_of(os.path.join(os.fsencode(area.folder), entry.path)))
            yield from (name.decode("ascii") for name in _OBJECT.findall(with_bytes))


def kinds_of(git: Git, names: Iterable[str]) -> dict[str, str]:
    """The type of every object that is there, by its name."""
    asked = sorted(names)
    told_of = git.run("cat-file", "--batch-check=%(objecttype) %(objectname)", stdin="\n".join([*asked, ""]).encode())
    rows = [line.split(" ") for line in told_of.decode("ascii", "replace").splitlines()]
    return {row[1]: row[0] for row in rows if row[1] != "missing"}


def difference(before: Manifest, now: Manifest) -> str:
    """The first thing in which two looks differ, in words; empty where they do not."""
    if (before.head, before.branch) != (now.head, now.branch):
        return "HEAD has moved"
    for old in before.areas:
        new = next((area for area in now.areas if area.name == old.name), None)
        if new is None:
            return f"{old.folder!r} is gone"
        if old.entries == new.entries:
            continue
        was, now_there = ({entry.path: entry for entry in area.entries} for area in (old, new))
        for path in sorted(was.keys() | now_there.keys()):
            if was.get(path) != now_there.get(path):
                verb = "has come up" if path not in was else "is gone" if path not in now_there else "has changed"
                return f"{told(path)} {verb}"
    return "a worktree has come up in it" if len(before.areas) != len(now.areas) else ""
