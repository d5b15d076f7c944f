"""The sagas that start an agent: `spawn`, for the first time, and `restore`, after an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from holdfast.core import ids, logs
from holdfast.core.errors import HoldfastError, LeaseLost, StoreError
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry
from holdfast.fleet.sagas import failing
from holdfast.fleet.sagas.hand import Hand, UnwantedError, let_go, take
from holdfast.fleet.sagas.kinds import Launching
from holdfast.fleet.sagas.launching import Launch, Subject
from holdfast.fleet.sagas.undoing import Left, leave, undo
from holdfast.fleet.sessions.facts import Failed
from holdfast.fleet.sessions.rows import SQL

if TYPE_CHECKING:
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Row, Unit
    from holdfast.fleet.fleet import Fleet

Purpose = Literal["spawn", "restore"]
_log = logs.get("fleet")


class Starting:
    """The handlers of both sagas."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def spawn(self, job: Job[Launching]) -> Outcome:
        """Make the worktree and start the agent; a failure leaves a session that says why, and nothing else."""
        return await self._start(job, "spawn")

    async def restore(self, job: Job[Launching]) -> Outcome:
        """Start the agent of an ended session again; a failure leaves the session as it was."""
        return await self._start(job, "restore")

    async def _start(self, job: Job[Launching], purpose: Purpose) -> Outcome:
        asked = job.payload
        fresh = ids.new_uuid()
        begun = await job.unit(lambda unit: begin(unit, asked, purpose, job.id, fresh))
        if not isinstance(begun, Subject):
            return begun
        hand = Hand(job, purpose, asked.session, asked.launch)
        launch = Launch(self._fleet, hand, begun)
        try:
            await launch.to_life()
        except UnwantedError:
            return Cancel("its end was asked for", then=hand.let_go)
        except (StoreError, LeaseLost):
            raise  # the store, not the launch: tried again, and nothing is undone
        except HoldfastError as error:
            _log.warning(
                "launch failed", session=asked.session, launch=asked.launch, step=launch.step, why=error.message
            )
            if error.retryable:
                return Retry(why=f"{launch.step}: {error.message}", then=hand.let_go)
            return await self._give_up(hand, launch.subject, launch.step, error.message)
        return Done()

    async def _give_up(self, hand: Hand, subject: Subject, step: str, why: str) -> Outcome:
        """Nothing of the launch stays; then the session says so."""
        await hand.step("failed", {"step": step, "error": why}, lambda _unit: None, wanted=False)
        undone = await undo(self._fleet, hand, subject.session, subject.launch, subject.project)
        if undone is not None and not isinstance(undone, Left):
            return undone
        stays = {} if undone is None else {"worktree": undone.path, "stays": undone.why}

        def end(unit: Unit) -> None:
            failing.end_launch(unit, subject.id, subject.number, f"{step}: {why}")
            if subject.launch["purpose"] == "spawn":
                failing.conclude(unit, subject.id, Failed(subject.number, step, why, stays))
            failing.give_place_back(unit, subject.id)
            if undone is not None:
                leave(unit, hand, subject.session, undone)
            hand.let_go(unit)

        return Done(then=end)


def begin(unit: Unit, asked: Launching, purpose: Purpose, row_id: int, fresh: str) -> Subject | Outcome:
    """Take the session in hand for its launch, unless there is nothing to do or somebody else has it."""
    session = unit.one(SQL.by_id, id=asked.session)
    if session is None:
        return Cancel("the session is not there any more")
    if session["launch"] >= asked.launch:
        return Done()  # it lives, or has lived; an earlier try came as far as that
    if session["kill_asked_at"] is not None:
        return Cancel("its end was asked for", then=lambda unit: let_go(unit, asked.session, row_id))
    if session["wanted"] != purpose:  # called off between its claim and now
        return Cancel("nobody waits for it any more", then=lambda unit: let_go(unit, asked.session, row_id))
    project = unit.one(SQL.project, id=session["project"])
    if project is None:
        return Cancel("its project was removed", then=lambda unit: _abandon(unit, asked, purpose, row_id))
    return take(unit, asked.session, purpose, row_id) or _subject(unit, asked, purpose, fresh, session, project)


def _abandon(unit: Unit, asked: Launching, purpose: Purpose, row_id: int) -> None:
    """Nothing can come of it, and its place is somebody else's."""
    failing.end_launch(unit, asked.session, asked.launch, "its project was removed")
    if purpose == "spawn":
        failing.conclude(unit, asked.session, Failed(asked.launch, "checks", "its project was removed"))
    failing.give_place_back(unit, asked.session)
    let_go(unit, asked.session, row_id)


def _subject(unit: Unit, asked: Launching, purpose: Purpose, fresh: str, session: Row, project: Row) -> Subject:
    """Begin the launch, or go on with it."""
    unit.run(
        SQL.begin_launch, session=asked.session, number=asked.launch, purpose=purpose, at=unit.at, conversation=fresh
    )
    launch = unit.one(SQL.launch, session=asked.session, number=asked.launch)
    assert launch is not None
    prompt = unit.one(SQL.prompt_of, session=asked.session)
    again = launch["begun_at"] != unit.at
    if purpose == "spawn":
        return Subject(session, project, launch, prompt, None, again=again)
    kept = unit.one(SQL.kept_of_session, session=asked.session) if session["workspace"] is None else None
    return Subject(session, project, launch, prompt, _interruption(session), kept["ref"] if kept else None, again)


def _interruption(session: Row) -> str:
    """What a resumed agent is told first."""
    return (
        f"You were interrupted: this session had ended ({session['reason'] or session['state']}, "
        f"{session['ended_at'] or session['state_at']}) and goes on now. Processes that you had started are gone. "
        f"The work tree is as you left it, on branch {session['branch']}. Look at what is there (git status), "
        "then go on with what you were doing."
    )
