"""A base that somebody has checked out: it moves with its files or not at all, whatever is cut off in between."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from forge_worlds import BASE, LocalWorld, pull_of
from forging import commit
from holdfast.core import faults
from holdfast.core.clock import SYSTEM
from holdfast.core.faults import FaultRaisedError
from holdfast.fleet.forges.local import landing
from holdfast.fleet.forges.local.forge import LocalForge
from holdfast.fleet.forges.port import Merged, Opening, Refused
from holdfast.fleet.pulls.facts import Pull
from messaging import environment
from repositories import git, own_of, state_of, tree_of

#: What the branch changes: files that are edited, grown, new, gone, in new folders, links, and executable.
WORK = {"readme_dot_md": "one\n2\nthree\n", "deep__er__new": "new\n" * 500, "big": "line\n" * 50_000}


@pytest.fixture
def world(tmp_path: Path) -> LocalWorld:
    made = LocalWorld(tmp_path)
    (made.tree / "link").unlink()
    (made.tree / "link").symlink_to("readme.md")
    (made.tree / "run.sh").chmod(0o644)
    git(made.tree, "rm", "-q", "src/app.py")
    made.work(**WORK)
    return made


async def pulled(world: LocalWorld) -> Pull:
    opening = await world.forge.opening(world.session, world.project)
    assert isinstance(opening, Opening)
    return pull_of(opening, world.forge)


async def merge(world: LocalWorld) -> Merged | Refused:
    return await world.forge.merge(await pulled(world), world.session, "merge")


def landed(world: LocalWorld, tree: Path) -> bool:
    """Whether a worktree is clean and at the merge, with its files."""
    assert git(tree, "status", "--porcelain", "--untracked-files=no") == ""
    assert not (Path(git(tree, "rev-parse", "--absolute-git-dir")) / "index.lock").exists()
    return (tree / "deep" / "er" / "new").exists() and not (tree / "src").exists()


# --- where it is -------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A clean checkout of the base follows the merge: its files, its index and its ref, and nothing else of it changes.",
    against="The ref moves alone, and the person's tree seems to take back all that was merged.",
    breaks=("forge-moves-the-ref-alone",),
)
async def test_a_clean_checkout_of_the_base_follows(world: LocalWorld) -> None:
    (world.repo / "untracked").write_text("mine\n")
    (world.repo / "build").mkdir()
    (world.repo / "build" / "made").write_text("ignored\n")
    (world.repo / "debug.log").write_text("ignored\n")
    before = world.settings()
    merged = await merge(world)
    assert isinstance(merged, Merged), merged
    await world.forge.merged(await _known(world), world.session)
    assert landed(world, world.repo)
    assert git(world.repo, "rev-parse", "HEAD") == merged.commit
    assert git(world.repo, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(world.repo, "status", "--porcelain") == "?? untracked"
    assert (world.repo / "build" / "made").read_text() == "ignored\n"
    assert world.settings() == before
    assert "holdfast: merge" in git(world.repo, "reflog", "-1", "main")
    assert git(world.repo, "diff", "--stat", merged.commit) == ""


async def _known(world: LocalWorld) -> Pull:
    return pull_of(
        Opening(number=1, branch="holdfast/web-1", base=BASE, head="0" * 40, base_commit="0" * 40, title=""),
        world.forge,
    )


def _edited(repo: Path) -> None:
    (repo / "readme.md").write_text("not committed\n")


def _staged(repo: Path) -> None:
    (repo / "staged").write_text("staged\n")
    git(repo, "add", "staged")


def _deleted(repo: Path) -> None:
    (repo / "run.sh").unlink()


def _untracked_in_the_way(repo: Path) -> None:
    (repo / "big").write_text("mine, and git does not know it\n")


def _ignored_in_the_way(repo: Path) -> None:
    (repo / ".git" / "info" / "exclude").write_text("big\n")
    (repo / "big").write_text("mine, and ignored\n")


def _the_same_untracked(repo: Path) -> None:
    (repo / "big").write_text(WORK["big"])


def _folder_in_the_way(repo: Path) -> None:
    (repo / "deep" / "er" / "new").mkdir(parents=True)
    (repo / "deep" / "er" / "new" / "mine").write_text("mine\n")


def _merging(repo: Path) -> None:
    git(repo, "branch", "side", "HEAD")
    commit(repo, "here", other="1\n")
    git(repo, "merge", "-q", "--no-commit", "--no-ff", "side", check=False)
    (repo / ".git" / "MERGE_HEAD").write_text(git(repo, "rev-parse", "side") + "\n")


def _rebasing(repo: Path) -> None:
    git(repo, "checkout", "-q", "-b", "side")
    commit(repo, "there", readme_dot_md="theirs\n")
    git(repo, "checkout", "-q", "main")
    commit(repo, "here", other="1\n")
    commit(repo, "here too", readme_dot_md="ours\n")
    git(repo, "rebase", "-q", "side", check=False)
    assert "rebase in progress" in git(repo, "status")


def _locked(repo: Path) -> None:
    (repo / ".git" / "index.lock").write_bytes(b"DIRC")


DIRTY: tuple[Callable[[Path], None], ...] = (
    _edited, _staged, _deleted, _untracked_in_the_way, _ignored_in_the_way, _the_same_untracked, _folder_in_the_way,
    _merging, _rebasing, _locked,
)  # fmt: skip


@pytest.mark.guards(
    "A base that is checked out and not clean does not move: the merge is refused with the command, and every byte of "
    "the person's tree and of git's folder stays.",
    against="A merge writes over work that is not committed, or over files that git does not track.",
    breaks=("forge-lands-on-changes", "forge-writes-over-untracked-files"),
)
@pytest.mark.parametrize("dirty", DIRTY)
async def test_a_dirty_checkout_of_the_base_is_left_alone(world: LocalWorld, dirty: Callable[[Path], None]) -> None:
    dirty(world.repo)
    pull = await pulled(world)
    before, known = own_of(world.repo), state_of(world.repo)
    main = git(world.repo, "rev-parse", "main")
    refused = await world.forge.merge(pull, world.session, "squash" if dirty is _rebasing else "merge")
    assert isinstance(refused, Refused), refused
    assert refused.command is not None
    assert git(world.repo, "rev-parse", "main") == main
    assert own_of(world.repo) == before
    assert state_of(world.repo) == known


async def test_the_command_of_a_refusal_does_it(world: LocalWorld) -> None:
    (world.repo / "run.sh").write_text("#!/bin/sh\nchanged\n")
    refused = await merge(world)
    assert isinstance(refused, Refused)
    assert refused.command is not None
    git(world.repo, "checkout", "-q", "--", "run.sh")
    subprocess.run(["sh", "-c", refused.command], env=environment(), check=True, capture_output=True)
    assert landed(world, world.repo)
    assert isinstance(await merge_again(world), Merged)


async def merge_again(world: LocalWorld) -> Merged | Refused:
    """The pull as it was known: its branch is in the base now."""
    head = git(world.repo, "rev-parse", "holdfast/web-1")
    opening = Opening(number=1, branch="holdfast/web-1", base=BASE, head=head, base_commit=head, title="")
    return await world.forge.merge(pull_of(opening, world.forge), world.session, "merge")


async def test_a_third_worktree_that_has_the_base_follows_and_the_persons_own_stays(
    world: LocalWorld, tmp_path: Path
) -> None:
    git(world.repo, "checkout", "-q", "-b", "elsewhere")
    third = tmp_path / "third tree"
    git(world.repo, "worktree", "add", "-q", str(third), "main")
    before, known = tree_of(world.repo), state_of(world.repo)
    assert isinstance(await merge(world), Merged)
    assert landed(world, third)
    assert git(world.repo, "rev-parse", "main") == git(third, "rev-parse", "HEAD")
    assert (tree_of(world.repo), state_of(world.repo)) == (before, known)


async def test_a_dirty_third_worktree_is_left_alone_and_named(world: LocalWorld, tmp_path: Path) -> None:
    git(world.repo, "checkout", "-q", "-b", "elsewhere")
    third = tmp_path / "third tree"
    git(world.repo, "worktree", "add", "-q", str(third), "main")
    (third / "readme.md").write_text("mine\n")
    main = git(third, "rev-parse", "HEAD")
    refused = await merge(world)
    assert isinstance(refused, Refused)
    assert str(third) in (refused.command or "")
    assert git(third, "rev-parse", "HEAD") == main
    assert git(third, "status", "--porcelain") == " M readme.md"


async def test_a_base_that_nobody_has_checked_out_moves_alone(world: LocalWorld) -> None:
    git(world.repo, "checkout", "-q", "--detach")
    before, known = tree_of(world.repo), state_of(world.repo)
    merged = await merge(world)
    assert isinstance(merged, Merged)
    assert git(world.repo, "rev-parse", "main") == merged.commit
    assert (tree_of(world.repo), state_of(world.repo)) == (before, known)


async def test_a_base_whose_worktree_is_not_there_is_not_moved_behind_its_back(
    world: LocalWorld, tmp_path: Path
) -> None:
    git(world.repo, "checkout", "-q", "-b", "elsewhere")
    third = tmp_path / "third"
    git(world.repo, "worktree", "add", "-q", str(third), "main")
    third.rename(tmp_path / "away")
    refused = await merge(world)
    assert isinstance(refused, Refused)
    assert "is not there" in refused.why


@pytest.mark.guards(
    "A base that is moved while a merge into it is made is not moved back: the merge is made anew.",
    against="The merge lands on where the base was, and what came in between is gone.",
    breaks=("forge-lands-without-comparing",),
)
@pytest.mark.parametrize("checked_out", [True, False])
async def test_a_base_that_moves_meanwhile_keeps_what_came(
    world: LocalWorld, tmp_path: Path, checked_out: bool
) -> None:
    other = tmp_path / "other"
    git(world.repo, "worktree", "add", "-q", "--detach", str(other), "main")
    if not checked_out:
        git(world.repo, "checkout", "-q", "--detach")
    moved: list[str] = []

    def move() -> None:
        moved.append(commit(other, "meanwhile", other="1\n"))
        git(other, "update-ref", "refs/heads/main", moved[0])
        if checked_out:  # as a person's own commit there would have it
            git(world.repo, "reset", "-q", "--hard")

    with faults.armed("forge.merge-kept", move):
        merged = await merge(world)
    assert isinstance(merged, Merged), merged
    assert world.base_log()[:2] == [merged.commit, moved[0]]
    if checked_out:
        assert landed(world, world.repo)


async def test_two_merges_into_one_base_at_once_both_land(world: LocalWorld, tmp_path: Path) -> None:
    tree = tmp_path / "second"
    git(world.repo, "worktree", "add", "-q", "-b", "holdfast/web-2", str(tree), "main")
    commit(tree, "second", second="2\n")
    session = world.session | {"id": "web-2", "branch": "holdfast/web-2"}
    opening = await world.forge.opening(session, world.project)
    assert isinstance(opening, Opening)
    second = msgspec.structs.replace(pull_of(opening, world.forge), id="web.2", number=2)
    first = await pulled(world)
    both = await asyncio.gather(
        world.forge.merge(first, world.session, "squash"), world.forge.merge(second, session, "squash")
    )
    assert all(isinstance(each, Merged) for each in both), both
    assert len(world.base_log()) == 3
    assert landed(world, world.repo)
    assert (world.repo / "second").exists()


# --- cut off -----------------------------------------------------------------------------------------------------


def _as_git_leaves_it(repo: Path) -> None:
    """Files as a git that was killed in the middle leaves them: some old, some new, one half written, one gone."""
    (repo / "big").write_text(WORK["big"][:70_000])
    (repo / "readme.md").unlink()
    (repo / "src").mkdir()
    (repo / "src" / "app.py").write_text("print('hello')\n")


@pytest.mark.guards(
    "A landing that is cut off before the ref has moved leaves the tree as it was, whatever part of it was written; "
    "what somebody has edited since then stays.",
    against="A checkout with half of a merge in it, which the next commit there takes in.",
    breaks=("forge-leaves-a-half-written-tree",),
)
async def test_half_a_landing_is_taken_back(world: LocalWorld) -> None:
    (world.repo / "untracked").write_text("mine\n")
    pull = await pulled(world)
    before, staged = tree_of(world.repo), git(world.repo, "ls-files", "--stage")
    main = git(world.repo, "rev-parse", "main")

    def cut() -> None:
        _as_git_leaves_it(world.repo)
        raise FaultRaisedError("cut off")

    with faults.armed(landing.WRITTEN, cut), pytest.raises(FaultRaisedError):
        await world.forge.merge(pull, world.session, "merge")
    assert tree_of(world.repo) == before
    assert git(world.repo, "ls-files", "--stage") == staged
    assert git(world.repo, "rev-parse", "main") == main
    assert git(world.repo, "status", "--porcelain") == "?? untracked"
    assert not (world.repo / ".git" / "index.lock").exists()
    assert isinstance(await world.forge.merge(pull, world.session, "merge"), Merged)
    assert landed(world, world.repo)


async def test_what_was_edited_after_the_cut_stays(world: LocalWorld) -> None:
    pull = await pulled(world)

    def cut() -> None:
        (world.repo / "readme.md").write_text("edited by the person, after the daemon died\n")
        raise FaultRaisedError("cut off")

    with faults.armed(landing.WRITTEN, cut), pytest.raises(FaultRaisedError):
        await world.forge.merge(pull, world.session, "merge")
    assert (world.repo / "readme.md").read_text() == "edited by the person, after the daemon died\n"
    assert git(world.repo, "status", "--porcelain").strip() == "M readme.md"


async def test_a_landing_whose_ref_has_moved_is_finished(world: LocalWorld) -> None:
    pull = await pulled(world)
    cut = faults.raising(FaultRaisedError("cut off"))
    with faults.armed(landing.MOVED, cut), pytest.raises(FaultRaisedError):
        await world.forge.merge(pull, world.session, "merge")
    assert landed(world, world.repo)
    assert isinstance(await world.forge.merge(pull, world.session, "merge"), Merged)
    assert len(world.base_log()) == 2


@pytest.mark.guards(
    "A git that outlives its daemon in the middle of a landing is waited for, and only then is the landing taken up.",
    against="Two of us write into one tree at once: what the first one still writes comes on top of what was mended.",
    breaks=("forge-forgets-its-running-git",),
)
async def test_a_git_that_outlives_its_daemon_is_waited_for(world: LocalWorld, tmp_path: Path) -> None:
    here, go = tmp_path / "here", tmp_path / "go"
    os.mkfifo(go)
    # A filter holds git while it writes the tree itself, as a slow disk would.
    lock = world.repo / ".git" / "index.lock"
    held = f"cat; test -e {lock} || exit 0; touch {here}; test -e {tmp_path}/gone || read x < {go}"
    git(world.repo, "config", "filter.slow.smudge", held)
    git(world.repo, "config", "filter.slow.clean", "cat")
    (world.tree / ".gitattributes").write_text("*.slow filter=slow\n")
    world.work(a_dot_slow="1\n", zz="last\n")
    pull = await pulled(world)
    pid = os.fork()
    if pid == 0:
        try:
            forge = world.forge
            assert isinstance(forge, LocalForge)
            forge._merge(pull, world.repo, "merge")
        finally:
            os._exit(0)
    while not here.exists():
        await SYSTEM.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, pid, 0)
    token = lock.read_bytes()
    again = asyncio.ensure_future(world.forge.merge(pull, world.session, "merge"))
    try:
        await asyncio.wait({again}, timeout=1.0)
        assert lock.read_bytes() == token, "it did not wait for the git that is still at work"
    finally:
        (tmp_path / "gone").touch()
        with go.open("w") as fifo:
            fifo.write("go\n")
        await asyncio.wait({again})
    assert isinstance(await again, Merged)
    assert landed(world, world.repo)
    assert (world.repo / "zz").read_text() == "last\n"
    git(world.repo, "fsck", "--strict")
