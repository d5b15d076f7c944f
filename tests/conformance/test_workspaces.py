"""Making worktrees: what is refused before anything is made, what is made, and that it is made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.core import faults
from holdfast.core.errors import Conflict, HoldfastError, Invalid, Unavailable
from holdfast.fleet.workspaces import diff as differing
from holdfast.fleet.workspaces import worktree
from holdfast.fleet.workspaces.place import place_of
from repositories import STORE, git, ordered, own_of, repository, tree_of

MAKING = [
    "workspace.marked",
    "workspace.claimed",
    "workspace.registered",
    "workspace.added",
    "workspace.signed",
    "workspace.brought",
]


class Cut(BaseException):
    """Ends a life in the middle, as a kill does."""


def test_a_base_is_the_branch_of_head_or_what_is_asked_for(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "v1")
    git(repo, "commit", "-q", "--allow-empty", "-m", "second")
    second = git(repo, "rev-parse", "HEAD")

    assert worktree.check(repo, "holdfast/web-1") == worktree.Base(second, "main")
    assert worktree.check(repo, "holdfast/web-1", "v1") == worktree.Base(first, "v1")
    assert worktree.check(repo, "holdfast/web-1", "main~1") == worktree.Base(first, "main~1")
    git(repo, "checkout", "-q", "--detach", "v1")
    assert worktree.check(repo, "holdfast/web-1") == worktree.Base(first, "HEAD")


@pytest.mark.parametrize(
    "base", ["nope", "", "-rf", "a\nb", "main:readme.md", "HEAD^9", "0" * 40, "--all", "x" * 10_000]
)
def test_a_base_that_is_no_commit_is_refused_by_name(tmp_path: Path, base: str) -> None:
    with pytest.raises(Invalid) as refusal:
        worktree.check(repository(tmp_path / "repo"), "holdfast/web-1", base)
    assert refusal.value.details == {"field": "base"}


@pytest.mark.parametrize("kind", ["missing", "file", "plain", "bare", "empty"])
def test_what_is_no_repository_to_work_in_is_refused(tmp_path: Path, kind: str) -> None:
    repo = tmp_path / "repo"
    match kind:
        case "file":
            repo.write_text("")
        case "plain":
            repo.mkdir()
        case "bare":
            git(tmp_path, "init", "-q", "--bare", "repo")
        case "empty":
            git(tmp_path, "init", "-q", "repo")
    before = tree_of(tmp_path, leave=())
    words = {"missing": "not there", "file": "not there", "plain": "not a git", "bare": "bare", "empty": "no commit"}
    with pytest.raises(Conflict, match=words[kind]):
        worktree.check(repo, "holdfast/web-1")
    assert tree_of(tmp_path, leave=()) == before


@pytest.mark.parametrize(
    "branch",
    [
        "-x",
        "a b",
        "a..b",
        "a~1",
        "a/",
        "/a",
        "a.lock",
        "a\n",
        "@{",
        "",
        "x" * 300,
        "a\x00b",
        "a/.b",
        "holdfast/" + "x" * 300,
    ],
)
def test_a_branch_that_git_would_not_have_is_refused(tmp_path: Path, branch: str) -> None:
    with pytest.raises(Invalid):
        worktree.check(repository(tmp_path / "repo"), branch)


def test_a_branch_in_the_way_is_named(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    git(repo, "branch", "holdfast/web-1")
    with pytest.raises(Conflict, match="there already"):
        worktree.check(repo, "holdfast/web-1")
    with pytest.raises(Conflict, match="'holdfast/web-1' stands in the way of 'holdfast/web-1/x'"):
        worktree.check(repo, "holdfast/web-1/x")
    with pytest.raises(Conflict, match="'holdfast/web-1' stands in the way of 'holdfast'"):
        worktree.check(repo, "holdfast")
    git(repo, "branch", "-m", "holdfast/web-1", "hold")
    git(repo, "branch", "-m", "hold", "holdfast")
    with pytest.raises(Conflict, match="'holdfast' stands in the way"):
        worktree.check(repo, "holdfast/web-1")
    assert worktree.check(repo, "holdfast2/web-1").name == "main"


def test_a_workspace_is_a_worktree_on_a_branch_of_its_own(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    made = worktree.add(order)

    assert tree_of(made.path) == tree_of(repo)
    assert git(made.path, "symbolic-ref", "HEAD") == "refs/heads/holdfast/web-1"
    assert git(made.path, "status", "--short") == ""
    assert [(one.store, one.session, one.path, one.there) for one in worktree.ours(repo)] == [
        (STORE, "web-1", made.path, True)
    ]


@pytest.mark.guards(
    "Making a workspace can end at any point: asked again it makes the same one, once more it changes nothing.",
    against="Orphans, a second worktree, or a spawn that never succeeds again after a crash.",
    breaks=("workspace-is-begun-anew", "workspace-keeps-its-halves"),
)
@pytest.mark.parametrize("point", MAKING)
def test_a_workspace_is_made_once_wherever_it_was_cut(tmp_path: Path, point: str) -> None:
    repo = repository(tmp_path / "repo")
    (repo / ".env").write_text("A=1\n")
    order = ordered(repo, tmp_path / "data", copy=(".env",))
    with faults.armed(point, faults.raising(Cut())), pytest.raises(Cut):
        worktree.add(order)

    made = worktree.add(order)
    seen = tree_of(tmp_path / "data", leave=())
    again = worktree.add(order)

    assert (again.path, again.branch, again.git_dir) == (made.path, made.branch, made.git_dir)
    assert tree_of(tmp_path / "data", leave=()) == seen
    assert (made.path / ".env").read_text() == "A=1\n"
    assert [each.path for each in worktree.ours(repo)] == [made.path]
    assert (
        git(repo, "for-each-ref", "--format=%(refname)", "refs/heads") == "refs/heads/holdfast/web-1\nrefs/heads/main"
    )


def test_work_in_a_workspace_survives_being_asked_for_again(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    (top / "work").write_text("work\n")
    place_of(order).unmark()  # the marker beside it is lost
    worktree.add(order)
    assert (top / "work").read_text() == "work\n"


@pytest.mark.guards(
    "What stands in the place of a workspace and was not made by Holdfast is never touched.",
    against="A folder of the person's that is deleted because it had the name of a session.",
    breaks=("workspace-takes-what-it-finds",),
)
@pytest.mark.parametrize("kind", ["folder", "file", "link", "empty", "worktree", "other"])
@pytest.mark.parametrize("when", ["before", "between"])
def test_what_we_did_not_make_is_refused_and_left_alone(tmp_path: Path, kind: str, when: str) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    at = order.path
    at.parent.mkdir(parents=True)

    def stand() -> None:
        match kind:
            case "folder":
                at.mkdir()
                (at / "mine").write_text("mine\n")
            case "file":
                at.write_text("mine\n")
            case "link":
                (tmp_path / "target").mkdir()
                at.symlink_to(tmp_path / "target")
            case "empty":
                at.mkdir()
            case "worktree":
                git(repo, "worktree", "add", "-q", "--detach", str(at))
            case _:
                repository(at)

    if when == "before":
        stand()
        before = tree_of(at.parent, leave=())
        with pytest.raises(Conflict, match="did not make it"):
            worktree.add(order)
    else:
        with faults.armed("workspace.marked", stand), pytest.raises(Conflict, match="did not make it"):
            worktree.add(order)
        before = tree_of(at.parent, leave=())

    assert tree_of(at.parent, leave=()) == before
    assert at.is_symlink() if kind == "link" else at.exists()
    assert kind != "folder" or (at / "mine").exists()
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/heads") == "refs/heads/main"
    assert list(at.parent.glob(".*")) == []


def test_a_marker_of_another_store_is_respected(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    worktree.add(ordered(repo, tmp_path / "data"))
    with pytest.raises(Conflict, match="another store"):
        worktree.add(ordered(repo, tmp_path / "data", store="f" * 16))
    place = place_of(ordered(repo, tmp_path / "data"))
    place.marker_file.write_text("garbage")
    with pytest.raises(Conflict, match="no marker"):
        worktree.add(place.order)
    assert place.path.is_dir()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session", "../x"),
        ("session", "Web-1"),
        ("session", ""),
        ("session", "x" * 101),
        ("path", Path("relative/web-1")),
        ("path", Path("/tmp/a/../b")),
        ("path", Path("/tmp/line\nfeed/web-1")),
        ("path", Path("/tmp/.hidden")),
        ("path", Path("/tmp/-rf")),
    ],
)
def test_a_path_or_an_id_that_plays_tricks_is_refused(tmp_path: Path, field: str, value: object) -> None:
    repo = repository(tmp_path / "repo")
    before = own_of(repo)
    with pytest.raises(Invalid):
        worktree.add(ordered(repo, tmp_path / "data", **{field: value}))
    assert own_of(repo) == before


def test_a_data_folder_behind_a_link_is_found_where_it_is(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    made = worktree.add(ordered(repo, tmp_path / "linked"))
    assert made.path == tmp_path / "real" / "workspaces" / "web" / "web-1"
    assert worktree.add(ordered(repo, tmp_path / "real")).path == made.path
    with pytest.raises(Invalid, match="holds the repository"):
        worktree.add(ordered(repo, tmp_path / "data", path=tmp_path))


def test_a_long_path_is_made_or_refused_with_words(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    deep = tmp_path.joinpath(*(["d" * 200] * 5))
    assert worktree.add(ordered(repo, deep)).path.is_dir()
    with pytest.raises(HoldfastError):
        worktree.add(ordered(repo, tmp_path.joinpath(*(["d" * 200] * 30)), 2))
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/heads/holdfast") == "refs/heads/holdfast/web-1"


def test_files_are_brought_from_the_persons_checkout(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    repo = repository(tmp_path / "repo")
    (repo / "linked").symlink_to(outside)
    git(repo, "add", "linked")
    git(repo, "commit", "-q", "-m", "a link that leads out")
    (outside / "secret").write_text("theirs\n")
    (repo / ".env").write_text("A=1\n")
    (repo / ".env").chmod(0o600)
    (repo / "readme.md").write_text("edited by the person\n")
    (repo / "build").mkdir()
    (repo / "build" / "cache.log").write_text("cached\n")
    (repo / "other.log").symlink_to("build/cache.log")
    copy, link = (".env", "readme.md", "build", "*.log", "nothing-*", ".git/config"), ("build/cache.log", "linked/*")
    before = tree_of(outside)

    made = worktree.add(ordered(repo, tmp_path / "data", copy=copy, link=link))

    assert set(made.brought) == {".env", "build", "other.log"}
    assert (made.path / ".env").stat().st_mode & 0o777 == 0o600
    assert (made.path / "readme.md").read_text() == "one\ntwo\nthree\n"
    assert (made.path / "other.log").read_text() == "cached\n"
    assert tree_of(outside) == before
    git(made.path, "rm", "-q", "--cached", "linked")
    for number, pattern in enumerate(("/etc/passwd", "../x", "a/../../b", "", "a**b"), start=2):
        with pytest.raises(Invalid):
            worktree.add(ordered(repo, tmp_path / "data", number, copy=(pattern,)))


def test_links_are_made_to_the_persons_own_files(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    (repo / "build").mkdir()
    made = worktree.add(ordered(repo, tmp_path / "data", link=("build",)))
    assert (made.path / "build").readlink() == repo / "build"


@pytest.mark.guards(
    "Files brought along stay inside the workspace and never replace what git put there.",
    against="A pattern or a link by which a project's settings write anywhere on the machine.",
    breaks=("workspace-brings-files-anywhere",),
)
def test_a_link_that_leads_out_of_the_workspace_is_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    repo = repository(tmp_path / "repo")
    (repo / "out").symlink_to(outside)
    git(repo, "add", "out")
    git(repo, "commit", "-q", "-m", "a link that leads out")
    (repo / "out").unlink()
    (repo / "out").mkdir()
    (repo / "out" / ".env").write_text("A=1\n")
    made = worktree.add(ordered(repo, tmp_path / "data", copy=("out/.env",)))
    assert made.brought == ()
    assert list(outside.iterdir()) == []


@pytest.mark.guards(
    "Our own commands run none of the person's hooks, and nothing that was set for a git that called us reaches them.",
    against="A hook that hangs every spawn, or a spawn that works on the repository of whoever started the daemon.",
    breaks=("git-runs-hooks", "git-believes-its-caller"),
)
def test_neither_hooks_nor_the_callers_variables_reach_our_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, other = repository(tmp_path / "repo"), repository(tmp_path / "other")
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        file = repo / ".git" / "hooks" / hook
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\ntouch {tmp_path}/{hook}-ran\nexit 1\n")
        file.chmod(0o755)
    order = ordered(repo, tmp_path / "data")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))
    before = own_of(other)

    worktree.check(repo, order.branch)
    worktree.add(order)

    assert list(tmp_path.glob("*-ran")) == []
    assert own_of(other) == before
    assert worktree.ours(other) == []


def test_a_workspace_that_somebody_deleted_comes_back_from_its_index(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    git(repo, "worktree", "unlock", str(top))
    os.rename(top, tmp_path / "away")  # noqa: PTH104
    assert worktree.add(order).path == top
    assert tree_of(top) == tree_of(tmp_path / "away")
    git(repo, "worktree", "remove", "--force", str(top))
    git(repo, "commit", "-q", "--allow-empty", "-m", "meanwhile")
    assert worktree.add(order).path == top, "git had forgotten it, the branch is still there"


def test_a_diff_shows_committed_uncommitted_and_untracked_work_within_its_bound(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    order = ordered(repo, tmp_path / "data")
    top = worktree.add(order).path
    (top / "readme.md").write_text("committed line\n")
    git(top, "commit", "-q", "-a", "-m", "second")
    (top / "src" / "app.py").write_text("uncommitted line\n")
    (top / "sp ace").write_text("untracked line\n")
    (top / "-n").write_text("dashed line\n")
    (top / "noise.log").write_text("ignored line\n")
    repository(top / "inner")
    index = (repo / ".git" / "worktrees" / "web-1" / "index").read_bytes()

    whole = differing.diff(top, order.commit, 1_000_000)

    for line in (b"+committed line", b"+uncommitted line", b"+untracked line", b"+dashed line"):
        assert line in whole.text
    assert b"ignored line" not in whole.text
    assert not whole.cut
    assert (repo / ".git" / "worktrees" / "web-1" / "index").read_bytes() == index
    (top / "big").write_text("x\n" * 500_000)
    part = differing.diff(top, order.commit, 1000)
    assert (len(part.text), part.cut) == (1000, True)
    assert differing.diff(top, order.commit, 0) == differing.Diff(b"", cut=True)
    with pytest.raises(Unavailable):
        differing.diff(top, "nope", 1000)
    with pytest.raises(Conflict):
        differing.diff(tmp_path / "gone", order.commit, 1000)
