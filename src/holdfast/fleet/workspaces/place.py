"""Owns the question whose a folder is: where a workspace stands, and what proves that we made it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from holdfast.core import faults
from holdfast.core.errors import Conflict, Invalid, Unavailable

#: A workspace is being made: nobody has worked in it yet. It is whole: only a capture may precede its removal. Its
#: removal was decided on proof: it goes on without another one.
State = Literal["making", "whole", "removing"]
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST = 4_000
#: The file in git's folder of a worktree, beside its HEAD, which says that it is ours.
SIGN = "holdfast"
#: What git keeps as the reason for a locked worktree. It is there from git's first step on, so that one that died
#: half-way is known for ours; and a locked one is not pruned while its disk is away.
_REASON = "holdfast {store} {session}"
#: Where a worktree stands whose tie to its place is not written yet, or is erased.
_NOWHERE = Path()

DEREGISTERED = faults.point("workspace.deregistered", "git does not know the worktree any more, its folder is there")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A workspace that is wanted, or was: whose, of what, where."""

    repo: Path  # the top folder of the person's own checkout
    store: str
    session: str
    branch: str
    commit: str
    path: Path
    copy: tuple[str, ...] = ()  # files of the person's checkout that git does not have, such as `.env`
    link: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marker:
    """What we wrote down of a workspace before we made it: beside it, and in git's folder of it."""

    store: str
    session: str
    repo: str
    path: str
    branch: str
    state: State
    git_dir: str = ""
    kept: str = ""  # the capture on whose proof it is being removed


@dataclass(frozen=True, slots=True)
class Made:
    """A worktree of a repository that we made."""

    store: str
    session: str
    path: Path
    git_dir: Path

    @property
    def there(self) -> bool:
        """Whether its files are where git believes them."""
        return self.path.is_dir()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a workspace stands, with all links on the way followed."""

    order: Order
    path: Path
    common: Path  # git's folder of the repository, shared by all its worktrees

    @property
    def marker_file(self) -> Path:
        """The marker beside it; the dot keeps it apart from every session's name."""
        return self.path.with_name(f".{self.path.name}.holdfast")

    @property
    def going(self) -> Path:
        """Where it is moved before it is deleted, out of reach of whoever still writes by its path."""
        return self.path.with_name(f".{self.path.name}.going")

    def marker(self) -> Marker | None:
        """What is written beside it; a marker of another session, store or repository is refused."""
        found = read_marker(self.marker_file)
        if found is None:
            return None
        if (found.store, found.session, found.repo) != (self.order.store, self.order.session, str(self.order.repo)):
            message = f"{str(self.path)!r} belongs to session {found.session!r} of another store or repository."
            raise Conflict(f"{message} It was left alone. Look at it, and move it away.", path=str(self.path))
        return found

    def mark(self, state: State, *, git_dir: Path | None = None, kept: str = "") -> Marker:
        """Write the marker, whole or not at all."""
        order = self.order
        marker = Marker(
            order.store, order.session, str(order.repo), str(self.path), order.branch, state, str(git_dir or ""), kept
        )
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(self.marker_file, marker)
        return marker

    def sign(self, git_dir: Path, marker: Marker) -> None:
        """Say in git's folder of the worktree that it is ours."""
        _write(git_dir / SIGN, replace(marker, state="whole", git_dir=str(git_dir)))

    def unmark(self) -> None:
        """Take the marker away: nothing of ours is there any more."""
        self.marker_file.unlink(missing_ok=True)

    @property
    def reason(self) -> str:
        """What git is told as the reason for its lock."""
        return _REASON.format(store=self.order.store, session=self.order.session)

    def git_dir(self) -> Path | None:
        """Git's folder of this worktree, if it has one and that one is ours."""
        for made in made_in(self.common):
            ours = (made.store, made.session) == (self.order.store, self.order.session)
            if ours and made.path in (self.path, _NOWHERE):
                return made.git_dir
        return None

    def deregister(self) -> None:
        """Let git forget the worktree, whatever of it was erased before."""
        git_dir = self.git_dir()
        if git_dir is not None:
            with alone(self.common):
                # First of all what makes it a worktree to git, which fails over one whose other files are missing.
                (git_dir / "gitdir").unlink(missing_ok=True)
                DEREGISTERED()
                erase(git_dir)

    def known(self) -> Marker | None:
        """What is known of this workspace, whatever a crash left; something that we did not make is refused."""
        marker = self.marker()
        if marker is None:
            git_dir = self.git_dir()
            if git_dir is None:
                self._refuse_what_is_there()
                return None
            # The marker beside it was lost; what stands in git's folder is signed once git had done its part.
            marker = self.mark("whole" if (git_dir / SIGN).exists() else "making", git_dir=git_dir)
        if marker.state == "whole" and not os.path.lexists(self.path):
            if self.going.is_dir():
                self.going.rename(self.path)  # moved away, but nothing was decided yet
            elif self.git_dir() is None:
                return self.mark("removing")  # somebody removed it by git's own means: there is nothing left to keep
        return marker

    def _refuse_what_is_there(self) -> None:
        if os.path.lexists(self.path):
            message = f"{str(self.path)!r} is there already, and Holdfast did not make it. It was left alone."
            raise Conflict(f"{message} Move it away.", path=str(self.path))

    def claim(self) -> None:
        """Make the empty folder in which git then works: what stands there from now on is ours."""
        try:
            self.path.mkdir()
        except FileExistsError:
            self.unmark()
            self._refuse_what_is_there()

    def clear(self) -> None:
        """Take away what a broken attempt left, in which nobody has worked yet; the branch stays for the next one."""
        if os.path.lexists(self.path):
            if not self._half_made():
                self._refuse_what_is_there()
            erase(self.going)
            self.path.rename(self.going)  # whole, so that the next attempt still knows it for ours
        erase(self.going)
        self.deregister()

    def _half_made(self) -> bool:
        """Whether it is as our attempts leave it: empty, or tied to git's folder of this repository's worktrees."""
        if self.path.is_symlink() or not self.path.is_dir():
            return False
        tied = _pointed_at(self.path / ".git")
        return tied.parent == self.common / "worktrees" if tied is not None else not any(self.path.iterdir())

    def stand_in(self, git_dir: Path) -> None:
        """Put an empty folder where somebody deleted the workspace: HEAD and the index are still to be kept."""
        if not os.path.lexists(self.path):
            self.path.mkdir(parents=True)
            (self.path / ".git").write_bytes(b"gitdir: " + os.fsencode(git_dir) + b"\n")


def place_of(order: Order) -> Place:
    """Where an order belongs; a path or an id that plays tricks is refused."""
    if not _NAME.fullmatch(order.session):
        message = f"{order.session[:80]!r} is no session id: lower-case letters, digits and hyphens."
        raise Invalid(message, field="session")
    text = str(order.path)
    if not order.path.is_absolute() or ".." in order.path.parts or _CONTROL.search(text) or len(text) > _LONGEST:
        message = f"{text[:200]!r} cannot be a workspace: it must be an absolute path without '..' and control bytes."
        raise Invalid(message, field="path")
    if not re.match(r"[A-Za-z0-9]", order.path.name):
        message = f"{order.path.name[:80]!r} cannot be the name of a workspace: it begins with a letter or a digit."
        raise Invalid(message, field="path")
    with disk(text):
        repo, path = order.repo.resolve(), order.path.parent.resolve() / order.path.name
    if repo == path or path in repo.parents:
        message = f"{text!r} holds the repository itself, so it cannot be a workspace. Choose another data folder."
        raise Invalid(message, field="path")
    return Place(replace(order, repo=repo), path, common_dir(repo))


def common_dir(repo: Path) -> Path:
    """Git's folder of a repository, without asking git: of a worktree, the one that all of them share."""
    dot = repo / ".git"
    with disk(str(repo)):
        folder = dot if dot.is_dir() else _pointed_at(dot)
        if folder is None:
            message = f"{str(repo)!r} is not a git repository any more. Put it back, or remove the project."
            raise Conflict(message, field="path")
        shared = folder / "commondir"
        if shared.is_file():
            return (folder / os.fsdecode(shared.read_bytes()).strip("\n")).resolve()
        return folder.resolve()


def _pointed_at(dot: Path) -> Path | None:
    if not dot.is_file():
        return None
    word, _, target = os.fsdecode(dot.read_bytes()).strip("\n").partition(": ")
    return dot.parent / target if word == "gitdir" else None


def made_in(common: Path) -> Iterator[Made]:
    """The worktrees of a repository that we made, by what we wrote into git's folders of them."""
    try:
        found = sorted((common / "worktrees").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for git_dir in found:
        signed = _signed(git_dir)
        if signed is not None:
            tie = git_dir / "gitdir"
            there = tie.is_file()  # else git or we died while it was made or erased
            yield Made(*signed, Path(os.fsdecode(tie.read_bytes()).strip("\n")).parent if there else _NOWHERE, git_dir)


@contextmanager
def alone(common: Path) -> Iterator[None]:
    """Be the only one of us who changes or reads git's list of worktrees: git fails over another's half-written entry.

    The lock lies on git's folder itself, so that it leaves no trace there and dies with its process.
    """
    descriptor = os.open(common, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system that cannot lock: git may fail, and is asked again
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _signed(git_dir: Path) -> tuple[str, str] | None:
    with suppress(Conflict):  # somebody wrote into ours: git's own lock still tells
        found = read_marker(git_dir / SIGN)
        if found is not None:
            return found.store, found.session
    with suppress(OSError):
        match os.fsdecode((git_dir / "locked").read_bytes()).split():
            case ["holdfast", store, session]:
                return store, session
    return None


def read_marker(path: Path) -> Marker | None:
    """The marker in a file; one that cannot be read is refused, never taken for none."""
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fields: dict[str, Any] = json.loads(raw)
        return Marker(**fields)
    except (ValueError, TypeError):
        message = f"{str(path)!r} is no marker of Holdfast's. What it stands for was left alone. Look at it."
        raise Conflict(message, path=str(path)) from None


def _write(path: Path, marker: Marker) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(asdict(marker)), encoding="ascii")
    new.replace(path)


def erase(path: Path) -> None:
    """Delete a folder of ours and all that is in it, following no link; folders that forbid it are no obstacle."""
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        message = f"{str(path)!r} is not the folder that Holdfast made there. It was left alone. Look at it."
        raise Conflict(message, path=str(path))
    _open_up(path)
    shutil.rmtree(path)


def _open_up(path: Path) -> None:
    todo = [os.fsencode(path)]
    while todo:
        folder = todo.pop()
        mode = os.lstat(folder).st_mode
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(folder, stat.S_IMODE(mode) | stat.S_IRWXU)  # noqa: PTH101 - names in it are bytes
        with os.scandir(folder) as found:
            todo.extend(entry.path for entry in found if entry.is_dir(follow_symlinks=False))


@contextmanager
def disk(what: str) -> Iterator[None]:
    """What a failing disk, a full one, or a missing permission means: it can be tried again."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else what
        message = f"The disk refused something at {where!r} ({why}). Mend that, then try again."
        raise Unavailable(message, path=where) from None
