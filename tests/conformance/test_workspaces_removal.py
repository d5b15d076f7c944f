"""Removing worktrees: only on proof, only ours, no branch with commits of its own, no trace in the checkout."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.core import faults
from holdfast.core.errors import Conflict
from holdfast.fleet.workspaces import kept, removal, worktree
from holdfast.fleet.workspaces.capture import Captured, Doubt, capture
from holdfast.fleet.workspaces.place import Order, place_of
from holdfast.fleet.workspaces.removal import Removed, remove
from repositories import Tree, git, ordered, own_of, repository, state_of, tree_of

REMOVING = [
    "workspace.moved",
    "workspace.condemned",
    "workspace.erased",
    "workspace.deregistered",
    "workspace.unbranched",
    "workspace.forgotten",
    "workspace.settled",
]


class Cut(BaseException):
    """Ends a life in the middle, as a kill does."""


def _kept(order: Order) -> Captured:
    captured = capture(order)
    assert isinstance(captured, Captured)
    return captured


def _change(top: Path, change: str) -> None:
    match change:
        case "bytes":
            # As long as it was, and with its old time: only the bytes tell.
            seen = (top / "readme.md").stat()
            (top / "readme.md").write_text("ONE\ntwo\nthree\n")
            os.utime(top / "readme.md", ns=(seen.st_atime_ns, seen.st_mtime_ns))
        case "mode":
            (top / "readme.md").chmod(0o600)
        case "new":
            (top / "late").write_text("late\n")
        case "gone":
            (top / "readme.md").unlink()
        case "staged":
            (top / "readme.md").write_text("staged\n")
            git(top, "add", "readme.md")
            (top / "readme.md").write_text("one\ntwo\nthree\n")
        case "committed":
            git(top, "commit", "-q", "--allow-empty", "-m", "late")
        case "in git":
            (Path(git(top, "rev-parse", "--absolute-git-dir")) / "MERGE_MSG").write_text("late\n")
        case _:
            git(top, "checkout", "-q", "--detach")


CHANGES = ["bytes", "mode", "new", "gone", "staged", "committed", "in git", "detached"]


@pytest.mark.guards(
    "A worktree is removed only while it is, byte for byte, what a capture holds; else it stays as it is.",
    against="Work that an agent did after its capture, or that no capture holds, deleted with the worktree.",
    breaks=("removal-trusts-an-old-capture", "removal-needs-no-capture"),
)
@pytest.mark.parametrize("change", [*CHANGES, "uncaptured", "forgotten"])
def test_work_that_no_capture_holds_stops_the_removal(tmp_path: Path, change: str) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    captured: Captured | None = _kept(order)
    assert captured is not None
    match change:
        case "uncaptured":
            captured = None
        case "forgotten":
            kept.forget(repo, captured.ref)
        case _:
            _change(top, change)
    before = (tree_of(top), state_of(top), own_of(repo))

    doubt = remove(order, captured)

    assert isinstance(doubt, Doubt)
    assert (tree_of(top), state_of(top), own_of(repo)) == before
    assert isinstance(remove(order, _kept(order)), Removed)


@pytest.mark.guards(
    "Between the proof and the deletion nobody can write into the worktree by its path, and what was written is seen.",
    against="The last thing an agent wrote, lost between the comparison and the deletion.",
    breaks=("removal-proves-once",),
)
def test_work_written_between_the_proof_and_the_deletion_stops_it(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    captured = _kept(order)
    going = place_of(order).going

    def write() -> None:
        assert not top.exists()
        (going / "readme.md").write_text("written through an open folder\n")

    with faults.armed(removal.MOVED, write):
        doubt = remove(order, captured)

    assert isinstance(doubt, Doubt)
    assert (top / "readme.md").read_text() == "written through an open folder\n"
    assert not going.exists()
    assert git(top, "diff", "--name-only") == "readme.md"


@pytest.mark.guards(
    "A removal can end at any point: asked again it comes to its end, and nothing of the worktree is left.",
    against="Orphans, or a removal that can never be finished because half of the files are gone.",
    breaks=("removal-forgets-its-decision",),
)
@pytest.mark.parametrize("point", REMOVING)
@pytest.mark.parametrize("then", ["remove", "capture", "add", "restore"])
def test_a_removal_goes_on_wherever_it_was_cut(tmp_path: Path, point: str, then: str) -> None:
    repo = repository(tmp_path / "repo")
    before = own_of(repo)
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    (top / "work").write_text("work\n")
    left = tree_of(top)
    captured = _kept(order)
    with faults.armed(point, faults.raising(Cut())), pytest.raises(Cut):
        remove(order, captured)

    match then:
        case "capture":
            assert capture(order) == captured
        case "add":
            assert worktree.add(order).path == top
            captured = _kept(order)
        case "restore" if point != "workspace.moved":
            kept.restore(order, captured.ref)
            assert tree_of(top) == left
        case _:
            pass
    assert isinstance(remove(order, captured), Removed)
    assert isinstance(remove(order, captured), Removed)

    assert list((tmp_path / "data" / "workspaces" / "web").iterdir()) == []
    assert worktree.ours(repo) == []
    assert own_of(repo) == before
    kept.restore(order, captured.ref)
    assert then == "add" or tree_of(top) == left


@pytest.mark.parametrize("point", ["workspace.marked", "workspace.claimed", "workspace.added", "workspace.brought"])
def test_what_was_only_begun_is_removed_without_a_capture(tmp_path: Path, point: str) -> None:
    repo = repository(tmp_path / "repo")
    before = own_of(repo)
    order = ordered(repo, tmp_path / "data")
    with faults.armed(point, faults.raising(Cut())), pytest.raises(Cut):
        worktree.add(order)
    with faults.armed("workspace.condemned", faults.raising(Cut())), pytest.raises(Cut):
        remove(order, None)

    assert isinstance(remove(order, None), Removed)

    assert list((tmp_path / "data" / "workspaces" / "web").iterdir()) == []
    assert own_of(repo) == before
    assert git(repo, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_a_branch_of_that_name_is_left_alone_where_nothing_was_made(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    git(repo, "branch", order.branch)
    with pytest.raises(Conflict, match="already exists"):
        worktree.add(order)
    assert isinstance(remove(order, None), Removed)
    assert git(repo, "rev-parse", order.branch) == git(repo, "rev-parse", "main")


@pytest.mark.guards(
    "No branch is deleted whose commits no other branch, tag or remote holds, or that somebody has checked out.",
    against="The only name of an agent's commits, deleted with its worktree.",
    breaks=("removal-deletes-any-branch", "removal-deletes-what-is-checked-out"),
)
@pytest.mark.parametrize(
    ("held", "gone"),
    [
        ("nobody", False),
        ("merged", True),
        ("tagged", True),
        ("pushed", True),
        ("another session", False),
        ("our kept ref", False),
        ("checked out", False),
    ],
)
def test_a_branch_goes_only_when_others_hold_its_commits(tmp_path: Path, held: str, gone: bool) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    (top / "readme.md").write_text("second\n")
    git(top, "commit", "-q", "-a", "-m", "second")
    tip = git(top, "rev-parse", "HEAD")
    match held:
        case "merged" | "checked out":
            git(repo, "merge", "-q", "--ff-only", order.branch)
        case "tagged":
            git(repo, "tag", "kept", order.branch)
        case "pushed":
            git(repo, "update-ref", f"refs/remotes/origin/{order.branch}", tip)
        case "another session":
            git(repo, "branch", "holdfast/web-2", order.branch)
    captured = _kept(order)
    if held == "checked out":
        with faults.armed("workspace.forgotten", lambda: git(repo, "checkout", "-q", order.branch)):
            removed = remove(order, captured)
    else:
        removed = remove(order, captured)

    assert isinstance(removed, Removed)
    there = git(repo, "rev-parse", "--verify", "-q", f"refs/heads/{order.branch}", check=False)
    assert there == ("" if gone else tip)
    assert removed.branch == ("" if gone else order.branch)
    assert removed.why


def test_a_branch_whose_holder_lets_go_at_that_moment_comes_back(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    git(top, "commit", "-q", "--allow-empty", "-m", "second")
    tip = git(top, "rev-parse", "HEAD")
    git(repo, "tag", "holder", tip)
    captured = _kept(order)
    with faults.armed(removal.UNBRANCHED, lambda: git(repo, "tag", "-d", "holder")):
        removed = remove(order, captured)
    assert isinstance(removed, Removed)
    assert removed.branch == order.branch
    assert git(repo, "rev-parse", order.branch) == tip


def test_only_ours_is_removed(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    order.path.mkdir(parents=True)
    (order.path / "mine").write_text("mine\n")
    with pytest.raises(Conflict, match="did not make it"):
        remove(order, None)
    assert (order.path / "mine").exists()
    other = ordered(repo, tmp_path / "data", 2)
    worktree.add(other)
    with pytest.raises(Conflict, match="another store"):
        remove(replace(other, store="f" * 16), None)
    assert other.path.is_dir()


def test_a_worktree_that_git_was_told_to_remove_is_over(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    git(repo, "worktree", "remove", "--force", "--force", str(top))
    marker = worktree.marker_of(order)
    assert marker is not None
    assert marker.state == "removing", "there is nothing left to keep"
    assert isinstance(remove(order, None), Removed)
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/heads") == "refs/heads/main"


def test_the_persons_own_stale_worktrees_are_left_to_the_person(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / "theirs"))
    (tmp_path / "theirs").rename(tmp_path / "moved")
    order = ordered(repo, tmp_path / "data")
    worktree.add(order)
    remove(order, _kept(order))
    assert (repo / ".git" / "worktrees" / "theirs").is_dir()
    assert worktree.ours(repo) == []


@pytest.mark.slow
def test_many_come_and_go_at_once(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    before = own_of(repo)
    orders = [ordered(repo, tmp_path / "data", number) for number in range(1, 17)]

    def live(order: Order) -> str:
        top = worktree.add(order).path
        (top / "work").write_text(order.session)
        removed = remove(order, _kept(order))
        assert isinstance(removed, Removed)
        return removed.branch

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(live, orders)) == [""] * len(orders)
    assert own_of(repo) == before
    assert len(kept.list_refs(repo)) == len(orders)


@pytest.mark.slow
@pytest.mark.guards(
    "After 20 worktrees came and went the person's checkout is byte for byte what it was: files, index, HEAD, refs, "
    "configuration, exclude file, logs.",
    against="A tool that leaves its traces in every repository that it looks after.",
    breaks=("removal-leaves-its-folder", "removal-writes-into-the-log"),
)
def test_the_persons_checkout_is_as_it_was_after_twenty_came_and_went(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo", attributes="* text=auto\n")
    for name, value in (
        ("branch.autoSetupMerge", "always"),
        ("branch.autoSetupRebase", "always"),
        ("core.logAllRefUpdates", "always"),
        ("push.autoSetupRemote", "true"),
    ):
        git(repo, "config", name, value)
    git(repo, "remote", "add", "origin", str(tmp_path / "nowhere"))
    git(repo, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(repo, "pack-refs", "--all")
    (repo / ".git" / "info" / "exclude").write_text("mine\n")
    (repo / "readme.md").write_text("stashed\n")
    git(repo, "stash")
    (repo / "readme.md").write_text("staged\n")
    git(repo, "add", "readme.md")
    (repo / "readme.md").write_text("changed\r\n")
    (repo / "untracked").write_text("untracked\n")
    (repo / ".env").write_text("A=1\n")
    before: Tree = own_of(repo)

    refs = []
    for number in range(1, 21):
        base = worktree.check(repo, f"holdfast/web-{number}", "main" if number % 2 else "origin/main")
        order = ordered(repo, tmp_path / "data", number, copy=(".env",), commit=base.commit)
        top = worktree.add(order).path
        (top / "work").write_text(f"{number}\n")
        git(top, "add", "work")
        if number % 3 == 0:
            git(top, "commit", "-q", "-m", "work")
        captured = _kept(order)
        assert isinstance(remove(order, captured), Removed)
        refs.append(captured.ref)

    assert own_of(repo) == before
    assert [each.ref for each in sorted(kept.list_refs(repo), key=lambda one: int(one.session[4:]))] == refs
    assert list((tmp_path / "data" / "workspaces" / "web").iterdir()) == []
