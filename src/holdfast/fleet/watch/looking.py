"""One look at many sessions: each runtime asked once, each process by its identity, each terminal by its recording."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from holdfast.core.instants import stamp
from holdfast.fleet import processes
from holdfast.fleet.runtimes.port import Handle, Look, Pane, RuntimeFailed
from holdfast.fleet.runtimes.recording import Recording
from holdfast.fleet.sessions.facts import Probe, Reading
from holdfast.fleet.signals import hook

if TYPE_CHECKING:
    from holdfast.fleet.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Target:
    """A session that lives, as far as looking at it needs."""

    session: str
    launch: int
    handle: Handle


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at everything saw."""

    probes: Mapping[str, Probe]
    runtimes: Mapping[str, Look]


async def look(fleet: Fleet, targets: Sequence[Target]) -> Sight:
    """Look at all of them; a witness that does not answer has failed, which is no death."""
    seq, at = hook.now(), fleet.means.clock.stamp()
    runtimes = {}
    for name in sorted({target.handle.runtime for target in targets}):
        try:
            runtimes[name] = await fleet.runtime(name).look()
        except RuntimeFailed as error:
            runtimes[name] = Look("failed", error.message)
    boot = processes.boot_id()
    seen = await asyncio.to_thread(_states, targets, fleet)
    probes = {}
    for target in targets:
        condition, output_at = seen[target.session]
        sight = runtimes[target.handle.runtime]
        rebooted = target.handle.process.boot != boot
        pane = sight.panes.get(target.handle.name)
        probes[target.session] = Probe(
            launch=target.launch,
            looked_at=at,
            seq=seq,
            readings={
                "runtime": Reading("dead" if rebooted else sight.server, sight.detail),
                "pane": _pane(sight, pane, rebooted=rebooted),
                "process": Reading(condition),
            },
            rebooted=rebooted,
            exit_status=pane.exit_status if pane else None,
            exit_signal=pane.exit_signal if pane else None,
            output_at=output_at,
        )
    return Sight(probes, runtimes)


def _pane(sight: Look, pane: Pane | None, *, rebooted: bool) -> Reading:
    if rebooted:
        return Reading("missing", "the machine was started anew")
    if sight.server != "alive":
        return Reading("failed", "its runtime did not answer")
    return Reading("missing") if pane is None else Reading(pane.verdict)


def _states(targets: Sequence[Target], fleet: Fleet) -> dict[str, tuple[processes.Condition, str | None]]:
    found: dict[str, tuple[processes.Condition, str | None]] = {}
    for target in targets:
        last = Recording(fleet.paths.record(target.session)).last_output_at()
        at = None if last is None else stamp(datetime.fromtimestamp(last, UTC))
        found[target.session] = (processes.state(target.handle.process), at)
    return found
