"""The handlers of effects about pulls: open, look, check, merge. What a forge tells goes through the door of pulls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.core import faults
from holdfast.core.instants import parse_stamp
from holdfast.core.propagation import queue
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry, Wait
from holdfast.fleet.forges import checking, wishes
from holdfast.fleet.forges.kinds import MERGE, Checking, Merging, Pulling
from holdfast.fleet.forges.local.names import named
from holdfast.fleet.forges.port import Merged, NothingToPull, Opening, Refused
from holdfast.fleet.forges.settling import POLICY, SQL, settle
from holdfast.fleet.forges.triggers import REST_SECONDS
from holdfast.fleet.pulls import door, rows
from holdfast.fleet.pulls.facts import FINISHED, Observation, Pull, Sight, greenness
from holdfast.fleet.sessions import rows as sessions
from holdfast.fleet.sessions.facts import Facts
from holdfast.fleet.sessions.transitions import TERMINAL

if TYPE_CHECKING:
    from holdfast.core.propagation.job import Job
    from holdfast.core.store.port import Reader, Row, Unit
    from holdfast.fleet.forges.desk import Desk
    from holdfast.fleet.forges.local.runs import Run

FOUND = faults.point("forge.opening-found", "a branch is worth a pull, and no row says so")
SEEN = faults.point("forge.seen", "a pull was looked at, and no row says what was seen")
RECORDED = faults.point("forge.merge-recorded", "a merge is on record, what was kept for it is still there")

#: While checks run, somebody looks now and then, whatever is told or lost.
_RUN_SECONDS = 30.0
#: A merge by policy that something passing is in the way of is tried again after so many seconds.
_AGAIN_SECONDS = 30.0
_SIGHT = Sight.__struct_fields__


class Subject(msgspec.Struct, frozen=True):
    """A pull with its session and its project, as they are now."""

    pull: Pull
    session: Row
    project: Row | None


class Pulls:
    """The handlers of one process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._store = desk.fleet.means.store
        self._clock = desk.fleet.means.clock

    async def pull(self, job: Job[Pulling]) -> Outcome:
        """Look at one pull; or at a session's branch, which may be worth one."""
        if job.payload.pull is None:
            return await self._open(job)
        return await self._look(job.payload.pull)

    # --- open --------------------------------------------------------------------------------------------------

    async def _open(self, job: Job[Pulling]) -> Outcome:
        session, asked = job.payload.session, job.payload.by

        def work(reader: Reader) -> tuple[Row, Facts, Row | None, tuple[Pull, ...]] | None:
            found = sessions.read(reader, session)
            if found is None:
                return None
            project = reader.one(SQL.project, id=found[0]["project"])
            return *found, project, rows.of_session(reader, session)

        found = await self._store.read(work)
        if found is None or found[2] is None:
            return Cancel("the session, or its project, is not there any more")
        row, facts, project, pulls = found
        assert project is not None
        early = None if asked else self._too_early(row, facts)
        if early is not None:
            return early
        there = next((pull for pull in pulls if pull.state == "open" and pull.branch == row["branch"]), None)
        if there is not None:
            return Done(then=partial(self._again, session=session, pull=there.id))
        opening = await self._desk.forges[project["forge"]].opening(row, project)
        nothing = opening.why if isinstance(opening, NothingToPull) else _pulled(opening, pulls, by_hand=bool(asked))
        if nothing is not None or isinstance(opening, NothingToPull):
            return Cancel(nothing or "", then=lambda unit: settle(unit, session))
        await FOUND.passed()
        return Done(
            then=partial(self._opened, row=row, project=project, opening=opening, by=asked or f"session:{session}")
        )

    def _too_early(self, row: Row, facts: Facts) -> Outcome | None:
        """What there is to wait for where nobody has asked: that its agent is done, or has rested for a while."""
        if facts.done_at is not None or facts.state == "done":
            return None
        if facts.state in TERMINAL or facts.state != "idle":
            return Cancel(f"its session is {facts.state}")
        rested = (self._clock.now() - parse_stamp(row["state_at"])).total_seconds()
        if 0 <= rested < REST_SECONDS:
            return Wait("its agent has not rested for long", REST_SECONDS - rested)
        return None

    def _again(self, unit: Unit, session: str, pull: str) -> None:
        wishes.look(unit, session, pull)
        settle(unit, session)

    def _opened(self, unit: Unit, row: Row, project: Row, opening: Opening, by: str) -> None:
        if unit.one(rows.SQL.open_of_branch, project=row["project"], branch=opening.branch) is not None:
            return
        number = opening.number if opening.number is not None else rows.next_number(unit, row["project"])
        pull = Pull(
            id=f"{row['project']}.{number}",
            project=row["project"],
            number=number,
            forge=project["forge"],
            session=row["id"],
            opened_by=by,
            opened_at=unit.at,
            branch=opening.branch,
            base=opening.base,
            head=opening.head,
            base_commit=opening.base_commit,
            title=opening.title,
            url=opening.url,
            expected=tuple(named(msgspec.json.decode(project["checks"]))),
        )
        door.opened(unit, pull)
        wishes.look(unit, row["id"], pull.id)
        unit.announce(wishes.TOPIC)

    # --- look --------------------------------------------------------------------------------------------------

    async def _subject(self, pull: str) -> Subject | None:
        def work(reader: Reader) -> Subject | None:
            found = rows.read(reader, pull)
            session = sessions.read(reader, found.session) if found is not None else None
            if found is None or session is None:
                return None
            return Subject(found, session[0], reader.one(SQL.project, id=found.project))

        return await self._store.read(work)

    async def _look(self, pull: str) -> Outcome:
        subject = await self._subject(pull)
        if subject is None:
            return Cancel("the pull is not there any more")
        if subject.pull.state != "open":
            return Cancel(f"the pull is {subject.pull.state}")
        forge = self._desk.forges[subject.pull.forge]
        seen = await forge.look(subject.pull, subject.session, subject.project)
        if not seen.fetched:
            return Retry(why="it could not be looked at")
        await SEEN.passed()
        return Done(then=partial(self._seen, seen=seen, runs_checks=forge.runs_checks))

    def _seen(self, unit: Unit, seen: Observation, *, runs_checks: bool) -> None:
        """Take what was seen; what has moved is checked anew, and may be merged after all."""
        before = door.need(unit, seen.pull)
        if before.state != "open":
            return
        queued = checking.queued(before, seen.sight) if runs_checks and seen.sight is not None else ()
        if queued:
            seen = msgspec.structs.replace(seen, checks=(*(seen.checks or ()), *queued))
        after = door.observe(unit, seen).pull
        moved = (after.head, after.base_commit) != (before.head, before.base_commit)
        # What a person was refused stays until they ask again, or until it is about another commit.
        if after.head != before.head or (moved and after.wanted is not None):
            after = door.note(unit, after, refused=None)
        if runs_checks and any(check.state not in FINISHED for check in after.head_checks):
            wishes.check(unit, after.id, anew=after.head != before.head)
        if moved or after.state != before.state:
            unit.announce(wishes.TOPIC)
            queue.resume(unit, MERGE, after.id)
        if after.state != "open":
            wishes.check(unit, after.id, anew=False)  # whatever runs is ended
        settle(unit, after.session)

    # --- check -------------------------------------------------------------------------------------------------

    async def check(self, job: Job[Checking]) -> Outcome:
        """Run the checks of a pull's head, or take what has come of them."""
        runs = self._desk.runs
        subject, run = await self._subject(job.payload.pull), runs.of(job.payload.pull)
        wanted = subject is not None and subject.pull.state == "open" and subject.project is not None
        if run is not None and (not wanted or subject is None or checking.outdated(subject.pull, run.order)):
            await runs.end(run)
        if run is not None:
            return await self._taken(job, run)
        if subject is None or not wanted or not self._desk.forges[subject.pull.forge].runs_checks:
            return Cancel("nobody waits for its checks")
        order = checking.order(subject.pull, subject.session, subject.project)
        if order is None:
            return Done()
        runs.start(order)
        return Wait("its checks run", _RUN_SECONDS)

    async def _taken(self, job: Job[Checking], run: Run) -> Outcome:
        over = run.over  # looked at first: what comes of it until then is taken below
        news = (*run.take(), *(run.fallen() if over else ()))
        if news:
            await job.unit(partial(_record, pull=run.order.pull, news=news))
        if not over:
            return Wait("its checks run", _RUN_SECONDS)
        self._desk.runs.forget(run)
        subject = await self._subject(job.payload.pull)
        if subject is None or subject.pull.state != "open":
            return Done()
        errored = [check for check in subject.pull.head_checks if check.state == "errored"]
        if errored and not run.unwanted.is_set():
            return Retry(why=f"a check {errored[0].step}: {errored[0].tail}"[:500])
        return Wait("what moved meanwhile is checked", 0.0)

    # --- merge -------------------------------------------------------------------------------------------------

    async def merge(self, job: Job[Merging]) -> Outcome:
        """Merge a pull once its checks are over and well; or say why not."""
        merging = job.payload
        subject = await self._subject(merging.pull)
        if subject is None:
            return Cancel("the pull is not there any more")
        pull = subject.pull
        forge = self._desk.forges[pull.forge]
        if pull.state != "merged":
            other = _not_now(pull)
            if other is not None:
                return other
            came_to = await forge.merge(pull, subject.session, merging.how)
            if isinstance(came_to, Refused):
                return _refused(merging, came_to, pull)
            await job.unit(partial(_merged, pull=pull.id, came_to=came_to))
            await RECORDED.passed()
        await forge.merged(pull, subject.session)
        return Done()


def _not_now(pull: Pull) -> Outcome | None:
    """What there is instead of a merge as long as a pull stands so."""
    if pull.state != "open" or pull.wanted is None:
        return Cancel("nobody wants it merged any more")
    green = greenness(pull)
    if green == "pending":
        return Wait("its checks are not over", _RUN_SECONDS)
    if green in {"failed", "errored", "unknown"}:
        return Done(then=lambda unit: wishes.refuse(unit, pull.id, f"Its checks: {green}."))
    return None


def _refused(merging: Merging, refused: Refused, pull: Pull) -> Outcome:
    if refused.unchecked:  # what was checked is not what would land
        return Wait(refused.why, _AGAIN_SECONDS, then=lambda unit: wishes.look(unit, pull.session, pull.id))
    why = refused.why if refused.command is None else f"{refused.why} {refused.command}"
    again = refused.passing and merging.by == POLICY

    def work(unit: Unit) -> None:
        wishes.refuse(unit, pull.id, why, keep=again)
        wishes.look(unit, pull.session, pull.id)

    return Wait(refused.why, _AGAIN_SECONDS, then=work) if again else Done(then=work)


def _pulled(opening: Opening | Any, pulls: Sequence[Pull], *, by_hand: bool) -> str | None:
    """Why a branch is not pulled although it holds something: it was before, as it is now."""
    earlier = next((pull for pull in reversed(pulls) if pull.head == opening.head), None)
    if earlier is None or (by_hand and earlier.state == "closed"):
        return None
    return f"{earlier.id} was of the same commit, and is {earlier.state}"


def _record(unit: Unit, pull: str, news: Sequence[Any]) -> None:
    """Note how checks go; who waits for them is told."""
    before = door.need(unit, pull)
    after = door.observe(unit, Observation(pull=pull, checks=tuple(news))).pull
    moved = checking.queued(after, after)
    if moved:  # the base has moved while they ran: what they say is of before
        after = door.observe(unit, Observation(pull=pull, checks=moved)).pull
    if greenness(after) != greenness(before):
        queue.resume(unit, MERGE, pull)
        settle(unit, after.session)


def _merged(unit: Unit, pull: str, came_to: Merged) -> None:
    before = door.need(unit, pull)
    sight = Sight(
        **({name: getattr(before, name) for name in _SIGHT} | {"state": "merged", "merge_commit": came_to.commit})
    )
    after = door.observe(unit, Observation(pull=pull, sight=sight)).pull
    door.note(unit, after, refused=None)
    unit.announce(wishes.TOPIC)
    wishes.check(unit, pull, anew=False)
    settle(unit, after.session)
