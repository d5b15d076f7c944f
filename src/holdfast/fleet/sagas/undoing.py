"""Takes back what a launch made that never lived: its processes, its place, its worktree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.core import faults
from holdfast.core.access import tokens
from holdfast.core.errors import Conflict, HoldfastError, LeaseLost, StoreError
from holdfast.core.propagation import queue
from holdfast.core.propagation.outcome import Outcome, Retry
from holdfast.fleet.sagas.kinds import CLEANUP, Cleaning
from holdfast.fleet.sagas.launching import work_order
from holdfast.fleet.sessions import losses
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.sessions.transitions import TERMINAL
from holdfast.fleet.standing import words
from holdfast.fleet.workspaces.capture import Captured, Doubt, capture
from holdfast.fleet.workspaces.place import Order
from holdfast.fleet.workspaces.removal import remove
from holdfast.notify.notices import is_open, raise_notice, resolve_about

if TYPE_CHECKING:
    from holdfast.core.store.port import Row, Unit
    from holdfast.fleet.fleet import Fleet
    from holdfast.fleet.sagas.hand import Hand

ENDED = faults.point("undo.ended", "the processes of a launch that failed are gone, its place is not yet")
FORGOTTEN = faults.point("undo.forgotten", "its place is gone, its worktree is not yet")
KEPT = faults.point("cleanup.kept", "the work is kept and its row written, the worktree is not removed yet")
REMOVED = faults.point("cleanup.removed", "the worktree is removed, no row says so yet")

#: The kind of the notice.
_STAYS = "worktree-stays"


@dataclass(frozen=True, slots=True)
class Left:
    """A worktree that could not be removed: where it is, and why it stays."""

    path: str
    why: str


async def undo(fleet: Fleet, hand: Hand, session: Row, launch: Row, project: Row) -> Outcome | Left | None:
    """Leave nothing of the launch; what there is to try again if it still runs, or the worktree that stays."""
    stubborn = await fleet.errands.end_processes(session, launch=launch["number"], known=launch["handle"])
    if stubborn:
        return Retry(why=f"{len(stubborn)} processes cannot be ended", then=hand.let_go)
    await ENDED.passed()
    await fleet.runtime(session["runtime"]).forget(fleet.name(session["id"], launch["number"]))
    await FORGOTTEN.passed()
    await end_token(fleet, hand, launch)
    # One that was cleaned up before it was to be restored had no worktree, and has none again.
    if launch["purpose"] == "spawn" or session["workspace"] is None:
        return await remove_workspace(fleet, hand, session, project)
    return None


async def end_token(fleet: Fleet, hand: Hand, launch: Row) -> None:
    """The agent's token is good for nothing any more."""
    row = await hand.job.unit(lambda unit: unit.one(SQL.launch, session=launch["session"], number=launch["number"]))
    token = row["token"] if row is not None else None
    if token is None:
        return

    def work(unit: Unit) -> None:
        tokens.revoke(unit, token)

    await hand.job.unit(work)
    fleet.forget_token(token)


async def remove_workspace(fleet: Fleet, hand: Hand, session: Row, project: Row | None) -> Left | None:
    """Keep the work, say so in a row, and only then remove the worktree; why it stays, if it does."""
    order = work_order(fleet, session, project)
    try:
        # Whoever stands in it may write on; it may be a person's shell as well as something of the agent's that nothing
        # shows to be that, so it is neither ended nor taken the ground from under.
        beside = await fleet.errands.standing(order.path)
        doubt = f"processes stand in it: {words(beside)}" if beside else await _removed(fleet, hand, session, order)
    except (StoreError, LeaseLost):
        raise  # the store, not the worktree
    except HoldfastError as error:  # a disk that refuses, a folder that is not ours, a git that does not answer
        doubt = error.message
    return None if doubt is None else Left(str(order.path), doubt)


def leave(unit: Unit, hand: Hand, session: Row, left: Left) -> None:
    """It stays for now, of a session that has ended: its row names it, people are told, and its clean-up is owed."""
    name = session["id"]
    row = unit.one(SQL.by_id, id=name)
    if row is None or row["state"] not in TERMINAL or row["wanted"] is not None:
        return  # whoever starts it again finds the worktree, and what becomes of that is theirs
    unit.run(SQL.settle_workspace, id=name, workspace=left.path)
    subject = f"session:{name}"
    if not is_open(unit, _STAYS, subject):
        why = left.why.rstrip(".")
        raise_notice(
            unit,
            kind=_STAYS,
            subject=subject,
            key=f"{_STAYS}:{name}:{hand.job.id}",
            text=f"The worktree of {name} could not be removed and stays at {left.path}: {why}. It is tried again by "
            f"itself; mend what is in the way, then do so at once with: holdfast cleanup {name}",
            scope=session["project"],
        )
    queue.enqueue(unit, CLEANUP, Cleaning(name), key=name)


async def _removed(fleet: Fleet, hand: Hand, session: Row, order: Order) -> str | None:
    def gone(unit: Unit) -> None:
        unit.run(SQL.settle_workspace, id=session["id"], workspace=None)
        resolve_about(unit, _STAYS, f"session:{session['id']}")
        losses.settle(unit, fleet.host)

    try:
        captured = await fleet.errands.put_away(session["id"], _captured, order)
    except Conflict as error:  # its repository is gone, or is none any more: without a folder of ours nothing is left
        if order.path.exists():
            return error.message
        await hand.step("removed", {"branch": "", "why": error.message}, gone, wanted=False)
        return None
    if isinstance(captured, Doubt):
        return captured.reason
    if captured is not None:
        await hand.step("kept", {"ref": captured.ref}, lambda unit: _note(unit, session, captured), wanted=False)
    await KEPT.passed()
    removed = await fleet.errands.put_away(session["id"], remove, order, captured)
    if isinstance(removed, Doubt):
        return removed.reason
    await REMOVED.passed()
    await hand.step("removed", {"branch": removed.branch, "why": removed.why}, gone, wanted=False)
    return None


def _captured(order: Order) -> Captured | Doubt | None:
    """The work, where there is a worktree that was ever whole; what was half made holds none."""
    from holdfast.fleet.workspaces.worktree import marker_of  # noqa: PLC0415

    marker = marker_of(order)
    if marker is None or marker.state != "whole":
        return None
    return capture(order)


def _note(unit: Unit, session: Row, captured: Captured) -> None:
    unit.run(
        SQL.keep,
        ref=captured.ref,
        session=session["id"],
        project=session["project"],
        repository=session["repository"],
        branch=captured.branch or None,
        commit_id=captured.commit,
        head=captured.head,
        files=captured.files,
        bytes=captured.bytes,
        at=unit.at,
    )
