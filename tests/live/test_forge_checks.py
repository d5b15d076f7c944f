"""Checks of pulls with real commands: what misbehaves is bounded and told, and nothing of it stays."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import StoreMaker
from forging import ACT, PACKS, SET_CHECKS, Forge, check_of, commit, over
from holdfast.core import faults
from holdfast.core.propagation.kinds import Buried
from holdfast.fleet import processes
from holdfast.fleet.forges import asking
from holdfast.fleet.forges.kinds import CHECK, Checking
from holdfast.fleet.forges.local.command import STARTED, _Heard, readable
from holdfast.fleet.pulls.facts import TAIL_BYTES
from repositories import git

Checked = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
async def forge(make_store: StoreMaker, tmp_path: Path) -> Forge:
    return Forge(await make_store(packs=PACKS), tmp_path)


@asynccontextmanager
async def checked(
    forge: Forge, *checks: str, settings: dict[str, Any] | None = None, **more: str
) -> AsyncIterator[Any]:
    """A pull whose checks have come to an end, under a daemon that goes on."""
    await forge.project(*checks, **more)
    async with forge.up(**(settings or {})):
        yield await forge.opened()


def left(forge: Forge) -> list[processes.Identity]:
    return processes.owned(None, {"HOLDFAST_STORE": forge.store.uuid})


def folders(forge: Forge) -> list[Path]:
    return list((forge.data / "checks").glob("*/*"))


async def test_a_check_that_fails_says_how_and_keeps_the_end_of_its_log(forge: Forge) -> None:
    async with checked(forge, "true", "echo begin; echo 'it broke' >&2; exit 3") as pull:
        good, bad = pull.head_checks
    assert (good.state, good.exit_status, good.step) == ("passed", 0, "")
    assert (bad.state, bad.exit_status, bad.step) == ("failed", 3, "ended with status 3")
    assert bad.tail == "begin\nit broke\n"
    assert bad.started_at <= bad.finished_at


async def test_a_check_that_a_signal_ends_has_failed(forge: Forge) -> None:
    async with checked(forge, "kill -SEGV $$") as pull:
        assert (check_of(pull).state, check_of(pull).step) == ("failed", "was ended by SIGSEGV")


@pytest.mark.guards(
    "A check that a signal without a name ends has failed like any other, and the next ones run.",
    against="A check whose end nobody can tell of is run for ever.",
    breaks=("forge-names-every-signal",),
)
async def test_a_check_that_a_signal_without_a_name_ends_has_failed(forge: Forge) -> None:
    async with checked(forge, "echo hi; kill -40 $$", "true") as pull:
        bad, good = pull.head_checks
    assert (bad.state, bad.step, bad.exit_status, bad.tail) == ("failed", "was ended by signal 40", -40, "hi\n")
    assert good.state == "passed"


@pytest.mark.guards(
    "An error that nobody foresaw ends the one check that met it, errored and with the reason; the others run.",
    against="One check that cannot be told of keeps all others of its pull from ever running.",
    breaks=("forge-lets-one-check-stop-all",),
)
async def test_an_error_that_nobody_foresaw_ends_one_check_alone(forge: Forge) -> None:
    with faults.armed(STARTED, faults.raising(ValueError("nobody foresaw this"))):
        async with checked(forge, "echo first", "echo second") as pull:
            bad, good = pull.head_checks
            assert left(forge) == []
    assert (bad.state, bad.step, bad.tail) == ("errored", "could not be run", "ValueError: nobody foresaw this")
    assert (good.state, good.tail) == ("passed", "second\n")


@pytest.mark.guards(
    "An error that nobody foresaw before any check could begin is told of each of them.",
    against="Checks that stay queued for ever, and a pull that waits for them.",
    breaks=("forge-forgets-checks-that-fell",),
)
async def test_an_error_that_nobody_foresaw_before_the_checks_is_told_of_each(forge: Forge) -> None:
    with faults.armed("forge.checkout-claimed", faults.raising(ValueError("no such luck"))):
        async with checked(forge, "true", "echo second") as pull:
            assert {check.state for check in pull.head_checks} == {"errored"}
            assert {check.tail for check in pull.head_checks} == {"ValueError: no such luck"}


@pytest.mark.guards(
    "Checks that nobody runs any more, since what ran them was given up, are errored with the reason.",
    against="A pull waits for ever for checks that nobody runs.",
    breaks=("forge-buries-checks-in-silence",),
)
async def test_checks_that_were_given_up_are_errored(forge: Forge) -> None:
    async with checked(forge, "true", "false"):
        pass
    await forge.ask(asking.rerun)
    assert {check.state for check in (await forge.pull()).head_checks} == {"queued"}
    buried = CHECK.buried
    assert buried is not None
    row = Buried(1, "web.1", Checking("web.1"), "too many starts", "it died")
    await forge.store.unit(ACT, lambda unit: buried(unit, row))
    told = (await forge.pull()).head_checks
    assert {(check.state, check.step) for check in told} == {("errored", "could not be run")}
    assert {check.tail for check in told} == {"It was given up (too many starts): it died"}


@pytest.mark.guards(
    "A check that hangs is ended when its time is over, with all that it has started, and has failed.",
    against="One check that waits for ever keeps its pull, and the place of all others, for ever.",
    breaks=("forge-checks-have-no-end",),
)
async def test_a_check_that_hangs_is_ended_and_has_failed(forge: Forge) -> None:
    command = "trap '' TERM; echo waiting; sleep 600 & wait; sleep 600"
    async with checked(forge, command, settings={"check_seconds": 1}) as pull:
        check = check_of(pull)
        assert (check.state, check.step, check.tail) == ("failed", "ran out of time after 1 s", "waiting\n")
        assert left(forge) == []


@pytest.mark.guards(
    "What a check leaves running is ended with it, also what has left its session and its terminal.",
    against="Daemons of test suites pile up and hold ports, locks and memory.",
    breaks=("forge-checks-leave-daemons",),
)
async def test_what_a_check_leaves_running_is_ended(forge: Forge) -> None:
    command = "setsid sh -c 'trap \"\" TERM; sleep 600' & nohup sleep 600 >/dev/null 2>&1 & (sleep 600 &) ; echo left"
    async with checked(forge, command) as pull:
        assert (check_of(pull).state, check_of(pull).tail) == ("passed", "left\n")
        await forge.quiet()
        assert left(forge) == []
        assert folders(forge) == []


@pytest.mark.guards(
    "Of a log of any size only the end is held, whatever is still to come.",
    against="A check that floods its log fills the memory of the daemon.",
    breaks=("forge-keeps-whole-logs",),
)
def test_only_the_end_of_a_log_is_held() -> None:
    heard = _Heard()
    for number in range(100):
        heard.take(b"%06d\n" % number * 50_000)
        assert len(heard.kept) < 2_000_000
    assert heard.total == 35_000_000
    assert set(heard.text().splitlines()) == {"000099"}


@pytest.mark.guards(
    "Of a log of any size the end is kept, as text and without secrets.",
    against="A token in a log is shown to everybody; or the log drives the terminal of whoever reads it.",
    breaks=("forge-shows-secrets",),
)
async def test_a_log_that_floods_is_kept_at_its_end_and_without_secrets(forge: Forge) -> None:
    flood = "yes 'a line of the flood' | head -c 60000000; printf '\\033[31mred\\033[0m 10%%\\r100%% done\\n'"
    secret = "echo token=hft_" + "s" * 30
    async with checked(forge, f"{flood}; {secret}; exit 1") as pull:
        tail = check_of(pull).tail
        assert len(tail) <= TAIL_BYTES
        assert tail.splitlines()[-2:] == ["100% done", "token=[redacted]"]
        assert tail.splitlines()[0] == "a line of the flood"


def test_a_secret_that_the_cut_would_halve_is_hidden_first() -> None:
    text = "hft_" + "x" * 40 + "\n" + "y" * (TAIL_BYTES - 20)
    assert "xxxx" not in readable(text)


@pytest.mark.guards(
    "A check that fills the disk is ended before it has, its files go, and others go on.",
    against="One check that writes without end stops the store, and with it everything.",
    breaks=("forge-checks-fill-the-disk",),
)
async def test_a_check_that_fills_the_disk_is_ended(forge: Forge) -> None:
    command = "head -c 100000000 /dev/zero > $TMPDIR/big; head -c 100000000 /dev/zero > more; sleep 600"
    async with checked(forge, command, settings={"check_disk_mb": 20, "check_seconds": 10}) as pull:
        assert (check_of(pull).state, check_of(pull).step) == (
            "failed",
            "was ended: it wrote more than 20 MB to the disk",
        )
        await forge.quiet()
        assert folders(forge) == []


@pytest.mark.guards(
    "A check has no more memory than it is given.",
    against="A test that eats memory takes the agents, and the daemon, down with it.",
    breaks=("forge-checks-have-all-memory",),
)
async def test_a_check_that_eats_memory_fails_by_itself(forge: Forge) -> None:
    command = "python3 -c 'x = bytearray(1_000_000_000)' 2>/dev/null && echo had it"
    async with checked(forge, command, settings={"check_memory_mb": 300}) as pull:
        assert check_of(pull).state == "failed"
        assert check_of(pull).tail == ""


@pytest.mark.guards(
    "A check that could not be run is errored, which says nothing about the code, and is tried again.",
    against="A full disk or a missing folder is told to the agent as a failure of its work.",
    breaks=("forge-takes-its-own-failure-for-the-checks",),
)
async def test_a_check_that_cannot_be_run_is_errored_and_tried_again(forge: Forge) -> None:
    (forge.data / "checks").mkdir(parents=True)
    (forge.data / "checks" / "web.1").write_text("in the way")
    async with checked(forge, "true") as pull:
        check = check_of(pull)
        assert (check.state, check.step) == ("errored", "could not be run")
        assert "web.1" in check.tail
        await forge.owes(lambda rows: [(row["kind"], row["state"]) for row in rows] == [("fleet.check", "pending")])
        (forge.data / "checks" / "web.1").unlink()
        await forge.ask(asking.rerun)
        again = await forge.until(lambda pull: check_of(pull).state == "passed")
        assert check_of(again).runs == 2


# --- where it runs -----------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A check runs in a clean checkout of the pull's very commit, in a repository of its own: whatever it does with git "
    "or with files, nothing of the person's changes.",
    against="A check sees files that were never committed, or moves branches, settings and stashes of the person's.",
    breaks=("forge-checks-in-the-persons-repository",),
)
async def test_a_check_sees_the_commit_alone_and_can_change_nothing_of_the_persons(forge: Forge) -> None:
    look = "git status --porcelain --ignored; git log -1 --format=%s; ls"
    harm = (
        "git checkout -q -B main; git branch -f holdfast/web-1 HEAD; git config user.name Nobody; "
        "echo x > readme.md; git stash -q; git tag hurt; git gc -q --prune=now; git update-ref -d refs/heads/main"
    )
    await forge.project(look, harm)
    session = await forge.session()
    tree = forge.tree(session)
    commit(tree, "work", work="1\n")
    (tree / "untracked").write_text("never committed")
    (tree / "readme.md").write_text("changed, never committed")
    (forge.repo / "mine").write_text("mine")
    config = (forge.repo / ".git" / "config").read_bytes()
    refs = git(forge.repo, "for-each-ref")
    async with forge.up():
        await forge.says(session, "done")
        pull = await forge.until(over)
        await forge.quiet()
    seen = check_of(pull, look)
    assert seen.state == "passed"
    assert seen.tail.split() == ["work", "link", "readme.md", "run.sh", "src", "work"]
    assert (forge.repo / ".git" / "config").read_bytes() == config
    assert git(forge.repo, "for-each-ref") == refs
    assert git(forge.repo, "status", "--porcelain") == "?? mine"
    assert git(tree, "status", "--porcelain").split() == ["M", "readme.md", "??", "untracked"]
    assert len(git(forge.repo, "worktree", "list").splitlines()) == 2
    git(forge.repo, "fsck", "--strict")


async def test_a_check_knows_what_it_checks_and_none_of_our_secrets(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_TOKEN", "hft_secretsecretsecretsecret")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("MINE", "of the person")
    monkeypatch.delenv("GIT_DIR")
    async with checked(forge, "env | grep -E '^(HOLDFAST|CI|MINE|GIT)' | sort") as pull:
        said = dict(line.split("=", 1) for line in check_of(pull).tail.splitlines())
        assert said.pop("HOLDFAST_STORE") == forge.store.uuid
        assert said.pop("HOLDFAST_CHECK")
        assert said == {
            "CI": "true",
            "MINE": "of the person",
            "HOLDFAST_HEAD": pull.head,
            "HOLDFAST_BASE": pull.base_commit,
            "HOLDFAST_PULL": "web.1",
        }


async def test_checks_in_order_share_a_checkout_and_all_are_run(forge: Forge) -> None:
    async with checked(forge, "echo built > made; exit 1", "cat made") as pull:
        assert [(check.state, check.tail) for check in pull.head_checks] == [("failed", ""), ("passed", "built\n")]


async def test_checks_at_once_run_beside_each_other_each_by_itself(forge: Forge, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    os.mkfifo(one)
    os.mkfifo(two)
    first = f"echo 1 > {one}; read line < {two}; test ! -e made"
    second = f"touch made; read line < {one}; echo 2 > {two}"
    async with checked(forge, first, second, checks_how="at_once") as pull:
        assert [check.state for check in pull.head_checks] == ["passed", "passed"]


async def test_the_projects_set_up_comes_first_and_its_failure_is_told_as_one(forge: Forge) -> None:
    setup = json.dumps(["echo ready > made", "test -f work1 || exit 9"])
    async with checked(forge, "cat made", setup=setup) as pull:
        assert check_of(pull).tail == "ready\n"
        commit(forge.tree("web-1"), "broken", work1="x")
        git(forge.tree("web-1"), "rm", "-q", "work1")
        head = commit(forge.tree("web-1"), "without it", other="1")
        check = check_of(await forge.until(lambda pull: pull.head == head and over(pull)))
        assert check.state == "failed"
        assert check.step.startswith("the set-up command 'test -f work1")


# --- again -------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A new commit ends the run of the one before, and is checked.",
    against="An agent that pushes ten times waits for ten runs; a result is shown of a commit that is past.",
    breaks=("forge-checks-what-is-past",),
)
async def test_a_new_commit_ends_the_run_of_the_one_before(forge: Forge, tmp_path: Path) -> None:
    await forge.project("test -f quick || sleep 600")
    session = await forge.session()
    tree = forge.tree(session)
    first = commit(tree, "slow", work="1\n")
    async with forge.up():
        await forge.says(session, "done")
        await forge.until(lambda pull: [check.state for check in pull.head_checks] == ["running"])
        second = commit(tree, "quick", quick="1\n")
        pull = await forge.until(lambda pull: pull.head == second and over(pull))
        states = {check.commit: check.state for check in pull.checks}
        assert states == {first: "errored", second: "passed"}
        await forge.quiet()
        assert left(forge) == []


@pytest.mark.guards(
    "A base that moves during a check lets it go on, and then the pull is checked against the new base.",
    against="What was checked against an old base counts for the new one; or a base that never rests starves it.",
    breaks=("forge-forgets-that-the-base-moved",),
)
async def test_a_base_that_moves_during_a_check_is_checked_afterwards(forge: Forge, tmp_path: Path) -> None:
    gate, bases = tmp_path / "gate", tmp_path / "bases"
    os.mkfifo(gate)
    await forge.project(f"echo $HOLDFAST_BASE >> {bases}; read line < {gate}")
    session = await forge.session()
    commit(forge.tree(session), "work", work="1\n")
    old = git(forge.repo, "rev-parse", "main")
    async with forge.up():
        await forge.says(session, "done")
        await forge.until(lambda pull: [check.state for check in pull.head_checks] == ["running"])
        new = commit(forge.repo, "meanwhile", other="1\n")
        pull = await forge.until(lambda pull: pull.base_commit == new)
        assert [(check.state, check.base_commit) for check in pull.head_checks] == [("running", old)]
        gate.write_text("go\n")
        pull = await forge.until(lambda pull: check_of(pull).base_commit == new and check_of(pull).state == "running")
        gate.write_text("go\n")
        pull = await forge.until(over)
        assert (check_of(pull).state, check_of(pull).runs) == ("passed", 2)
        assert bases.read_text().split() == [old, new]


async def test_checks_that_were_added_or_taken_away_are_seen_when_they_are_run_again(forge: Forge) -> None:
    async with checked(forge, "exit 1") as pull:
        assert check_of(pull).state == "failed"
        await forge.store.unit(ACT, lambda unit: unit.run(SET_CHECKS, id="web", checks='["true"]'))
        await forge.ask(asking.rerun)
        again = await forge.until(lambda pull: pull.expected == ("true",) and over(pull))
        assert {check.name: check.state for check in again.head_checks} == {"exit 1": "skipped", "true": "passed"}


@pytest.mark.guards(
    "A daemon that is stopped ends the checks that run, soon, and the next one runs them again.",
    against="A stop waits for a check of half an hour, or leaves it running without anybody who would hear of it.",
    breaks=("forge-stops-and-lets-checks-run",),
)
async def test_a_stop_ends_the_checks_and_the_next_daemon_runs_them_again(forge: Forge, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    await forge.project(f"test -f {ran} || {{ touch {ran}; sleep 600; }}")
    session = await forge.session()
    commit(forge.tree(session), "work", work="1\n")
    begun = threading.Event()
    async with forge.up():
        with faults.armed(STARTED, begun.set):
            await forge.says(session, "done")
            await forge.until(lambda pull: ran.exists() and begun.is_set() and check_of(pull).state == "running")
    assert left(forge) == []
    async with forge.up():
        pull = await forge.until(over)
        assert (check_of(pull).state, check_of(pull).runs) == ("passed", 2)
        await forge.quiet()
