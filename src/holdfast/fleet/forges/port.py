"""The port of forges: what each can do for a pull. It looks and acts; what that means is decided elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from holdfast.core.store.port import Row
    from holdfast.fleet.pulls.facts import Observation, Pull

MergeHow = Literal["ff", "merge", "squash"]


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """A pull that is there now, or was there already: what opening it came to."""

    number: int | None
    branch: str
    base: str
    head: str
    base_commit: str
    title: str
    url: str | None = None


class Merged(msgspec.Struct, frozen=True):
    """The base holds the pull's work now."""

    commit: str
    how: str


class Refused(msgspec.Struct, frozen=True):
    """It was not merged, nothing has changed, and this says what to do."""

    why: str
    #: The command by which a person can do it, where there is one.
    command: str | None = None
    #: Whether it may be otherwise soon without anybody doing anything to the pull.
    passing: bool = False
    #: Whether its checks were run against a base that has moved since: they run again, and then it may be merged.
    unchecked: bool = False


class NothingToPull(msgspec.Struct, frozen=True):
    """The branch holds nothing that its base does not."""

    why: str


class Forge(Protocol):
    """One forge. Every call may be repeated; what could not be fetched is told as `fetched=False`, never raised."""

    #: As projects name it.
    name: str
    #: Whether Holdfast itself runs the project's checks; else the forge tells of those that it has.
    runs_checks: bool

    async def opening(self, session: Row, project: Row) -> Opening | NothingToPull:
        """Open a pull of this session's branch, or find the one that is open."""
        ...

    async def look(self, pull: Pull, session: Row, project: Row | None) -> Observation:
        """Look at a pull as it stands now."""
        ...

    async def merge(self, pull: Pull, session: Row, how: MergeHow) -> Merged | Refused:
        """Merge it, unless its head is another one than is known here; again after a crash, it goes on or finds it."""
        ...

    async def merged(self, pull: Pull, session: Row) -> None:
        """It is on record that this pull is merged: what was kept for a merge that is cut off can go."""
        ...
