"""All kinds of work that a session can leave: kept, removed, collected by git, and put back byte for byte."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from holdfast.core import faults
from holdfast.core.errors import Conflict, NotFound
from holdfast.fleet.workspaces import capture as capturing
from holdfast.fleet.workspaces import kept, looking, removal, worktree
from holdfast.fleet.workspaces.capture import Captured, Doubt, capture
from holdfast.fleet.workspaces.diff import diff
from repositories import git, ordered, repository, state_of, tree_of
from scenes import SCENES


def _outcome(top: Path) -> tuple[object, object]:
    own = (top / ".git").is_dir()
    return tree_of(top, leave=() if own else (b".git",)), None if own else state_of(top)


@pytest.mark.slow
@pytest.mark.guards(
    "Whatever a session leaves in its worktree comes back byte for byte after the worktree was removed, with its "
    "modes, its index and its HEAD, and git's own collection takes nothing of it.",
    against="Work that a clean-up or a collection destroyed, or that came back changed by a filter.",
    breaks=(
        "kept-through-filters",
        "kept-without-modes",
        "kept-without-the-index",
        "kept-holds-no-blobs",
        "kept-holds-no-commits",
        "kept-passes-by-ignored-repositories",
        "kept-believes-any-git-folder",
    ),
)
@pytest.mark.parametrize("name", SCENES)
def test_whatever_a_session_leaves_comes_back_byte_for_byte(tmp_path: Path, name: str) -> None:
    repo = repository(tmp_path / "repo", attributes="* text=auto\n")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    SCENES[name](top)
    left = _outcome(top)

    captured = capture(order)
    assert isinstance(captured, Captured)
    assert isinstance(removal.remove(order, captured), removal.Removed)
    assert not top.exists()
    git(repo, "reflog", "expire", "--expire=now", "HEAD", "main")
    git(repo, "gc", "-q", "--prune=now")
    restored = kept.restore(order, captured.ref)

    assert _outcome(top) == left
    assert restored.path == top
    if name != "worktree_inside":  # whose log git has shortened meanwhile
        assert capture(order) == captured, "the same work is the same capture"
    git(repo, "fsck", "--strict")


@pytest.mark.parametrize("name", ["edits", "submodule", "strange_names", "repository_inside", "detached_with_commits"])
def test_kept_work_comes_back_anywhere(tmp_path: Path, name: str) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    SCENES[name](top)
    left = tree_of(top, leave=(b".git", b"lib/.git"))
    status = git(top, "status", "--short", "-z")
    captured = capture(order)
    assert isinstance(captured, Captured)
    removal.remove(order, captured)

    other = tmp_path / "elsewhere" / "deep" / "mine"
    restored = kept.restore_at(repo, captured.ref, other)

    assert restored.path == other
    assert tree_of(other, leave=(b".git", b"lib/.git")) == left
    assert git(other, "status", "--short", "-z") == status
    if (other / "lib").exists():
        assert git(other / "lib", "log", "-1", "--format=%s") == "only here"
        assert git(other / "lib", "rev-parse", "--show-toplevel") == str(other / "lib")
    assert worktree.ours(repo) == [], "it is the person's own now"
    assert sorted(path.name for path in other.parent.iterdir()) == ["mine"]
    git(repo, "worktree", "remove", "--force", "--force", str(other))


def test_a_worktree_inside_comes_back_though_git_has_pruned_it_meanwhile(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    SCENES["worktree_inside"](top)
    inner = top / "build" / "inner"
    left = (tree_of(inner), state_of(inner))
    captured = capture(order)
    assert isinstance(captured, Captured)
    removal.remove(order, captured)
    git(repo, "worktree", "prune", "--expire=now")
    git(repo, "gc", "-q", "--prune=now")
    assert not (repo / ".git" / "worktrees").exists()

    kept.restore(order, captured.ref)

    assert (tree_of(inner), state_of(inner)) == left
    git(repo, "fsck")


def test_ignored_files_are_kept_where_that_is_set(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    (top / "build").mkdir()
    (top / "build" / "out").write_text("made\n")
    (top / ".env").write_text("A=1\n")
    left = tree_of(top)

    without, with_ignored = capture(order), capture(order, ignored=True)
    assert isinstance(without, Captured)
    assert isinstance(with_ignored, Captured)
    assert with_ignored.files == without.files + 2
    removal.remove(order, with_ignored)
    kept.restore(order, with_ignored.ref)

    assert tree_of(top) == left


def test_our_own_folder_is_no_work_unless_git_tracks_it(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    before = capture(order, ignored=True)
    (top / ".holdfast").mkdir()
    (top / ".holdfast" / ".gitignore").write_text("*\n")
    (top / ".holdfast" / "hooks.json").write_text("{}\n")
    assert capture(order, ignored=True) == before

    git(top, "add", "-f", ".holdfast/hooks.json")
    after = capture(order, ignored=True)
    assert isinstance(after, Captured)
    assert isinstance(before, Captured)
    assert after.files > before.files


def test_a_socket_is_left_out_and_holds_nothing_up(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(top)
        try:
            listening.bind("agent.sock")
        finally:
            os.chdir(here)
        captured = capture(order)
    assert isinstance(captured, Captured)
    assert isinstance(removal.remove(order, captured), removal.Removed)


def test_a_folder_that_somebody_deleted_still_has_a_head_and_an_index_to_keep(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    SCENES["detached_with_commits"](top)
    head = git(top, "rev-parse", "HEAD")
    removal.erase(top)

    captured = capture(order)

    assert isinstance(captured, Captured)
    assert (captured.head, captured.files) == (head, 0)
    assert isinstance(removal.remove(order, captured), removal.Removed)
    assert git(repo, "cat-file", "-t", head) == "commit"


@pytest.mark.guards(
    "Work that changes while it is captured makes the capture a doubt, and a doubt leaves no ref behind.",
    against="A capture that is believed though an agent was still writing.",
    breaks=("kept-looks-once",),
)
@pytest.mark.parametrize("point", [capturing.LOOKED, capturing.WRITTEN], ids=lambda point: point.name)
@pytest.mark.parametrize("change", ["bytes", "mode", "new", "gone", "head"])
def test_work_that_changes_during_the_capture_is_a_doubt(tmp_path: Path, point: faults.Point, change: str) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path

    def write() -> None:
        match change:
            case "bytes":
                (top / "readme.md").write_text("ONE\ntwo\nthree\n")
            case "mode":
                (top / "readme.md").chmod(0o600)
            case "new":
                (top / "late").write_text("late\n")
            case "gone":
                (top / "readme.md").unlink()
            case _:
                git(top, "commit", "-q", "--allow-empty", "-m", "late")

    with faults.armed(point, write):
        doubt = capture(order)

    assert isinstance(doubt, Doubt)
    assert git(repo, "for-each-ref", "refs/holdfast") == ""
    assert isinstance(capture(order), Captured), "once it is quiet, it can be kept"


@pytest.mark.guards(
    "What was written is read back out of the repository before anybody is told that it is kept.",
    against="A disk that took the bytes and gives back others.",
    breaks=("kept-is-not-read-back",),
)
def test_objects_that_read_otherwise_than_they_were_written_are_a_doubt(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    (top / "new").write_bytes(os.urandom(4096))

    def rot() -> None:
        for pack in (repo / ".git" / "objects" / "pack").glob("*.pack"):
            pack.chmod(0o644)
            raw = bytearray(pack.read_bytes())
            raw[200] ^= 0xFF
            pack.write_bytes(raw)

    with faults.armed(capturing.WRITTEN, rot):
        doubt = capture(order)

    assert isinstance(doubt, Doubt)
    assert git(repo, "for-each-ref", "refs/holdfast") == ""


def test_what_cannot_be_read_is_a_doubt(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    worktree.add(order)
    removal.erase(repo / ".git" / "worktrees" / "web-1")
    doubt = capture(order)
    assert isinstance(doubt, Doubt)
    assert "git knows of no worktree" in doubt.reason


@pytest.mark.guards(
    "A fifo where git looks for a file of its own is a doubt at once, that names it; git is not asked.",
    against="A clean-up that waits half an hour for somebody to write into a fifo, and then cannot say for what.",
    breaks=("kept-asks-git-about-fifos",),
)
@pytest.mark.parametrize("where", [".gitignore", "src/.gitignore", "nest/.git/config", "nest/.git/HEAD", "git's own"])
def test_a_fifo_in_the_place_of_gits_files_is_a_doubt_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(looking, "TREE_SECONDS", 10.0)  # where git is asked nevertheless
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    git(top, "init", "-q", "nest")
    fifo = repo / ".git" / "worktrees" / "web-1" / "HEAD" if where == "git's own" else top / where
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)

    doubt = capture(order)

    assert isinstance(doubt, Doubt)
    assert str(fifo if where == "git's own" else where) in doubt.reason
    assert "git would wait" in doubt.reason
    if where != "git's own":
        with pytest.raises(Conflict, match="git would wait"):
            diff(top, order.commit, 1_000)
    assert fifo.is_fifo()


@pytest.mark.parametrize("name", [".gitattributes", "pipe", "build/.gitignore.old"])
def test_a_fifo_that_no_capture_asks_git_about_is_kept(tmp_path: Path, name: str) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    (top / name).parent.mkdir(exist_ok=True)
    os.mkfifo(top / name)
    captured = capture(order, ignored=True)
    assert isinstance(captured, Captured)
    assert isinstance(removal.remove(order, captured), removal.Removed)
    assert (kept.restore(order, captured.ref).path / name).is_fifo()


@pytest.mark.guards(
    "What a session has committed comes back though its worktree was clean and its branch was deleted afterwards.",
    against="A clean-up that leaves the only hold on the work to a branch, which a person tidies away.",
    breaks=("kept-relies-on-branches",),
)
@pytest.mark.parametrize("commits", [0, 2])
def test_a_clean_worktree_outlives_its_branch(tmp_path: Path, commits: int) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    for number in range(commits):
        (top / "done.py").write_text(f"print({number})\n")
        git(top, "add", "-A")
        git(top, "commit", "-q", "-m", f"step {number}")
    assert git(top, "status", "--porcelain", "--ignored") == ""
    left = _outcome(top)

    captured = capture(order)
    assert isinstance(captured, Captured)
    removed = removal.remove(order, captured)
    assert isinstance(removed, removal.Removed)
    assert bool(removed.branch) == bool(commits)
    git(repo, "update-ref", "-d", f"refs/heads/{order.branch}")
    if not commits:  # what the person's branch held is not there any more either
        git(repo, "checkout", "-q", "--orphan", "afresh")
        git(repo, "commit", "-q", "-m", "afresh")
        git(repo, "branch", "-q", "-D", "main")
    git(repo, "reflog", "expire", "--expire=now", "--all")
    git(repo, "gc", "-q", "--prune=now")

    restored = kept.restore(order, captured.ref)

    assert _outcome(top) == left
    assert (restored.branch, restored.why) == (order.branch, "")


def test_kept_work_is_listed_and_forgotten(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    first = capture(order)
    (top / "more").write_text("more\n")
    second = capture(order)
    assert isinstance(first, Captured)
    assert isinstance(second, Captured)

    listed = kept.list_refs(repo)
    assert [(each.ref, each.session, each.number, each.files) for each in listed] == [
        (first.ref, "web-1", 1, first.files),
        (second.ref, "web-1", 2, first.files + 1),
    ]
    assert capturing.captured(repo, second.ref) == second
    assert kept.forget(repo, first.ref)
    assert not kept.forget(repo, first.ref)
    assert [each.ref for each in kept.list_refs(repo)] == [second.ref]
    for name in ("refs/heads/main", "main", "refs/holdfast/kept/web-1/../../../heads/main", "refs/holdfast/kept/x"):
        with pytest.raises(NotFound):
            kept.forget(repo, name)
    with pytest.raises(NotFound):
        kept.restore_at(repo, "refs/holdfast/kept/web-1/9", tmp_path / "x")


@pytest.mark.guards(
    "Kept work is put back only where nothing stands, and a branch that has moved on since is not moved back.",
    against="A restore that writes over other work, or takes commits off a branch.",
    breaks=("kept-writes-over-what-stands", "kept-takes-its-branch-back"),
)
def test_kept_work_is_put_back_beside_what_stands(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    SCENES["commits_on_its_branch"](top)
    captured = capture(order)
    assert isinstance(captured, Captured)
    with pytest.raises(Conflict):
        kept.restore(order, captured.ref)
    removal.remove(order, captured)
    git(repo, "branch", "-f", order.branch, "main")

    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("mine\n")
    with pytest.raises(Conflict):
        kept.restore_at(repo, captured.ref, taken)
    assert (taken / "mine").read_text() == "mine\n"

    restored = kept.restore(order, captured.ref)
    assert restored.branch == ""
    assert "moved" in restored.why
    assert git(top, "rev-parse", "HEAD") == captured.head
    assert git(repo, "rev-parse", order.branch) == git(repo, "rev-parse", "main")
