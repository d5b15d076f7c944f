"""Captures all work in a workspace under a ref of the person's repository, and proves it; any doubt is told as one."""

# ruff: noqa: PTH115, PTH118 - names in a tree are bytes, which pathlib does not take
from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.core import faults
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import Unavailable
from holdfast.core.store.files import sync
from holdfast.fleet.workspaces import manifest as lists
from holdfast.fleet.workspaces.git import DURABLE, TREE_SECONDS, Git, Talk
from holdfast.fleet.workspaces.looking import Seen, difference, kinds_of, look, pinned
from holdfast.fleet.workspaces.manifest import Manifest
from holdfast.fleet.workspaces.place import Order, Place, place_of
from holdfast.fleet.workspaces.survey import Entry, Hasher, UnsureError, chunks_of, told

KEPT = "refs/holdfast/kept/"
MAKING = "refs/holdfast/making/"
#: Names that git refuses in a tree, now or under stricter settings; such files lie numbered in `parts/`.
_REFUSED = re.compile(rb"^(\.git([ .:\\]|$)|git~\d)|\\", re.IGNORECASE)
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_CHUNK = 1024 * 1024

LOOKED = faults.point("capture.looked", "all work was read, nothing of it is kept yet")
WRITTEN = faults.point("capture.written", "the work is in the repository under a working name, not read back yet")
PROVED = faults.point("capture.proved", "the work was read back and compared, it has no lasting name yet")
NAMED = faults.point("capture.named", "the work has its lasting name, nobody was told")


@dataclass(frozen=True, slots=True)
class Captured:
    """Work that is kept, and proved to be."""

    ref: str
    commit: str
    head: str
    branch: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why nobody may believe that all work is kept: nothing was removed."""

    reason: str


def capture(order: Order, *, ignored: bool = False) -> Captured | Doubt:
    """Keep all that is in the workspace; `ignored` files too, if wanted. The same work is not kept twice."""
    place = place_of(order)
    git_dir = None
    try:
        marker = place.known()
        if marker is not None and marker.state == "removing":
            return captured(order.repo, marker.kept) or Doubt("it is being removed, and was never whole")
        if marker is None or (git_dir := place.git_dir()) is None:
            return Doubt(f"git knows of no worktree of ours at {str(place.path)!r}")
        place.stand_in(git_dir)
        git = Git(place.path, git_dir, seconds=TREE_SECONDS)
        seen = pinned(place, git_dir, look(place, git_dir, ignored=ignored))
        LOOKED()
        commit = _written(git, seen)
        WRITTEN()
        _read_back(git, commit, seen.manifest)
        _unchanged(seen.manifest, look(place, git_dir, ignored=ignored))
        PROVED()
        named = _named(place, git, seen.manifest, commit)
        NAMED()
    except (UnsureError, Unavailable, OSError) as error:
        if git_dir is not None:
            with suppress(Unavailable):
                Git(order.repo).ask("update-ref", "-d", MAKING + order.session, config=DURABLE)
        return Doubt(_reason(error))
    return named


def captured(repo: Path, ref: str) -> Captured | None:
    """The capture that a ref stands for; nothing where there is none, or it cannot be read."""
    git = Git(repo)
    if not ref.startswith(KEPT) or not (commit := git.ask("rev-parse", "--verify", "--quiet", ref).text):
        return None
    try:
        kept = manifest_of(git, commit)
    except UnsureError:
        return None
    return Captured(ref, commit, kept.head, kept.branch, kept.files, kept.size)


def prove(place: Place, git_dir: Path, proof: Captured) -> Doubt | None:
    """Why the workspace is not, byte for byte, what was captured; nothing where it is."""
    try:
        git = Git(place.path, git_dir, seconds=TREE_SECONDS)
        if git.ask("rev-parse", "--verify", "--quiet", proof.ref).text != proof.commit:
            return Doubt(f"the ref {proof.ref!r} is not the capture any more")
        kept = manifest_of(git, proof.commit)
        gone = (kept.blobs().keys() | set(kept.pins)) - kinds_of(git, kept.blobs().keys() | set(kept.pins)).keys()
        if gone:
            return Doubt(f"{len(gone)} objects of the capture are gone, {min(gone)} is one")
        changed = difference(kept, look(place, git_dir, ignored=kept.ignored))
    except (UnsureError, Unavailable, OSError) as error:
        return Doubt(_reason(error))
    return Doubt(f"{changed} since it was captured") if changed else None


def manifest_of(git: Git, commit: str) -> Manifest:
    """The list of a capture."""
    try:
        return lists.read(git.run("cat-file", "blob", f"{commit}:manifest"))
    except ValueError as error:
        raise UnsureError(f"the capture cannot be read: {error}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        name = error.filename
        path = os.fsencode(name) if isinstance(name, str | bytes) else b"something"
        return f"{told(path)} could not be read ({os.strerror(error.errno or 0)})"
    return str(error)


# --- writing ---------------------------------------------------------------------------------------------------


def _laid_out(manifest: Manifest) -> Iterator[tuple[bytes, bytes, Entry]]:
    """Where each file and link lies in the tree of the capture: its mode, its path there, and itself."""
    number = 0
    for area in manifest.areas:
        for entry in area.entries:
            if not entry.oid:
                continue
            mode = b"120000" if entry.kind == "link" else b"100755" if entry.mode & 0o100 else b"100644"
            if any(_REFUSED.search(_BEYOND_ASCII.sub(b"", part)) for part in entry.path.split(b"/")):
                yield mode, b"parts/%d" % number, entry
                number += 1
            else:
                yield mode, os.fsencode(area.name) + b"/" + entry.path, entry


def _written(git: Git, seen: Seen) -> str:
    manifest, ref = seen.manifest, MAKING + seen.manifest.session
    missing = _missing(git, manifest)
    parents = [manifest.head] if manifest.head else []
    parents += _tips(git, seen.commits, manifest.head)
    types = kinds_of(git, manifest.pins)
    # A pack, so that one flush makes all of it durable; the depth is 0 because nobody waits for a small one.
    with git.talk(
        "fast-import", "--quiet", "--done", "--force", "--depth=0", "--date-format=raw",
        config=(*DURABLE, "-c", "fastimport.unpackLimit=0", "-c", "core.ignoreCase=false",
                "-c", "core.bigFileThreshold=16m", "-c", "pack.compression=1"),
    ) as talk:  # fmt: skip
        tell = talk.tell.write
        for oid, (path, entry) in missing.items():
            _send(talk, path, entry, oid)
        tell(b"commit %s\n" % ref.encode())
        tell(b"committer Holdfast <holdfast@localhost> %d +0000\n" % SYSTEM.now().timestamp())
        _send_bytes(talk, _message(manifest))
        for number, parent in enumerate(parents):
            tell(b"%s %s\n" % (b"merge" if number else b"from", parent.encode()))
        tell(b"deleteall\nM 100644 inline manifest\n")
        _send_bytes(talk, lists.written(manifest))
        for mode, path, entry in _laid_out(manifest):
            tell(b"M %s %s %s\n" % (mode, entry.oid.encode(), _quoted(path)))
        for oid in manifest.pins:
            kind = b"040000" if types[oid] == "tree" else b"100644"
            tell(b"M %s %s pins/%s\n" % (kind, oid.encode(), oid.encode()))
        tell(b"done\n")
        talk.tell.close()
        talk.hear.read()
    return os.fsdecode(git.run("rev-parse", "--verify", ref + "^{commit}")).strip()


def _missing(git: Git, manifest: Manifest) -> dict[str, tuple[bytes, Entry]]:
    """What the repository lacks, and where it can be read. The empty blob is told of even where it is not there."""
    empty = Hasher(manifest.algorithm).of(b"")
    have = kinds_of(git, manifest.blobs()).keys() - {empty}
    lacking: dict[str, tuple[bytes, Entry]] = {}
    for area in manifest.areas:
        for entry in area.entries:
            if entry.oid and entry.oid not in have:
                lacking.setdefault(entry.oid, (os.path.join(os.fsencode(area.folder), entry.path), entry))
    return lacking


def _tips(git: Git, commits: frozenset[str], head: str) -> list[str]:
    """The fewest commits that hold on to all of these, besides HEAD."""
    if not commits - {head}:
        return []
    asked = [*sorted(commits), *([f"^{head}"] if head else [])]
    rows = git.run("rev-list", "--parents", "--stdin", stdin="\n".join([*asked, ""]).encode()).decode().splitlines()
    held = {parent for row in rows for parent in row.split(" ")[1:]}
    listed = {row.split(" ")[0] for row in rows}
    return sorted((commits & listed) - held)


def _send(talk: Talk, path: bytes, entry: Entry, oid: str) -> None:
    if entry.kind == "link":
        talk.tell.write(b"blob\n")
        _send_bytes(talk, os.readlink(path))
        return
    talk.tell.write(b"blob\noriginal-oid %s\ndata %d\n" % (oid.encode(), entry.size))
    left = entry.size
    for chunk in chunks_of(path):
        left -= len(chunk)
        if left < 0:
            break
        talk.tell.write(chunk)
    if left:
        raise UnsureError(f"{told(entry.path)} was written while it was captured")
    talk.tell.write(b"\n")


def _send_bytes(talk: Talk, data: bytes) -> None:
    talk.tell.write(b"data %d\n%s\n" % (len(data), data))


def _quoted(path: bytes) -> bytes:
    return b'"%s"' % path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")


def _message(manifest: Manifest) -> bytes:
    facts = {"head": manifest.head, "branch": manifest.branch, "files": manifest.files, "bytes": manifest.size}
    return f"Work of {manifest.session}, kept by Holdfast\n\n{json.dumps(facts)}\n".encode("ascii")


# --- reading back ----------------------------------------------------------------------------------------------


def _read_back(git: Git, commit: str, manifest: Manifest) -> None:
    """Read every byte again out of the repository; what is kept is what git gives back, not what it was given."""
    hasher = Hasher(manifest.algorithm)
    expected = {path: (mode, entry.oid) for mode, path, entry in _laid_out(manifest)}
    for line in git.run("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
        if line:
            facts, _, path = line.partition(b"\t")
            mode, _, name = facts.split(b" ")
            if expected.get(path) == (mode, name.decode("ascii")):
                del expected[path]
    if expected:
        raise UnsureError(f"the capture lacks {told(min(expected))}")
    if manifest_of(git, commit) != manifest:
        raise UnsureError("the capture's own list is not the one that was written")
    with git.talk("cat-file", "--batch") as talk:
        for oid, size in manifest.blobs().items():
            if hasher.stream(size, content(talk, oid)) != oid:
                raise UnsureError(f"the capture's object {oid} reads otherwise than it was written")


def _unchanged(before: Manifest, now: Manifest) -> None:
    changed = difference(before, now)
    if changed:
        raise UnsureError(f"{changed} while the work was captured")


def content(talk: Talk, oid: str) -> Iterator[bytes]:
    """The bytes of a blob from a running `cat-file --batch`; the whole of it must be taken."""
    talk.tell.write(oid.encode() + b"\n")
    talk.tell.flush()
    head = talk.hear.readline().split()
    if head[1:2] != [b"blob"]:
        raise UnsureError(f"the object {oid} is not in the repository")
    left = int(head[2])
    while left:
        chunk = talk.hear.read(min(_CHUNK, left))
        if not chunk:
            raise UnsureError(f"the object {oid} could not be read to its end")
        left -= len(chunk)
        yield chunk
    talk.hear.read(1)


def _same(git: Git, ref: str, manifest: Manifest) -> bool:
    last = manifest_of(git, ref)
    return (last.ignored, last.pins) == (manifest.ignored, manifest.pins) and not difference(last, manifest)


def _named(place: Place, git: Git, manifest: Manifest, commit: str) -> Captured:
    """Give it the session's next number, or the last one if that is the same work."""
    prefix, making = f"{KEPT}{manifest.session}/", MAKING + manifest.session
    rows = git.run("for-each-ref", "--format=%(refname) %(objectname) %(parent)", prefix, making).decode()
    refs = {row.split(" ")[0]: row.split(" ")[1:] for row in rows.splitlines()}
    numbers = sorted(int(name.removeprefix(prefix)) for name in refs if name.startswith(prefix))
    last = numbers[-1] if numbers else 0
    if last and refs[f"{prefix}{last}"][1:] == refs[making][1:] and _same(git, f"{prefix}{last}", manifest):
        ref, commit = f"{prefix}{last}", refs[f"{prefix}{last}"][0]
        orders = f"delete {making}\n"
    else:
        ref = f"{prefix}{last + 1}"
        orders = f"create {ref} {commit}\ndelete {making}\n"
    git.run("update-ref", "--stdin", stdin=orders.encode(), config=DURABLE)
    for folder in (place.common / "objects" / "pack", place.common / "refs" / "holdfast" / "kept" / manifest.session):
        if folder.is_dir():
            sync(folder)
    return Captured(ref, commit, manifest.head, manifest.branch, manifest.files, manifest.size)
