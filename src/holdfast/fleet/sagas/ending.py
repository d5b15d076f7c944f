"""The sagas of an end: `kill`, which ends an agent and proves it, and `cleanup`, which keeps its work and tidies up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.core import faults
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry, Wait
from holdfast.fleet.runtimes.port import RuntimeFailed
from holdfast.fleet.sagas import failing
from holdfast.fleet.sagas.hand import Hand, take
from holdfast.fleet.sagas.kinds import Cleaning, Ending
from holdfast.fleet.sagas.undoing import Left, end_token, leave, remove_workspace
from holdfast.fleet.sessions.facts import Killed
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.sessions.transitions import TERMINAL
from holdfast.notify.notices import resolve_about

if TYPE_CHECKING:
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Row, Unit
    from holdfast.fleet.fleet import Fleet

PROCESSES_ENDED = faults.point("kill.processes-ended", "the agent's processes are gone, its place is not yet")
PLACE_FORGOTTEN = faults.point("kill.place-forgotten", "nothing of the agent is left, no row says so yet")

#: An end that cannot be brought about yet is tried again for as long as it takes; its row says why.
_AGAIN_SECONDS = 3.0
#: Tries after which the end of what never lived waits for the removal of its worktree no longer.
_REMOVALS = 3
#: What was looked for, and how: who has left all of it cannot be known for the agent's (`beside` may name it).
_PROVED = "nothing runs that bears the launch's marks, is of its session or group, or descends from such a process"
#: What is kept of the recorded output of a session that was cleaned up.
_TIDY_BYTES = 256 * 1024


class EndingSagas:
    """The handlers of both sagas."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def kill(self, job: Job[Ending]) -> Outcome:
        """Ask the agent's processes to end, make them, prove it; of a launch that never lived, take back everything."""
        ending = job.payload
        fleet = self._fleet
        begun = await job.unit(lambda unit: _begin(unit, ending.session, "kill", job.id))
        if not isinstance(begun, tuple):
            if isinstance(begun, Wait) and ending.reason is not None:
                await self._interrupt(job, ending)
            return begun
        session, project, launches = begun
        hand = Hand(job, "kill", ending.session, ending.launch)
        unfinished = [each for each in launches if _meant(ending, each)]
        left: Left | None = None
        try:
            # A try that was cut off may have left a thread that still makes something.
            if any(launch["alive_at"] is None for launch in launches):
                await self._interrupt(job, ending)
            waits = await self._end_launches(hand, session, unfinished)
            if waits is not None:
                return waits
            await fleet.errands.drain(session["id"])
            beside = await fleet.errands.standing(fleet.paths.workspace(session["project"], session["id"]))
            # Of one that never lived, or was cleaned up and was to come back, no worktree is to stay.
            if session["workspace"] is None or not any(launch["alive_at"] for launch in launches):
                left = await remove_workspace(fleet, hand, session, project)
                if left is not None and job.attempt < _REMOVALS:
                    return Retry(why=f"its worktree stays: {left.why}", then=hand.let_go)
        except RuntimeFailed as error:
            return Wait(error.message, _AGAIN_SECONDS, then=hand.let_go)
        evidence = _evidence(ending, unfinished, beside, left)

        def end(unit: Unit) -> None:
            self._over(unit, hand, ending, unfinished, evidence)
            if left is not None:
                leave(unit, hand, session, left)
            hand.let_go(unit)

        return Done(then=end)

    async def _end_launches(self, hand: Hand, session: Row, unfinished: list[Row]) -> Wait | None:
        """End the processes of each, take back its place and its token; what there is to wait for."""
        fleet = self._fleet
        for launch in unfinished:
            known = launch["handle"]
            stubborn = await fleet.errands.end_processes(session, launch=launch["number"], known=known)
            if stubborn:
                pids = ", ".join(str(each.pid) for each in stubborn)
                return Wait(f"processes that even SIGKILL leaves: {pids}", _AGAIN_SECONDS, then=hand.let_go)
            await PROCESSES_ENDED.passed()
            await fleet.runtime(session["runtime"]).forget(fleet.name(session["id"], launch["number"]))
            await PLACE_FORGOTTEN.passed()
            await end_token(fleet, hand, launch)
        return None

    def _over(self, unit: Unit, hand: Hand, ending: Ending, unfinished: list[Row], evidence: dict[str, Any]) -> None:
        row = unit.one(SQL.by_id, id=ending.session)
        for launch in unfinished:
            failing.end_launch(unit, ending.session, launch["number"], ending.why)
        lives = row is not None and row["state"] not in TERMINAL
        if row is not None and lives and ending.reason is not None and row["launch"] <= ending.launch:
            killed = Killed(row["launch"], ending.reason, {"proved": _PROVED, **evidence})
            failing.conclude(unit, ending.session, killed)
        resolve_about(unit, failing.UNENDED, f"session:{ending.session}")
        hand.note(unit, "ended", evidence)

    async def _interrupt(self, job: Job[Ending], ending: Ending) -> None:
        """What makes a launch that nobody wants any more may wait for a git or a set-up command: end these at once."""
        launches = await job.unit(lambda unit: unit.all(SQL.launches, session=ending.session))
        await self._fleet.errands.interrupt(ending.session, ending.launch, making=_is_newest(ending, launches))

    async def cleanup(self, job: Job[Cleaning]) -> Outcome:
        """Keep the work of an ended session under a ref, commit its row, then remove the worktree."""
        fleet, wanted = self._fleet, job.payload.session
        begun = await job.unit(lambda unit: _begin(unit, wanted, "cleanup", job.id))
        if not isinstance(begun, tuple):
            return begun
        session, project, launches = begun
        hand = Hand(job, "cleanup", wanted, session["launch"])
        if session["state"] not in TERMINAL:
            return Cancel("the session lives", then=hand.let_go)
        for launch in launches:
            if await fleet.errands.end_processes(session, launch=launch["number"], known=launch["handle"]):
                return Retry(why="something of its agent still runs", then=hand.let_go)
        left = await remove_workspace(fleet, hand, session, project)
        if left is not None:
            return Retry(why=f"its worktree stays: {left.why}", then=hand.let_go)
        await fleet.errands.put_away(wanted, fleet.recording(wanted).prune, _TIDY_BYTES)
        return Done(then=hand.let_go)


def _meant(ending: Ending, launch: Row) -> bool:
    """Whether a launch is to be ended; never one that was begun after that was asked for."""
    if launch["number"] > ending.launch:
        return False
    return launch["ended_at"] is None or launch["number"] == ending.launch or ending.reason is not None


def _evidence(
    ending: Ending, unfinished: list[Row], beside: list[tuple[int, str]], left: Left | None
) -> dict[str, Any]:
    """What the kill has found, for the row and the steps."""
    found: dict[str, Any] = {"why": ending.why, "launches": [each["number"] for each in unfinished]}
    if beside:
        found |= {"beside": [{"pid": pid, "name": name} for pid, name in beside]}
    if left is not None:
        found |= {"worktree": left.path, "stays": left.why}
    return found


def _is_newest(ending: Ending, launches: list[Row]) -> bool:
    """Whether what is being made of the session is of the launch that is to end, not of a later one."""
    return all(launch["number"] <= ending.launch for launch in launches)


def _begin(unit: Unit, session: str, saga: str, row_id: int) -> tuple[Row, Row | None, list[Row]] | Outcome:
    row = unit.one(SQL.by_id, id=session)
    if row is None:
        return Cancel("the session is not there any more")
    waiting = take(unit, session, saga, row_id)
    if waiting is not None:
        return waiting
    return row, unit.one(SQL.project, id=row["project"]), unit.all(SQL.launches, session=session)
