"""kill -9 of the daemon at every fault point of a pull: checked, merged once, and no tree of a person half of it."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

import holdfast.fleet.forges
from forging import KILLS, PACKS, Forge, commit
from holdfast.core import faults
from holdfast.core.store.lock import hold_data
from holdfast.core.store.opening import StoreConfig, open_store
from holdfast.fleet import processes
from messaging import environment
from repositories import git

pytestmark = [pytest.mark.crash, pytest.mark.slow]

WORKER = Path(__file__).with_name("forging_worker.py")
for _info in pkgutil.walk_packages(holdfast.fleet.forges.__path__, "holdfast.fleet.forges."):
    importlib.import_module(_info.name)
POINTS = sorted(name for name in faults.points() if name.startswith("forge."))
#: Where the base is while the daemon dies: checked out in the person's own tree, or nowhere.
PLACES = ("in the person's tree", "nowhere")
#: Points that only one of them has.
IN_PLACE = {name for name in POINTS if name.startswith("forge.landing-")} - {"forge.landing-swapped"}
#: Several passes of one point mean different things.
MORE = {"forge.settled": (1, 2, 3)}
FILES = {"work": "done\n", "src__app_dot_py": "print('changed')\n", "deep__er__new": "x\n" * 2000}
#: A check that leaves something behind, and says what it saw.
CHECK = "setsid sleep 600 & test -f work"


def walk() -> list[tuple[str, str, int]]:
    """Each point in each place that has it, at each pass that counts."""
    found = []
    for place in PLACES:
        for name in POINTS:
            if name == "forge.landing-swapped" if place == PLACES[0] else name in IN_PLACE:
                continue
            found += [(place, name, nth) for nth in MORE.get(name, (1,))]
    return found


@dataclass
class World:
    """A person's repository, and a data folder beside it."""

    folder: Path

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Forge]:
        data = self.folder / "own"
        data.mkdir(exist_ok=True)
        with hold_data(data) as lock:
            store = await open_store(StoreConfig(data=data, packs=PACKS, url=None), lock)
            try:
                yield Forge(store, self.folder)
            finally:
                await store.close()

    def daemon(self, faulty: str = "") -> int:
        """One life of a daemon: how it ended."""
        words = [sys.executable, str(WORKER), msgspec.json.encode(str(self.folder)).decode()]
        done = subprocess.run(
            words,
            env=environment(HOLDFAST_FAULTS=faulty, PYTHONFAULTHANDLER="1"),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode in {0, faults.DIED}, done.stderr
        return done.returncode


def _left(forge: Forge) -> list[processes.Identity]:
    return processes.owned(None, {"HOLDFAST_STORE": forge.store.uuid})


async def _begun(world: World, *, conflict: bool = False) -> dict[str, str]:
    """A session whose agent says that it is done, under a policy that merges; the person's settings and refs before."""
    async with world.opened() as forge:
        await forge.project(CHECK, merge_by="policy", merge_how="squash")
        session = await forge.session()
        commit(forge.tree(session), "work", **FILES)
        if conflict:
            commit(world.repo, "meanwhile", src__app_dot_py="print('of the person')\n")
        (world.repo / "mine").write_text("not committed\n")
        await forge.says(session, "working")
        await forge.says(session, "done")
    return {name: git(world.repo, *words) for name, words in SAME.items()}


SAME = {
    "config": ("config", "--list", "--local"),
    "refs": ("for-each-ref", "refs/tags", "refs/stash", "refs/heads/side"),
    "worktrees": ("worktree", "list"),
}


def test_the_walk_knows_points_of_a_check_a_merge_and_a_probe() -> None:
    for start in ("forge.check-", "forge.merge-", "forge.landing-", "forge.probed", "forge.opening-"):
        assert any(name.startswith(start) for name in POINTS), start


@pytest.mark.guards(
    "After kill -9 of the daemon at any point of a pull's life it is checked, merged once, and what follows is "
    "owed once; the person's tree is clean and at the merge, and nothing of ours is left in it.",
    against="A daemon that dies between a tree and its ref leaves a checkout that seems to revert what was merged, or "
    "whose index stays locked; a check that it left running goes on for ever; a merge is made twice.",
    breaks=("forge-forgets-what-it-landed", "forge-leaves-a-half-written-tree"),
)
@pytest.mark.parametrize(("place", "point", "nth"), walk())
async def test_kill_9_at_every_point_of_a_pull(tmp_path: Path, place: str, point: str, nth: int) -> None:
    world = World(tmp_path)
    before = await _begun(world)
    if place == "nowhere":
        git(world.repo, "checkout", "-q", "--detach")
    before["worktrees"] = git(world.repo, "worktree", "list")
    start = git(world.repo, "rev-parse", "main")
    assert world.daemon(f"{point}=die@{nth}") == faults.DIED
    assert git(world.repo, "rev-parse", "main") == start or git(world.repo, "log", "-1", "--format=%s", "main")
    assert world.daemon() == 0

    assert git(world.repo, "log", "--first-parent", "--format=%s", "main").splitlines()[1:] == ["first"]
    assert git(world.repo, "show", "main:work") == "done"
    assert git(world.repo, "status", "--porcelain") == "?? mine"
    shown = {str(path.relative_to(world.repo)) for path in world.repo.rglob("*new")} if place != "nowhere" else set()
    assert shown == ({"deep/er/new"} if place != "nowhere" else set())
    assert list((world.repo / ".git").glob("*.lock")) == []
    assert list((world.repo / ".git").glob("index.*")) == []
    assert git(world.repo, "for-each-ref", "refs/holdfast") == ""
    after = {name: git(world.repo, *words) for name, words in SAME.items()}
    if place != "nowhere":
        before["worktrees"] = after["worktrees"] = ""  # the commit that it is at is told with it
    assert after == before
    git(world.repo, "fsck", "--strict")
    assert list((tmp_path / "own" / "checks").glob("*/*")) == []
    async with world.opened() as forge:
        assert _left(forge) == []
        pull = await forge.pull()
        assert (pull.state, pull.merge_commit) == ("merged", git(world.repo, "rev-parse", "main"))
        assert [check.state for check in pull.head_checks] == ["passed"]
        assert len(await forge.pulls("web-1")) == 1
        kills = await forge.read(lambda reader: reader.all(KILLS))
    assert len(kills) == 1
    assert '"pr_merged"' in kills[0]["payload"]


@pytest.mark.parametrize("point", ["forge.probed", "forge.seen"])
async def test_kill_9_in_a_conflict_probe_loses_no_conflict(tmp_path: Path, point: str) -> None:
    world = World(tmp_path)
    before = await _begun(world, conflict=True)
    assert world.daemon(f"{point}=die") == faults.DIED
    assert world.daemon() == 0
    assert {name: git(world.repo, *words) for name, words in SAME.items()} == before
    assert git(world.repo, "status", "--porcelain") == "?? mine"
    async with world.opened() as forge:
        pull = await forge.pull()
    assert (pull.state, pull.fit, pull.conflicts) == ("open", "conflict", ("src/app.py",))
