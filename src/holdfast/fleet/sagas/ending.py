"""The sagas of an end: `kill`, which ends an agent and proves it, and `cleanup`, which keeps its work and tidies up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.core import faults
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry, Wait
from holdfast.fleet import processes
from holdfast.fleet.errands import GRACE_SECONDS
from holdfast.fleet.runtimes.port import RuntimeFailed
from holdfast.fleet.sagas import failing
from holdfast.fleet.sagas.hand import Hand, take
from holdfast.fleet.sagas.kinds import Cleaning, Ending
from holdfast.fleet.sagas.undoing import end_token, remove_workspace
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Killed
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.sessions.transitions import TERMINAL

if TYPE_CHECKING:
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Row, Unit
    from holdfast.fleet.fleet import Fleet

PROCESSES_ENDED = faults.point("kill.processes-ended", "the agent's processes are gone, its place is not yet")
PLACE_FORGOTTEN = faults.point("kill.place-forgotten", "nothing of the agent is left, no row says so yet")

#: An end that cannot be brought about yet is tried again for as long as it takes; its row says why.
_AGAIN_SECONDS = 3.0
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
                await self._interrupt(ending)
            return begun
        session, project, launches = begun
        hand = Hand(job, "kill", ending.session, ending.launch)
        try:
            unfinished = [each for each in launches if _meant(ending, each)]
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
            await fleet.errands.drain(session["id"])
            # Of one that never lived, or was cleaned up and was to come back, no worktree is to stay.
            if session["workspace"] is None or not any(launch["alive_at"] for launch in launches):
                doubt = await remove_workspace(fleet, hand, session, project)
                if doubt is not None:
                    return Retry(why=f"its worktree stays: {doubt}", then=hand.let_go)
        except RuntimeFailed as error:
            return Wait(error.message, _AGAIN_SECONDS, then=hand.let_go)

        def end(unit: Unit) -> None:
            self._over(unit, hand, ending, unfinished)

        return Done(then=end)

    def _over(self, unit: Unit, hand: Hand, ending: Ending, unfinished: list[Row]) -> None:
        row = unit.one(SQL.by_id, id=ending.session)
        for launch in unfinished:
            failing.end_launch(unit, ending.session, launch["number"], ending.why)
        evidence: Mapping[str, Any] = {"why": ending.why, "launches": [each["number"] for each in unfinished]}
        lives = row is not None and row["state"] not in TERMINAL
        if row is not None and lives and ending.reason is not None and row["launch"] <= ending.launch:
            door.observe(unit, ending.session, Killed(row["launch"], ending.reason, evidence))
            failing.give_place_back(unit, ending.session)
        hand.note(unit, "ended", evidence)
        hand.let_go(unit)

    async def _interrupt(self, ending: Ending) -> None:
        """A launch that nobody wants any more may wait for a set-up command: end that, rather than wait for it too."""
        marks = self._fleet.errands.marks(ending.session, ending.launch)
        # Not as an errand of the session: the one that is under way is the very thing that would be waited for.
        await asyncio.to_thread(processes.end, lambda: processes.owned(None, marks), GRACE_SECONDS)

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
        if session["workspace"] is None:
            return Done(then=hand.let_go)
        for launch in launches:
            if await fleet.errands.end_processes(session, launch=launch["number"], known=launch["handle"]):
                return Retry(why="something of its agent still runs", then=hand.let_go)
        doubt = await remove_workspace(fleet, hand, session, project)
        if doubt is not None:
            why = f"its worktree stays, because its work is not proved to be kept: {doubt}"
            return Retry(why=why, then=hand.let_go)
        await fleet.errands.run(wanted, fleet.recording(wanted).prune, _TIDY_BYTES)
        return Done(then=hand.let_go)


def _meant(ending: Ending, launch: Row) -> bool:
    """Whether a launch is to be ended; never one that was begun after that was asked for."""
    if launch["number"] > ending.launch:
        return False
    return launch["ended_at"] is None or launch["number"] == ending.launch or ending.reason is not None


def _begin(unit: Unit, session: str, saga: str, row_id: int) -> tuple[Row, Row | None, list[Row]] | Outcome:
    row = unit.one(SQL.by_id, id=session)
    if row is None:
        return Cancel("the session is not there any more")
    waiting = take(unit, session, saga, row_id)
    if waiting is not None:
        return waiting
    return row, unit.one(SQL.project, id=row["project"]), unit.all(SQL.launches, session=session)
