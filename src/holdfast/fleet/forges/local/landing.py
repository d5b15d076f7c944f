"""Lands a commit on a branch that may be checked out: all of it or nothing, whatever is cut off in between.

A branch that nobody has checked out is one compare-and-swap. Where a worktree has it, its files, the ref and its index
are three things that cannot change at once. So the worktree's `index.lock` is taken first, as git itself takes it, and
held until all three are done: nobody can commit from what is half of it. A journal tells whoever comes after us what
was begun; the lock bears our token, so that it is known for ours; and the repository is locked, also by a git of ours
that outlived its daemon.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from holdfast.core import faults
from holdfast.core.errors import Unavailable
from holdfast.fleet.forges.local import fitting, worktrees
from holdfast.fleet.forges.local.restoring import changes, restore
from holdfast.fleet.forges.local.worktrees import Holder, common_of, word
from holdfast.fleet.forges.port import Refused
from holdfast.fleet.workspaces.git import TREE_SECONDS, Git, environment
from holdfast.fleet.workspaces.place import disk, erase

_FLUSHED = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")
#: An index of ours is one file, whatever the person's settings say.
_WHOLE = ("-c", "core.splitIndex=false", "-c", "index.sparse=false")

JOURNALED = faults.point("forge.landing-journaled", "a landing is written down, nothing of it is done")
LOCKED = faults.point("forge.landing-locked", "the index of a checked-out base is locked, nothing else has changed")
WRITTEN = faults.point("forge.landing-written", "the files of a checked-out base are written, its ref has not moved")
MOVED = faults.point("forge.landing-moved", "the ref of a checked-out base has moved, its index has not")
INDEXED = faults.point("forge.landing-indexed", "files, ref and index of a checked-out base are done, it is locked")
UNLOCKED = faults.point("forge.landing-unlocked", "a landing is over, its journal is still there")
SWAPPED = faults.point("forge.landing-swapped", "the ref of a base that nobody has checked out has moved")


#: What we put into git's folder of a worktree before it gets its own name there.
_OURS = "index.holdfast"


class BaseMovedError(Exception):
    """The base is not where it was: what was made for it is for nothing."""


@dataclass(frozen=True, slots=True)
class Landing:
    """A commit that is to become the tip of a branch, no symbolic one, which stands at another one."""

    repo: Path
    common: Path
    branch: str
    before: str
    after: str
    #: What its entry in the branch's log says, and where we write down what we do.
    message: str
    notes: Path
    token: str

    @property
    def ref(self) -> str:
        """The full name."""
        return f"refs/heads/{self.branch}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the journal says."""

    path: str
    git_dir: str
    ref: str
    before: str
    after: str
    token: str
    #: Whether files may have been written; until then there is nothing but the lock to take back.
    writes: bool


def land(landing: Landing) -> Refused | None:
    """Land it, or say why not; then nothing has changed. `BaseMovedError` where the base is somewhere else by now."""
    with disk(str(landing.notes)), alone(landing.common) as lock:
        recover(landing.notes)
        rebasing = worktrees.rebased(landing.repo, landing.common, landing.branch)
        if rebasing is not None:
            return Refused(f"{landing.branch!r} is being rebased: {rebasing} tells of it.", "git rebase --continue")
        held = worktrees.holders(landing.repo, landing.branch)
        if not held:
            _swap(Git(landing.repo), landing)
            SWAPPED()
            # Somebody may have checked it out in between, and has the files of before.
            return _follow(landing, worktrees.holders(landing.repo, landing.branch), lock)
        if len(held) > 1:
            where = " and ".join(str(path) for path in held)
            why = f"{landing.branch!r} is checked out more than once: {where}. Leave it in all but one."
            return Refused(why, f"git -C {word(held[-1])} checkout --detach")
        return _in_place(landing, held[0], lock)


def _follow(landing: Landing, held: list[Path], lock: int) -> Refused | None:
    """Let those who have checked it out just now follow the ref; where the first of them cannot, take it back."""
    for number, path in enumerate(held):
        if Git(path).ask("diff-index", "--cached", "--quiet", landing.after, "--").status == 0:
            continue  # it was checked out after the ref had moved, with the files of then
        refused = _in_place(landing, path, lock, swapped=True)
        if refused is not None and number == 0:
            with suppress(BaseMovedError):  # it is somewhere else again: that holds ours
                _swap(Git(landing.repo), replace(landing, before=landing.after, after=landing.before))
                return refused
    return None


@contextmanager
def alone(common: Path) -> Iterator[int]:
    """Be the only one of us who lands something in this repository; a git that was left running counts as one of us.

    The lock lies on git's folder itself, so that it leaves no trace there and dies with the last of its holders.
    """
    descriptor = os.open(common, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system that cannot lock: the compare-and-swap still holds
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _swap(git: Git, landing: Landing) -> None:
    words = ("update-ref", "--no-deref", "-m", landing.message, landing.ref, landing.after, landing.before)
    if git.ask(*words, config=_FLUSHED).status == 0:
        return
    now = Git(landing.repo).ask("rev-parse", "--verify", "--quiet", landing.ref).text
    if now == landing.before:
        message = f"{landing.ref} of {str(landing.repo)!r} cannot be moved. Is a lock of git's left beside it?"
        raise Unavailable(message)
    raise BaseMovedError


# --- in a worktree -----------------------------------------------------------------------------------------------


def _in_place(landing: Landing, path: Path, lock: int, *, swapped: bool = False) -> Refused | None:
    away = fitting.away(landing, path)
    if away is not None:
        return away
    held = worktrees.holder(path)
    unwritable = fitting.rehearse(landing, held)
    if unwritable is not None:
        return unwritable
    _note(landing, held, writes=False)
    JOURNALED()
    if not _take(held, landing.token):
        _forget(landing.notes)
        why = f"Something else is at work in {str(path)!r}: its index is locked. If nothing is, delete the lock."
        return Refused(why, f"rm {word(held.git_dir / 'index.lock')}", passing=True)
    LOCKED()
    try:
        refused = fitting.unfit(landing, held, swapped=swapped)
        head = Git(held.path, held.git_dir).ask("symbolic-ref", "--quiet", "HEAD").text
        if refused is None and head != landing.ref and not swapped:
            raise BaseMovedError  # it was left for another branch just now
        return refused or _move(landing, held, lock, swapped=swapped)
    finally:
        # Whatever has happened: the files agree with the ref, or will when somebody looks at the journal again.
        recover(landing.notes)


def _move(landing: Landing, held: Holder, lock: int, *, swapped: bool) -> Refused | None:
    _note(landing, held, writes=True)
    index = _scratch(landing.notes) / "index"
    shutil.copy2(held.git_dir / "index", index)  # with its time, by which git knows what it must look at again
    said = _write_files(landing, held, index, lock)
    if said is not None:
        if swapped:  # nothing of ours to take back: it is as whoever checked it out has left it
            _note(landing, held, writes=False)
        why = f"The files of {str(held.path)!r} could not follow: {said.rstrip('.')}."
        return Refused(why, f"git -C {word(held.path)} merge {landing.after}", passing=True)
    WRITTEN()
    if not swapped:
        _swap(Git(held.path, held.git_dir), landing)
    MOVED()
    _install(index, held)
    INDEXED()
    return None


def _write_files(landing: Landing, held: Holder, index: Path, lock: int) -> str | None:
    """Let git bring the files from one commit to the other; what it complains of, if it did not.

    It inherits the lock: who finds us dead waits for it before touching anything.
    """
    words = ("read-tree", "-m", "-u", "--no-recurse-submodules", landing.before, landing.after)
    names = {"GIT_DIR": str(held.git_dir), "GIT_WORK_TREE": str(held.path), "GIT_INDEX_FILE": str(index)}
    quiet = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", held.path, *quiet, *_WHOLE, *words],  # noqa: S607 - the git that the person uses
            env=environment(names),
            pass_fds=(lock,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=TREE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"git took longer than {TREE_SECONDS:.0f} s"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode("utf-8", "replace").split()
    return " ".join(lines)[:300] or f"git ended with {done.returncode}"


# --- what is written down ----------------------------------------------------------------------------------------


def _journal(notes: Path) -> Path:
    return notes / "journal.json"


def _scratch(notes: Path) -> Path:
    return notes / "scratch"


def _note(landing: Landing, held: Holder, *, writes: bool) -> None:
    """Write down what is begun, whole or not at all, and on the disk before anything else happens."""
    notes = landing.notes
    erase(_scratch(notes))
    _scratch(notes).mkdir(parents=True, mode=0o700)
    where = str(held.path), str(held.git_dir), landing.ref
    entry = _Entry(*where, landing.before, landing.after, landing.token, writes)
    new = notes / "journal.new"
    _put(new, json.dumps(asdict(entry)).encode("ascii"), os.O_TRUNC)
    new.replace(_journal(notes))
    _flush(notes)


def _entry(notes: Path) -> _Entry | None:
    """What was begun and not finished."""
    try:
        return _Entry(**json.loads(_journal(notes).read_bytes()))
    except FileNotFoundError:
        return None


def _take(held: Holder, token: str) -> bool:
    """Take the lock of a worktree's index as git does; whether nobody had it."""
    # Written under another name first: a lock whose token is cut off would be nobody's.
    new = held.git_dir / _OURS
    _put(new, token.encode("ascii"), os.O_TRUNC)
    try:
        (held.git_dir / "index.lock").hardlink_to(new)
    except FileExistsError:
        return False
    finally:
        new.unlink()
    return True


def _put(path: Path, content: bytes, how: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _install(index: Path, held: Holder) -> None:
    """Put an index in the place of a worktree's own, whose lock we hold."""
    new = held.git_dir / _OURS
    mode = (held.git_dir / "index").stat().st_mode & 0o777
    made = index.stat()
    _put(new, index.read_bytes(), os.O_TRUNC)
    new.chmod(mode)
    # With a later time, an edit in the same tick of the clock as git's own writing would never be seen.
    os.utime(new, ns=(made.st_atime_ns, made.st_mtime_ns))
    new.replace(held.git_dir / "index")


def _forget(notes: Path) -> None:
    _journal(notes).unlink(missing_ok=True)
    erase(_scratch(notes))


# --- after a cut -------------------------------------------------------------------------------------------------


def recover_at_start(notes: Path) -> None:
    """Recover, unless a git that outlived its daemon is still at it: the merge that is owed waits for that one."""
    with disk(str(notes)):
        entry = _entry(notes)
        if entry is None or not Path(entry.git_dir).is_dir():
            _forget(notes)
            return
        descriptor = os.open(common_of(Path(entry.git_dir)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                recover(notes)
        finally:
            os.close(descriptor)


def recover(notes: Path) -> None:
    """Bring a worktree in which a landing was cut off into agreement with its ref, and let it go.

    Nothing but what the landing may have written is touched: a file that somebody has changed since then stays so.
    """
    entry = _entry(notes)
    if entry is None:
        return
    held = Holder(Path(entry.path), Path(entry.git_dir))
    lock = held.git_dir / "index.lock"
    if _content(lock) == entry.token.encode("ascii") and held.path.is_dir():
        if entry.writes:
            _agree(notes, held, entry)
        lock.unlink()
    (held.git_dir / _OURS).unlink(missing_ok=True)
    UNLOCKED()
    _forget(notes)


def _agree(notes: Path, held: Holder, entry: _Entry) -> None:
    """Let the files and the index be those of the commit that the ref names."""
    git = Git(held.path, held.git_dir)
    if git.ask("rev-parse", "--verify", "--quiet", entry.ref).text == entry.after:
        if git.ask("diff-index", "--cached", "--quiet", entry.after, "--").status:
            _install(_indexed(notes, held, entry.after), held)
        return
    index = _indexed(notes, held, None)
    if restore(held, changes(held, entry.before, entry.after), entry.after, index):
        _install(index, held)


def _indexed(notes: Path, held: Holder, commit: str | None) -> Path:
    """A copy of a worktree's index, brought to a commit without looking at any file."""
    scratch = _scratch(notes)
    erase(scratch)
    scratch.mkdir(parents=True, mode=0o700)
    index = scratch / "index"
    shutil.copyfile(held.git_dir / "index", index)
    if commit is not None:
        git = Git(held.path, held.git_dir, index, TREE_SECONDS)
        git.run("read-tree", "-m", "-i", commit, config=_WHOLE)
        git.ask("update-index", "-q", "--refresh", config=_WHOLE)
    return index


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
