"""What becomes of sessions whose sagas were given up, that were lost, or that wait on another host; on both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core.propagation import claims, redrive
from holdfast.core.propagation.kinds import Buried
from holdfast.core.propagation.outcome import Wait
from holdfast.core.propagation.verdict import Counts, after_try
from holdfast.core.store.sql import query
from holdfast.fleet import projects
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.processes import Identity
from holdfast.fleet.runtimes.port import Handle
from holdfast.fleet.sagas import failing
from holdfast.fleet.sagas.kinds import KILL, KINDS, Ending, Launching
from holdfast.fleet.sessions import admission, creation, door, endings, losses, views
from holdfast.fleet.sessions.admission import Caps
from holdfast.fleet.sessions.facts import Failed, Probe, Reading
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.watch import incidents
from messaging import ACT, NOTICES, PACKS, PROJECT, begin_launch, is_alive

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.store.port import Reader, Row, Store, Unit
    from manual_clock import ManualClock

HERE, THERE = Caps(2, "here", 1 << 20), Caps(2, "there", 1 << 20)
ENDING = Ending("app-1", 1, "manually_killed", "asked for by token:test")
HANDLE = Handle("tmux", "terminal-1", Identity("boot", 1, 1), Identity("boot", 1, 1))
SETTLED = query("set_workspace", sqlite="UPDATE sessions SET workspace = :path WHERE id = :id")


@pytest.fixture
async def store(make_store: StoreMaker, clock: ManualClock) -> Store:
    return await make_store(packs=PACKS, clock=clock)


def add_project(unit: Unit, most: int = 50) -> None:
    empty = dict.fromkeys(("checks", "setup", "copy", "link"), "[]")
    unit.run(
        projects.SQL.add, id=PROJECT, path="/nowhere", agent="scripted", forge="local", max_sessions=most,
        created_at=unit.at, base=None, options="{}", checks_how="in_order", merge_by="person", merge_how="merge",
        reactions="{}", **empty,
    )  # fmt: skip


def spawn(unit: Unit, caps: Caps) -> str:
    order = creation.Order(project=PROJECT, prompt="say hello")
    prepared = creation.Prepared(
        order=order, repository="/nowhere", agent="scripted", speaks="hooks", options={}, runtime="tmux",
        host=caps.host, base="main", base_commit="0" * 40,
    )  # fmt: skip
    return str(creation.create(unit, prepared, caps)["id"])


def lives(unit: Unit, session: str, launch: int = 1) -> None:
    begin_launch(unit, session, launch)
    is_alive(unit, HANDLE, session, launch)
    unit.run(SETTLED, id=session, path=f"/workspaces/{session}")


def is_lost(unit: Unit, session: str, launch: int = 1) -> None:
    gone = {"runtime": Reading("dead"), "pane": Reading("missing"), "process": Reading("missing")}
    door.observe(unit, session, Probe(launch, unit.at, 10_000, gone, rebooted=True))


def row_of(reader: Reader, session: str = "app-1") -> Row:
    found = reader.one(SQL.by_id, id=session)
    assert found is not None
    return found


def prompts(reader: Reader, session: str) -> list[tuple[str, str | None]]:
    return [(row["state"], row["reason"]) for row in messages.page(reader, session, 0, 10)]


# --- sagas that were given up --------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A kill that is given up leaves a session that lives to the looks again, and people are told.",
    against="After a kill has died the session stays as it was for ever: no look, no signal and no death counts.",
    breaks=("fleet-dead-kills-leave-the-dead-alive",),
)
async def test_a_kill_that_died_leaves_the_session_to_the_looks_again(store: Store) -> None:
    def asked(unit: Unit) -> None:
        add_project(unit)
        lives(unit, spawn(unit, HERE))
        endings.ask_kill(unit, "app-1", "token:test")

    await store.unit(ACT, asked)
    assert (await store.read(row_of))["kill_asked_at"] is not None
    died = Buried(7, "app-1", ENDING, "max_attempts", "the disk is broken")
    await store.unit(ACT, lambda unit: failing.end_died(unit, died))
    row = await store.read(row_of)
    assert (row["state"], row["kill_asked_at"], row["alive_since"] is not None) == ("not_started", None, True)
    (notice,) = await store.read(lambda reader: reader.all(NOTICES))
    assert (notice["kind"], "the disk is broken" in notice["text"]) == ("kill-failed", True)
    await store.unit(ACT, lambda unit: is_lost(unit, "app-1"))
    row = await store.read(row_of)
    assert (row["state"], row["reason"]) == ("terminated", "runtime_lost")


@pytest.mark.guards(
    "A kill that is given up ends what had never lived, with the error as evidence, and gives its place back.",
    against="A half-made session whose kill has died is shown as spawning for ever, and holds a place.",
    breaks=("fleet-dead-kills-leave-the-half-made",),
)
async def test_a_kill_that_died_ends_what_never_lived(store: Store) -> None:
    def asked(unit: Unit) -> None:
        add_project(unit)
        begin_launch(unit, spawn(unit, HERE))
        endings.ask_kill(unit, "app-1", "token:test")
        failing.end_died(unit, Buried(7, "app-1", ENDING, "max_attempts", "the disk is broken"))

    await store.unit(ACT, asked)
    row = await store.read(row_of)
    assert (row["state"], row["reason"], row["admitted_at"]) == ("terminated", "error_in_process", None)
    evidence = (await store.read(lambda reader: views.session(reader, "app-1", row["state_at"])))["evidence"]
    assert (evidence["step"], evidence["error"]) == ("kill", "the disk is broken")
    owed = await store.read(lambda reader: reader.all(SQL.owed, session="app-1"))
    assert "fleet.cleanup" in {each["kind"] for each in owed}  # whatever was half made


@pytest.mark.guards(
    "What a person takes back of a session's sagas leaves it truthful: what never lived has failed, what lives lives.",
    against="A cancelled spawn is shown as spawning for ever, or a cancelled kill leaves a session that nobody judges.",
    breaks=("fleet-cancels-say-nothing",),
)
async def test_sagas_that_a_person_takes_back_leave_the_session_truthful(store: Store) -> None:
    kinds = {kind.name: kind for kind in KINDS}

    def spawned(unit: Unit) -> int:
        add_project(unit)
        spawn(unit, HERE)
        lives(unit, spawn(unit, HERE))
        endings.ask_kill(unit, "app-2", "token:test")
        for each in [*unit.all(SQL.owed, session="app-1"), *unit.all(SQL.owed, session="app-2")]:
            redrive.cancel(unit, kinds, each["id"])
        return len(unit.all(NOTICES))

    assert await store.unit(ACT, spawned) == 0
    first, second = await store.read(lambda reader: (row_of(reader), row_of(reader, "app-2")))
    assert (first["state"], first["reason"], first["admitted_at"]) == ("terminated", "error_in_process", None)
    assert (second["alive_since"] is not None, second["kill_asked_at"]) == (True, None)


async def test_a_dead_restore_that_is_taken_away_leaves_a_later_one_alone(store: Store) -> None:
    def again(unit: Unit) -> None:
        add_project(unit)
        lives(unit, spawn(unit, HERE))
        is_lost(unit, "app-1")
        endings.ask_restore(unit, "app-1", HERE)
        failing.launch_died(unit, Buried(99, "app-1", Launching("app-1", 2), "by_hand", "long ago"))

    await store.unit(ACT, again)
    row = await store.read(row_of)
    assert (row["wanted"], row["admitted_at"] is not None) == ("restore", True)


@pytest.mark.guards(
    "A spawn that dies after its agent has come to life leaves that alone.",
    against="A daemon that died three times just after it had started an agent ends that agent.",
    breaks=("fleet-dead-spawns-end-what-lives",),
)
async def test_a_spawn_that_died_leaves_what_came_to_life_alone(store: Store) -> None:
    def died(unit: Unit) -> int:
        add_project(unit)
        lives(unit, spawn(unit, HERE))
        (owed,) = unit.all(SQL.owed, session="app-1")
        failing.launch_died(unit, Buried(owed["id"], "app-1", Launching("app-1", 1), "max_starts", None))
        return len(unit.all(query("kills", sqlite="SELECT id FROM propagations WHERE kind = 'fleet.kill'")))

    assert await store.unit(ACT, died) == 0
    row, launch = await store.read(lambda reader: (row_of(reader), reader.one(SQL.launch, session="app-1", number=1)))
    assert (row["state"], row["alive_since"] is not None) == ("not_started", True)
    assert launch is not None
    assert launch["ended_at"] is None


@pytest.mark.guards(
    "What was to be said to a session that was never started ends with it.",
    against="The prompt of a session whose spawn failed waits for a restore that is always refused.",
    breaks=("fleet-prompts-wait-for-nothing",),
)
@pytest.mark.parametrize("how", ["failed", "buried", "called off"])
async def test_the_prompt_of_what_never_started_ends_with_it(store: Store, how: str) -> None:
    def end(unit: Unit) -> None:
        add_project(unit, most=1)
        first, second = spawn(unit, HERE), spawn(unit, HERE)
        match how:
            case "failed":
                failing.conclude(unit, first, Failed(1, "setup", "status 3"))
            case "buried":
                (owed,) = unit.all(SQL.owed, session=first)
                failing.launch_died(unit, Buried(owed["id"], first, Launching(first, 1), "max_attempts", "status 3"))
            case _:
                endings.ask_kill(unit, second, "token:test")

    await store.unit(ACT, end)
    over, other = ("app-2", "app-1") if how == "called off" else ("app-1", "app-2")
    ((state, why),) = await store.read(lambda reader: prompts(reader, over))
    assert (state, "ever started" in str(why)) == ("failed", True)
    assert [state for state, _ in await store.read(lambda reader: prompts(reader, other))] == ["queued"]


@pytest.mark.guards(
    "A kill that waits says for what, where people ask why a session is as it is.",
    against="A session whose end hangs is explained as if nobody had asked for that, or nothing stood in its way.",
    breaks=("fleet-explains-nothing-owed",),
)
async def test_an_explanation_says_what_is_owed_and_what_keeps_it(store: Store, clock: ManualClock) -> None:
    def asked(unit: Unit) -> None:
        add_project(unit, most=1)
        lives(unit, spawn(unit, HERE))
        spawn(unit, HERE)
        endings.ask_kill(unit, "app-1", "token:test")

    await store.unit(ACT, asked)
    (row,) = await store.unit(ACT, lambda unit: claims.claim(unit, KILL, "run.1", 1))
    at = clock.stamp()
    verdict = after_try(KILL, Counts(0, 1), Wait("processes that even SIGKILL leaves: 77", 3.0), at, 0.0)
    await store.unit(ACT, lambda unit: claims.settle_one(unit, row, verdict, None))
    lines = "\n".join((await store.read(lambda reader: views.explain(reader, "app-1", at, HERE)))["lines"])
    assert "kill is owed, processes that even SIGKILL leaves: 77" in lines
    assert "its end was asked for" in lines
    lines = "\n".join((await store.read(lambda reader: views.explain(reader, "app-2", at, HERE)))["lines"])
    assert "spawn waits as number 1, project 'app' runs 1 of its 1 sessions" in lines


# --- hosts ---------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "A host lets in its own sessions, counts its own against its cap, and restores what was lost with itself.",
    against="A daemon starts, counts, or restores the sessions of another machine, whose memory it does not know.",
    breaks=("fleet-lets-in-for-other-hosts", "fleet-restores-other-hosts"),
)
async def test_hosts_let_in_and_restore_their_own_sessions(store: Store) -> None:
    def crowd(unit: Unit) -> list[str]:
        add_project(unit)
        return [spawn(unit, caps) for caps in (THERE, THERE, THERE, HERE, HERE, HERE)]

    ids = await store.unit(ACT, crowd)
    rows = {row["id"]: row for row in await store.read(lambda reader: [row_of(reader, each) for each in ids])}
    assert [each for each in ids if rows[each]["admitted_at"] is None] == [ids[2], ids[5]]
    reasons = await store.read(lambda reader: admission.reasons(reader, HERE))
    assert reasons == {ids[2]: (1, "the host 'there' is to let it in"), ids[5]: (1, "2 of 2 sessions run")}

    def free(unit: Unit) -> list[str]:
        for each in (ids[0], ids[3]):
            lives(unit, each)
            is_lost(unit, each)
        return admission.admit(unit, HERE)

    assert await store.unit(ACT, free) == [ids[5]]
    assert await store.unit(ACT, lambda unit: endings.ask_restore_all(unit, HERE)) == [ids[3]]
    assert (await store.read(lambda reader: row_of(reader, ids[0])))["wanted"] is None


async def test_what_was_lost_with_a_project_that_is_gone_is_not_restored(store: Store) -> None:
    def lose(unit: Unit) -> list[str]:
        add_project(unit)
        session = spawn(unit, HERE)
        lives(unit, session)
        is_lost(unit, session)
        unit.run(projects.SQL.remove, id=PROJECT)
        return endings.ask_restore_all(unit, HERE)

    assert await store.unit(ACT, lose) == []


@pytest.mark.guards(
    "A project is kept while a session of it waits to be restored, also one that was cleaned up.",
    against="A project is removed under a restore that is queued, which then waits for ever or fails.",
    breaks=("projects-forget-queued-restores",),
)
async def test_a_restore_that_waits_keeps_its_project(store: Store) -> None:
    def wait(unit: Unit) -> tuple[list[Row], list[Row]]:
        add_project(unit, most=1)
        session = spawn(unit, HERE)
        lives(unit, session)
        is_lost(unit, session)
        unit.run(SQL.settle_workspace, id=session, workspace=None)
        before = unit.all(projects.SQL.in_use, project=PROJECT, limit=5)
        endings.ask_restore(unit, session, Caps(0, "here", 0))
        return before, unit.all(projects.SQL.in_use, project=PROJECT, limit=5)

    before, after = await store.unit(ACT, wait)
    assert (before, [row["id"] for row in after]) == ([], ["app-1"])


# --- reboots -------------------------------------------------------------------------------------------------------


@pytest.mark.guards(
    "What is told of a reboot is over when each of its sessions was restored or cleaned up, and not before.",
    against="The notice of a reboot stays for ever, or goes while sessions still wait to be brought back.",
    breaks=("fleet-tells-of-reboots-for-ever", "fleet-forgets-who-waits-after-a-reboot"),
)
async def test_a_reboot_is_told_of_until_none_of_its_sessions_waits(store: Store, clock: ManualClock) -> None:
    def reboot(unit: Unit) -> None:
        add_project(unit)
        ids = [spawn(unit, HERE), spawn(unit, HERE)]
        for each in ids:
            lives(unit, each)
        incidents.begin(unit, "here", "machine", "reboot", "another boot id", 2)
        for each in ids:
            is_lost(unit, each)
        told = unit.one(SQL.open_incident, host="here", runtime="machine", cause="reboot")
        assert told is not None
        unit.run(SQL.end_incident, id=told["id"], at=unit.at)

    async def resolved(act: Any) -> bool:
        clock.advance(60)
        await store.unit(ACT, act)
        await store.unit(ACT, lambda unit: losses.settle(unit, "here"))
        (notice,) = await store.read(lambda reader: reader.all(NOTICES))
        return notice["resolved_at"] is not None

    assert not await resolved(reboot)
    assert not await resolved(lambda unit: lives(unit, "app-1", 2))
    assert not await resolved(lambda unit: losses.settle(unit, "there"))
    assert await resolved(lambda unit: unit.run(SQL.settle_workspace, id="app-2", workspace=None))
