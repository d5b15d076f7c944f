"""What stands around a base that somebody has checked out: other names of it, files that git does not know, filters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forge_worlds import LocalWorld, pull_of
from forging import commit
from holdfast.core import faults
from holdfast.core.faults import FaultRaisedError
from holdfast.fleet.forges.local import landing, refs
from holdfast.fleet.forges.port import Merged, Opening, Refused
from repositories import git, own_of, state_of, tree_of


@pytest.fixture
def world(tmp_path: Path) -> LocalWorld:
    return LocalWorld(tmp_path)


async def merge(world: LocalWorld) -> Merged | Refused:
    opening = await world.forge.opening(world.session, world.project)
    assert isinstance(opening, Opening)
    pull = pull_of(opening, world.forge)
    came_to = await world.forge.merge(pull, world.session, "merge")
    if isinstance(came_to, Merged):
        await world.forge.merged(pull, world.session)  # the next one has the same number
    return came_to


async def refused(world: LocalWorld) -> Refused:
    """Try to merge; it must be refused, and nothing may have changed."""
    before, known, main = own_of(world.repo), state_of(world.repo), git(world.repo, "rev-parse", "main")
    came_to = await merge(world)
    assert isinstance(came_to, Refused), came_to
    assert came_to.command is not None
    assert ".." not in came_to.why
    assert git(world.repo, "rev-parse", "main") == main
    assert own_of(world.repo) == before
    assert state_of(world.repo) == known
    return came_to


# --- a base by another name --------------------------------------------------------------------------------------


def _renamed(repo: Path) -> None:
    """As while a branch gets another name: the former one stands for it, over one more."""
    git(repo, "branch", "-m", "main", "trunk")
    git(repo, "symbolic-ref", "refs/heads/between", "refs/heads/trunk")
    git(repo, "symbolic-ref", "refs/heads/main", "refs/heads/between")


@pytest.mark.guards(
    "A base that is a symbolic ref is the branch that it leads to: whoever has that one checked out follows.",
    against="The branch moves under the worktree that has it by its own name, whose tree then takes all back.",
    breaks=("forge-follows-the-alias",),
)
@pytest.mark.parametrize("head", ["trunk", "main"])
async def test_a_base_that_stands_for_another_branch_moves_with_its_files(world: LocalWorld, head: str) -> None:
    _renamed(world.repo)
    git(world.repo, "symbolic-ref", "HEAD", f"refs/heads/{head}")
    world.work(new="1\n")
    merged = await merge(world)
    assert isinstance(merged, Merged), merged
    assert (world.repo / "new").exists()
    assert git(world.repo, "status", "--porcelain") == ""
    assert git(world.repo, "rev-parse", "trunk") == merged.commit
    assert git(world.repo, "symbolic-ref", "refs/heads/main") == "refs/heads/trunk"
    assert (world.repo / ".git" / "refs" / "heads" / "main").read_text() == "ref: refs/heads/between\n"


async def test_a_base_that_stands_for_a_dirty_branch_does_not_move(world: LocalWorld) -> None:
    _renamed(world.repo)
    world.work(new="1\n")
    (world.repo / "readme.md").write_text("not committed\n")
    assert "readme.md" in (await refused(world)).why


async def test_a_base_that_stands_for_no_branch_is_refused(world: LocalWorld) -> None:
    world.work(new="1\n")
    git(world.repo, "checkout", "-q", "--detach")
    git(world.repo, "update-ref", "refs/elsewhere/main", "main")
    git(world.repo, "symbolic-ref", "refs/heads/main", "refs/elsewhere/main")
    assert "no branch" in (await refused(world)).why


async def test_a_rebase_of_the_branch_that_a_base_stands_for_is_seen(world: LocalWorld) -> None:
    git(world.repo, "checkout", "-q", "-b", "side")
    commit(world.repo, "there", readme_dot_md="theirs\n")
    git(world.repo, "checkout", "-q", "main")
    commit(world.repo, "here", readme_dot_md="ours\n")
    _renamed(world.repo)
    world.work(new="1\n")
    git(world.repo, "rebase", "-q", "side", "trunk", check=False)
    assert "rebased" in (await refused(world)).why


@pytest.mark.guards(
    "That the branch has moved for which a base stands is seen, by the files in which they stand.",
    against="Checks of before count for a base that is long somewhere else.",
    breaks=("forge-watches-the-alias",),
)
def test_a_branch_that_another_one_stands_for_is_watched(world: LocalWorld) -> None:
    _renamed(world.repo)
    common = world.repo / ".git"
    before = refs.prints(common, ["main"])
    assert refs.prints(common, ["main"]) == before
    commit(world.repo, "moved")
    assert refs.prints(common, ["main"]) != before


def test_symbolic_refs_that_lead_in_a_circle_or_out_of_gits_folder_are_no_trap(world: LocalWorld) -> None:
    heads = world.repo / ".git" / "refs" / "heads"
    (heads / "one").write_text("ref: refs/heads/two\n")
    (heads / "two").write_text("ref: refs/heads/one\n")
    (heads / "out").write_text("ref: refs/../../../outside\n")
    found = refs.prints(world.repo / ".git", ["one", "out"])
    assert {"refs/heads/one", "refs/heads/two", "refs/heads/out"} == {n for n in found if n.startswith("refs/")}
    assert refs.resolved(world.repo, "one") is None


# --- files that git does not know --------------------------------------------------------------------------------


def _file_for_a_folder(repo: Path) -> None:
    (repo / "cfg").write_text("mine\n")


def _link_for_a_folder(repo: Path) -> None:
    (repo.parent / "outside").mkdir()
    (repo / "cfg").symlink_to(repo.parent / "outside")


def _dangling_link_for_a_folder(repo: Path) -> None:
    (repo / "cfg").symlink_to("nowhere")


def _file_deeper(repo: Path) -> None:
    (repo / "cfg").mkdir()
    (repo / "cfg" / "deep").write_text("mine\n")


def _folder_for_a_file(repo: Path) -> None:
    (repo / "one").mkdir()
    (repo / "one" / "mine").write_text("mine\n")


def _link_in_a_folder_for_a_file(repo: Path) -> None:
    (repo / "one").mkdir()
    (repo / "one" / "mine").symlink_to(repo / "src")


OBSTACLES: tuple[Callable[[Path], None], ...] = (
    _file_for_a_folder, _link_for_a_folder, _dangling_link_for_a_folder, _file_deeper, _folder_for_a_file,
    _link_in_a_folder_for_a_file,
)  # fmt: skip


@pytest.mark.guards(
    "Whatever git does not track, ignored or not, stays where a merge brings a folder for a file or a file for a "
    "folder: the merge is refused and names it.",
    against="Git takes ignored files for worthless: it deletes them to make room, and nobody has them any more.",
    breaks=("forge-looks-at-whole-paths-only", "forge-overlooks-links-in-folders"),
)
@pytest.mark.parametrize("ignored", [True, False])
@pytest.mark.parametrize("obstacle", OBSTACLES)
async def test_what_git_does_not_track_is_never_in_place_of_what_comes(
    world: LocalWorld, obstacle: Callable[[Path], None], ignored: bool
) -> None:
    world.work(cfg__deep__a="1\n", one="1\n")
    if ignored:
        (world.repo / ".git" / "info" / "exclude").write_text("cfg\none\n")
    obstacle(world.repo)
    assert "in the way" in (await refused(world)).why


async def test_files_of_gits_own_make_room_for_folders_and_folders_for_files(world: LocalWorld) -> None:
    (world.tree / "link").unlink()
    (world.tree / "readme.md").unlink()
    git(world.tree, "rm", "-q", "src/app.py")
    world.work(link__a="1\n", readme_dot_md__b="2\n", src="a file now\n")
    (world.repo / "other").mkdir()
    assert isinstance(await merge(world), Merged)
    assert git(world.repo, "status", "--porcelain") == ""
    assert (world.repo / "link" / "a").read_text() == "1\n"
    assert (world.repo / "src").read_text() == "a file now\n"


async def test_what_stays_in_a_folder_that_becomes_a_file_is_in_the_way(world: LocalWorld) -> None:
    git(world.tree, "rm", "-q", "src/app.py")
    world.work(src="a file now\n")
    (world.repo / "src" / "debug.log").write_text("ignored, and mine\n")
    assert "src/debug.log" in (await refused(world)).why


@pytest.mark.guards(
    "A base that is checked out while it moves is moved back where its new worktree cannot follow.",
    against="An ignored file that lies in the new worktree is written over, or its tree seems to take back the merge.",
    breaks=("forge-follows-over-anything",),
)
async def test_a_base_that_is_checked_out_while_it_moves_is_moved_back_where_files_are_in_the_way(
    world: LocalWorld,
) -> None:
    world.work(cfg__a="1\n")
    git(world.repo, "checkout", "-q", "--detach")
    (world.repo / ".git" / "info" / "exclude").write_text("cfg\n")
    (world.repo / "cfg").write_text("mine\n")
    main = git(world.repo, "rev-parse", "main")
    head = lambda: git(world.repo, "symbolic-ref", "HEAD", "refs/heads/main")  # its files are of before
    with faults.armed(landing.SWAPPED, head):
        came_to = await merge(world)
    assert isinstance(came_to, Refused), came_to
    assert (world.repo / "cfg").read_text() == "mine\n"
    assert git(world.repo, "rev-parse", "main") == main
    assert git(world.repo, "status", "--porcelain") == ""


@pytest.mark.guards(
    "A base that is checked out right after it has moved stays where it is.",
    against="The files that came by that checkout are taken for what is in the way, and the base moves back under it.",
    breaks=("forge-moves-back-what-follows",),
)
async def test_a_base_that_is_checked_out_right_after_it_has_moved_stays(world: LocalWorld) -> None:
    world.work(cfg__a="1\n")
    git(world.repo, "checkout", "-q", "--detach")
    with faults.armed(landing.SWAPPED, lambda: git(world.repo, "checkout", "-q", "main")):
        merged = await merge(world)
    assert isinstance(merged, Merged), merged
    assert git(world.repo, "rev-parse", "main") == merged.commit
    assert git(world.repo, "status", "--porcelain") == ""


# --- what makes git write files otherwise ------------------------------------------------------------------------


@pytest.mark.guards(
    "A filter that fails is found out before anything of a checked-out base is touched.",
    against="A tree with half of a merge in it, which the same filter keeps from being mended, locked for good.",
    breaks=("forge-rehearses-nothing",),
)
async def test_a_filter_that_fails_leaves_the_tree_as_it_was(world: LocalWorld) -> None:
    (world.tree / ".gitattributes").write_text("readme.md filter=broken\n")
    world.work(readme_dot_md="two\n", zz="last\n")
    for name, value in (("smudge", "false"), ("clean", "cat"), ("required", "true")):
        git(world.repo, "config", f"filter.broken.{name}", value)
    assert "filter" in (await refused(world)).why


async def test_a_filter_that_works_writes_the_tree(world: LocalWorld) -> None:
    (world.tree / ".gitattributes").write_text("*.up filter=up\n")
    world.work(a_dot_up="text\n")
    git(world.repo, "config", "filter.up.smudge", "tr a-z A-Z")
    git(world.repo, "config", "filter.up.clean", "tr A-Z a-z")
    assert isinstance(await merge(world), Merged)
    assert (world.repo / "a.up").read_text() == "TEXT\n"
    assert git(world.repo, "status", "--porcelain") == ""


async def test_line_ends_are_as_the_settings_say_and_the_tree_is_clean(world: LocalWorld) -> None:
    git(world.repo, "config", "core.autocrlf", "true")
    world.work(readme_dot_md="a\nb\n", new="n\n")
    git(world.repo, "checkout", "-q", "-f", "main")
    assert isinstance(await merge(world), Merged)
    assert (world.repo / "new").read_bytes() == b"n\r\n"
    assert git(world.repo, "status", "--porcelain") == ""


async def test_a_mode_that_the_settings_do_not_trust_is_no_change(world: LocalWorld) -> None:
    git(world.tree, "update-index", "--chmod=+x", "readme.md")
    git(world.tree, "commit", "-q", "-m", "mode")
    git(world.repo, "config", "core.fileMode", "false")
    assert isinstance(await merge(world), Merged)
    assert git(world.repo, "status", "--porcelain") == ""


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
async def test_an_edit_that_git_was_told_to_overlook_is_kept(world: LocalWorld, flag: str) -> None:
    world.work(readme_dot_md="theirs\n", aa="first\n")
    git(world.repo, "update-index", flag, "readme.md")
    (world.repo / "readme.md").write_text("mine\n")
    main = git(world.repo, "rev-parse", "main")
    came_to = await merge(world)
    assert isinstance(came_to, Refused)
    assert ".." not in came_to.why
    assert (world.repo / "readme.md").read_text() == "mine\n"
    assert not (world.repo / "aa").exists()
    assert git(world.repo, "rev-parse", "main") == main


@pytest.mark.guards(
    "A landing in a sparse checkout writes nothing beyond it, and can be taken back.",
    against="What was cut off cannot be taken back, and the worktree stays locked for good.",
    breaks=("forge-brings-back-what-is-left-out",),
)
async def test_a_sparse_checkout_stays_sparse(world: LocalWorld) -> None:
    world.work(src__app_dot_py="theirs\n", src__new="1\n", readme_dot_md="new\n")
    git(world.repo, "sparse-checkout", "set", "build")
    assert not (world.repo / "src").exists()
    before = tree_of(world.repo)
    cut = faults.raising(FaultRaisedError("cut off"))
    with faults.armed(landing.WRITTEN, cut), pytest.raises(FaultRaisedError):
        await merge(world)
    assert tree_of(world.repo) == before
    assert isinstance(await merge(world), Merged)
    assert (world.repo / "readme.md").read_text() == "new\n"
    assert not (world.repo / "src").exists()
    assert git(world.repo, "status", "--porcelain") == ""


def _with_a_module(world: LocalWorld) -> Path:
    """A submodule in the base, checked out by the person; the repository that it is of."""
    other = world.folder / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "main")
    commit(other, "one", a="1\n")
    git(world.repo, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(other), "sub")
    git(world.repo, "commit", "-q", "-m", "a submodule")
    git(world.tree, "merge", "-q", "main")
    return other


async def test_the_files_of_a_submodule_stay_and_later_merges_do_not_mind(world: LocalWorld) -> None:
    other = _with_a_module(world)
    newer = commit(other, "two", a="2\n")
    git(world.tree, "update-index", "--cacheinfo", f"160000,{newer},sub")
    git(world.tree, "commit", "-q", "-m", "newer")
    assert isinstance(await merge(world), Merged)
    assert (world.repo / "sub" / "a").read_text() == "1\n"
    assert git(world.repo, "status", "--porcelain").strip() == "M sub"
    git(world.tree, "checkout", "-q", "-f", "HEAD")
    world.work(new="1\n")
    assert isinstance(await merge(world), Merged)
    assert git(world.repo, "status", "--porcelain").strip() == "M sub"
    (world.repo / "new").write_text("edited\n")
    world.work(newer="1\n")
    assert "(new)" in (await refused(world)).why


async def test_a_submodule_that_becomes_a_file_is_left_alone(world: LocalWorld) -> None:
    _with_a_module(world)
    git(world.tree, "rm", "-q", "-f", "--cached", "sub")
    (world.tree / "sub").rmdir()
    world.work(sub="a file\n")
    assert "sub" in (await refused(world)).why


# --- where it is -------------------------------------------------------------------------------------------------


async def test_a_base_in_a_locked_worktree_that_is_away_is_not_moved(world: LocalWorld, tmp_path: Path) -> None:
    world.work(new="1\n")
    git(world.repo, "checkout", "-q", "--detach")
    git(world.repo, "worktree", "add", "-q", "--lock", str(tmp_path / "third"), "main")
    (tmp_path / "third").rename(tmp_path / "away")
    assert "locked" in (await refused(world)).why


async def test_another_repository_at_the_place_of_a_worktree_is_left_alone(world: LocalWorld, tmp_path: Path) -> None:
    world.work(new="1\n")
    git(world.repo, "checkout", "-q", "--detach")
    third = tmp_path / "third"
    git(world.repo, "worktree", "add", "-q", str(third), "main")
    third.rename(tmp_path / "away")
    git(world.folder, "clone", "-q", "-b", "main", str(world.repo), str(third))
    before = own_of(third)
    assert "something else" in (await refused(world)).why
    assert own_of(third) == before


async def test_a_base_that_is_checked_out_twice_is_not_moved(world: LocalWorld, tmp_path: Path) -> None:
    world.work(new="1\n")
    git(world.repo, "worktree", "add", "-q", "-f", str(tmp_path / "third"), "main")
    assert "more than once" in (await refused(world)).why


async def test_a_base_whose_ref_is_packed_moves(world: LocalWorld) -> None:
    world.work(new="1\n")
    git(world.repo, "pack-refs", "--all", "--prune")
    assert isinstance(await merge(world), Merged)
    assert git(world.repo, "status", "--porcelain") == ""
