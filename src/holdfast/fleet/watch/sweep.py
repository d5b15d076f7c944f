"""Sweeps: what a look at everything comes to, decided in memory first, so that nothing new costs no statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from holdfast.core import faults
from holdfast.core.store.port import Act
from holdfast.fleet import processes
from holdfast.fleet.runtimes.port import Handle, Look
from holdfast.fleet.sessions import door, rows
from holdfast.fleet.sessions.decider import decide, only_time
from holdfast.fleet.sessions.facts import Facts
from holdfast.fleet.watch.incidents import Incidents
from holdfast.fleet.watch.looking import Target, look

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit
    from holdfast.fleet.fleet import Fleet
    from holdfast.fleet.sessions.facts import Probe

ACT = Act("daemon", "watch")
LOOKED = faults.point("watch.looked", "everything was looked at, nothing of it is written")
WRITTEN = faults.point("watch.written", "what a look came to is written")


class Sweep:
    """Everything that lives on this host, as it was last known, and how it is looked at."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._known: dict[str, Facts] = {}
        self.targets: dict[str, Target] = {}
        self._incidents = Incidents(fleet.host)

    @property
    def hurried(self) -> bool:
        """Whether a death waits for the rest of its story, so that the next look is to come soon."""
        return any(facts.watch.death is not None for facts in self._known.values())

    async def reload(self) -> None:
        """Read what lives; how far it has been watched meanwhile is kept, unless something was heard since."""
        fleet = self._fleet

        def work(reader: Reader) -> list[tuple[Row, Facts]]:
            return rows.read_alive(reader, fleet.host)

        found = await fleet.means.store.read(work)
        before, self._known, self.targets = self._known, {}, {}
        for row, facts in found:
            if row["handle"] is None:
                continue
            old = before.get(facts.id)
            same = old is not None and (old.launch, old.heard_at) == (facts.launch, facts.heard_at)
            kept = old.watch if old is not None and same and old.watch.look > facts.watch.look else facts.watch
            self._known[facts.id] = msgspec.structs.replace(facts, watch=kept)
            handle = msgspec.json.decode(row["handle"], type=Handle)
            self.targets[facts.id] = Target(facts.id, facts.launch, handle)

    async def look(self) -> bool:
        """Look at everything once; whether anything of it was news."""
        sight = await look(self._fleet, list(self.targets.values()))
        LOOKED()
        now = self._fleet.means.clock.stamp()
        news: dict[str, Probe] = {}
        for session, probe in sight.probes.items():
            facts = self._known[session]
            after = decide(facts, probe, now).facts
            if after == facts or only_time(facts, after):
                self._known[session] = after
            else:
                news[session] = probe
        turned = self._incidents.turned(sight.runtimes, self._counts())
        if not news and not turned:
            return False
        await self._write(news, turned)
        await WRITTEN.passed()
        await self.reload()
        return True

    def _counts(self) -> dict[str, int]:
        """How many sessions suffer when a runtime does. Those of another boot ended with that, not with a runtime."""
        found: dict[str, int] = {}
        for target in self.targets.values():
            if target.handle.process.boot == processes.boot_id():
                found[target.handle.runtime] = found.get(target.handle.runtime, 0) + 1
        return found

    async def _write(self, news: dict[str, Probe], turned: dict[str, Look]) -> None:
        """All of one look in one unit: an outage of what they share is one incident, however many they are."""
        watched = {session: self._known[session].watch for session in news}
        counts = self._counts()

        def work(unit: Unit) -> None:
            self._incidents.write(unit, turned, counts)
            for session, probe in news.items():
                door.look(unit, session, probe, watched[session])

        await self._fleet.means.store.unit(ACT, work)
        self._incidents.written(turned)
