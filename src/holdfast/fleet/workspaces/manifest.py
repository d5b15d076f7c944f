"""The list of all that a capture holds, and its written form: JSON in ASCII, in which any bytes of a name survive."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from holdfast.fleet.workspaces.survey import Entry

VERSION = 1


@dataclass(frozen=True, slots=True)
class Area:
    """One folder that was captured: the work tree, git's folder of it, or that of a worktree nested in it."""

    name: str  # tree, git, or outside/<name of git's folder>
    folder: str  # where it was
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of a capture."""

    session: str
    head: str  # the commit of HEAD; empty before a first one
    branch: str  # the branch that HEAD is on; empty where it is detached
    algorithm: str
    ignored: bool  # whether ignored files are in it
    areas: tuple[Area, ...]
    pins: tuple[str, ...]  # blobs and trees that only the index or a file of git's folder names
    not_kept: tuple[bytes, ...] = ()

    def area(self, name: str) -> Area:
        """One of its areas."""
        return next(area for area in self.areas if area.name == name)

    @property
    def files(self) -> int:
        """How many files and links of the work tree there are."""
        return sum(entry.kind in ("file", "link") for entry in self.area("tree").entries)

    @property
    def size(self) -> int:
        """How many bytes are in them."""
        return sum(entry.size for entry in self.area("tree").entries)

    def blobs(self) -> dict[str, int]:
        """The size of every blob that holds bytes of a file or a link, by its name."""
        return {entry.oid: entry.size for area in self.areas for entry in area.entries if entry.oid}


def written(manifest: Manifest) -> bytes:
    """The written form."""
    return json.dumps(
        {
            "version": VERSION,
            "session": manifest.session,
            "head": manifest.head,
            "branch": manifest.branch,
            "algorithm": manifest.algorithm,
            "ignored": manifest.ignored,
            "pins": manifest.pins,
            "not_kept": [os.fsdecode(path) for path in manifest.not_kept],
            "areas": [
                {"name": area.name, "folder": area.folder, "entries": [_row(entry) for entry in area.entries]}
                for area in manifest.areas
            ],
        },
        separators=(",", ":"),
    ).encode("ascii")


def _row(entry: Entry) -> list[Any]:
    return [os.fsdecode(entry.path), entry.kind, f"{entry.mode:o}", entry.size, entry.oid, entry.mtime]


def read(text: bytes) -> Manifest:
    """A manifest from its written form; ValueError where that is none of ours, or could reach outside of its areas."""
    try:
        raw: dict[str, Any] = json.loads(text)
        if raw["version"] != VERSION:
            message = f"a manifest of version {raw['version']}, this Holdfast reads {VERSION}"
            raise ValueError(message)
        return Manifest(
            raw["session"],
            raw["head"],
            raw["branch"],
            raw["algorithm"],
            raw["ignored"],
            tuple(
                Area(area["name"], area["folder"], tuple(_entry(row) for row in area["entries"]))
                for area in raw["areas"]
            ),
            tuple(raw["pins"]),
            tuple(os.fsencode(path) for path in raw["not_kept"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        message = f"no manifest: {error!r}"
        raise ValueError(message) from None


def _entry(row: list[Any]) -> Entry:
    path = os.fsencode(row[0])
    if not path or any(part in (b"", b".", b"..") for part in path.split(b"/")) or b"\0" in path:
        message = f"a path that leads elsewhere: {row[0]!r}"
        raise ValueError(message)
    return Entry(path, row[1], int(row[2], 8), row[3], row[4], row[5])
