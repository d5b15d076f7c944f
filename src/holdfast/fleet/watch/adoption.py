"""What a daemon finds when it starts: sessions that live, those that died, a new boot, things left over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.core import faults, logs
from holdfast.core.propagation import queue
from holdfast.fleet import errands, processes
from holdfast.fleet.runtimes.port import RuntimeFailed
from holdfast.fleet.sagas.kinds import KILL, Ending
from holdfast.fleet.sessions import endings, losses
from holdfast.fleet.sessions.rows import SQL
from holdfast.fleet.watch import incidents
from holdfast.fleet.watch.sweep import ACT

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit
    from holdfast.fleet.fleet import Fleet
    from holdfast.fleet.processes import Identity
    from holdfast.fleet.watch.sweep import Sweep

ADOPTED = faults.point("watch.adopted", "a daemon that starts has adopted what lives, leftovers are not reaped yet")
_RUNTIMES = ("tmux", "process")
#: Seconds that leftovers have to end by themselves; nobody waits for what they do.
_GRACE_SECONDS = 2.0
_MACHINE, _REBOOT = "machine", "reboot"
_log = logs.get("fleet")


async def adopt(fleet: Fleet, sweep: Sweep) -> None:
    """Take over what earlier daemons left: hear what was said meanwhile, look at everything, reap what nobody wants."""
    for session in await asyncio.to_thread(fleet.spool.pending):
        await fleet.errands.drain(session)
    await sweep.reload()
    lived = len(sweep.targets)
    rebooted = await _tell_of_reboot(fleet, lived)
    if sweep.targets:
        await sweep.look()
    await _see_boot(fleet, rebooted=rebooted)
    _log.info("sessions adopted", living=len(sweep.targets), ended=lived - len(sweep.targets))
    await ADOPTED.passed()
    await reap(fleet)


async def _tell_of_reboot(fleet: Fleet, lived: int) -> bool:
    """Whether this is another boot than when sessions lived here last; if any did, people are told before they end."""
    row = await fleet.means.store.read(lambda reader: reader.one(SQL.host, host=fleet.host))
    if row is None or row["boot"] == processes.boot_id():
        return False
    if lived:
        await fleet.means.store.unit(
            ACT, lambda unit: incidents.begin(unit, fleet.host, _MACHINE, _REBOOT, "another boot id", lived)
        )
    _log.warning("this machine was started anew", sessions=lived)
    return True


async def _see_boot(fleet: Fleet, *, rebooted: bool) -> None:
    """Note the boot of this machine, once all that a new one means is written: who dies before finds it new again."""
    boot, caps = processes.boot_id(), fleet.caps()
    resumes = rebooted and fleet.means.settings.fleet.resume_after_reboot

    def work(unit: Unit) -> None:
        row = unit.one(SQL.host, host=fleet.host)
        if row is not None and row["boot"] == boot:
            return
        unit.run(SQL.see_host, host=fleet.host, boot=boot, at=unit.at, rebooted_at=unit.at if rebooted else None)
        told = unit.one(SQL.open_incident, host=fleet.host, runtime=_MACHINE, cause=_REBOOT)
        if told is not None:  # it is over, so that the next reboot is another one; its notice stays while sessions wait
            unit.run(SQL.end_incident, id=told["id"], at=unit.at)
            losses.settle(unit, fleet.host)
        if resumes:
            endings.ask_restore_all(unit, caps)

    await fleet.means.store.unit(ACT, work)


async def reap(fleet: Fleet) -> None:
    """End what is ours and belongs to no launch that lives or is being started."""

    def work(reader: Reader) -> tuple[list[Row], list[Row]]:
        return reader.all(SQL.alive_launches, host=fleet.host), reader.all(SQL.wanted_launches, host=fleet.host)

    alive, wanted = await fleet.means.store.read(work)
    names = {fleet.name(row["id"], row["launch"]) for row in alive}
    names |= {fleet.name(row["session"], row["number"]) for row in wanted}
    await _reap_places(fleet, names)
    spared = {row["session"] for row in wanted} | {row["id"] for row in alive}
    await asyncio.to_thread(_reap_processes, fleet, spared)


async def _reap_places(fleet: Fleet, wanted: set[str]) -> None:
    prefix = fleet.name("", 0).removesuffix("--0") + "-"
    for name in _RUNTIMES:
        if await asyncio.to_thread(fleet.missing, name) is not None:
            continue
        try:
            places = (await fleet.runtime(name).look()).panes
        except RuntimeFailed as error:
            _log.warning("a runtime does not answer", runtime=name, why=error.message)
            continue
        for place in places:
            session, _, number = place.removeprefix(prefix).rpartition("-")
            if place in wanted or not place.startswith(prefix) or not number.isdigit():
                continue
            await _owe_reaping(fleet, session, int(number))


async def _owe_reaping(fleet: Fleet, session: str, launch: int) -> None:
    def work(unit: Unit) -> bool:
        if unit.one(SQL.by_id, id=session) is None:
            return False
        ending = Ending(session, launch, None, "left over from a launch that has ended")
        queue.enqueue(unit, KILL, ending, key=session)
        return True

    if not await fleet.means.store.unit(ACT, work):
        _log.warning(
            "something runs that this store knows nothing of; it is left alone", session=session, launch=launch
        )


def _reap_processes(fleet: Fleet, spared: set[str]) -> None:
    """End what bears the mark of this store and of a session that does not live; one scan, whatever their number."""
    store = fleet.means.store.uuid
    left: list[Identity] = []
    gone: set[str] = set()
    for each in processes.owned(None, {"HOLDFAST_STORE": store}):
        if processes.mark(each, "HOLDFAST_STORE") != store:
            continue
        daemon = processes.mark(each, errands.DAEMON)
        if daemon is not None:
            # A git, or a filter of it: it is of the daemon that waited for it, whatever its session is to be now.
            gone |= {daemon} if errands.is_left(daemon) else set()
        elif (session := processes.mark(each, "HOLDFAST_SESSION")) is not None and session not in spared:
            left.append(each)
    of_gone = [{"HOLDFAST_STORE": store, errands.DAEMON: daemon} for daemon in gone]
    if left or gone:
        ended = processes.end(lambda: [*left, *processes.owned(None, *of_gone)], _GRACE_SECONDS)
        _log.warning("leftovers were ended", ended=len(ended.ended), stubborn=len(ended.stubborn))
