"""The one door of sessions: an observation, the facts it changes and what it owes, in the caller's unit of work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from holdfast.core.errors import Invalid, NotFound
from holdfast.core.propagation import queue
from holdfast.core.redact import plain, redact
from holdfast.fleet.agents.declare import SIGNAL_KINDS, SignalKind
from holdfast.fleet.agents.registry import agent
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.sagas.kinds import KILL, Ending
from holdfast.fleet.sessions import rows
from holdfast.fleet.sessions.decider import decide
from holdfast.fleet.sessions.facts import (
    Decision,
    Facts,
    Launched,
    Observation,
    Page,
    Probe,
    Reap,
    Signal,
    Taken,
    Unblocked,
    Watch,
)
from holdfast.fleet.sessions.transitions import TERMINAL
from holdfast.fleet.signals import hook
from holdfast.notify.notices import raise_notice

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit

SQL = rows.SQL
#: Announced by every unit after which somebody has to look: something lives or has ended, or a place is free.
TOPIC = "fleet"
_LONGEST_DETAIL = 500
_LONGEST_EVENT = 80


def need(unit: Reader, session: str) -> tuple[Row, Facts]:
    """The session, or `NotFound`."""
    found = rows.read(unit, session)
    if found is None:
        message = f"There is no session {session[:80]!r}. `holdfast ls` lists them."
        raise NotFound(message)
    return found


def observe(unit: Unit, session: str, observation: Observation) -> Decision:
    """Take an observation: what it means is decided, written, and owed."""
    row, facts = need(unit, session)
    return _take(unit, row, facts, observation)


def _take(unit: Unit, row: Row, before: Facts, observation: Observation) -> Decision:
    decision = decide(before, observation, unit.at)
    after = decision.facts
    rows.write(unit, row["project"], before, after)
    for effect in decision.effects:
        match effect:
            case Page():
                number = after.episode.number if after.episode is not None else 0
                key = f"{effect.kind}:{after.id}:{number}"
                subject = f"session:{after.id}"
                raise_notice(unit, kind=effect.kind, subject=subject, key=key, text=effect.text, scope=row["project"])
            case Unblocked():
                messages.look_again(unit, after.id)
            case Reap():
                ending = Ending(after.id, effect.launch, None, "what is left of a launch that has ended")
                queue.enqueue(unit, KILL, ending, key=after.id)
    if after.alive_since != before.alive_since or after.state != before.state:
        unit.announce(TOPIC)
    if after.state == "idle" and before.state != "idle":
        messages.look_again(unit, after.id)
    if before.alive_since is not None and after.alive_since is None:
        unit.run(SQL.release_place, id=after.id)
        _end_launch(unit, after, observation)
    over = after.state in TERMINAL and after.state != before.state
    if after.alive_since != before.alive_since or over:
        messages.look_again(unit, after.id)
    return decision


def _end_launch(unit: Unit, facts: Facts, observation: Observation) -> None:
    """The row of the launch says how it ended, as far as that is known."""
    probe = observation if isinstance(observation, Probe) else None
    unit.run(
        SQL.ended_launch,
        session=facts.id,
        number=facts.launch,
        at=unit.at,
        exit_status=probe.exit_status if probe else None,
        exit_signal=probe.exit_signal if probe else None,
        outcome=facts.reason or facts.state,
    )


def launched(unit: Unit, session: str, launch: int, by: Literal["spawn", "restore", "adoption"]) -> None:
    """A launch lives; what it said before anybody knew is heard now."""
    observe(unit, session, Launched(launch, by))
    for row in unit.all(SQL.early_signals, session=session, launch=launch):
        observe(unit, session, Signal(launch, row["seq"], row["kind"], row["detail"]))
        unit.run(SQL.took_early, session=session, launch=launch, seq=row["seq"])
        messages.heard(unit, session, launch, None)


def look(unit: Unit, session: str, probe: Probe, watch: Watch | None) -> Decision:
    """Take a look at a session into account; `watch` is how far it was watched since that was last written."""
    row, facts = need(unit, session)
    before = facts if watch is None else msgspec.structs.replace(facts, watch=watch)
    return _take(unit, row, before, probe)


# --- what agents say -------------------------------------------------------------------------------------------


class Said(msgspec.Struct, frozen=True):
    """One signal as it came, by HTTP or from the spool: what it means is told by its kind, or by its event."""

    launch: int
    seq: int
    kind: SignalKind | None = None
    event: str | None = None
    detail: Mapping[str, Any] | str | None = None


class Heard(msgspec.Struct, frozen=True):
    """What became of a signal."""

    taken: Taken | Literal["ahead"] | None
    kind: SignalKind | None
    conversation: str | None
    submitted: str | None


def hear(unit: Unit, session: str, said: Said, source: str) -> Heard:
    """Take what an agent says; everything is kept, also what is refused and why."""
    row, facts = need(unit, session)
    kind, conversation, submitted, text = _read(row["agent"], said)
    taken: Taken | Literal["ahead"] | None = None
    if said.seq > hook.now():
        taken = "ahead"  # it would make the session deaf to all that is true until then
    elif kind is not None:
        taken = _take(unit, row, facts, Signal(said.launch, said.seq, kind, text)).taken
    elif said.launch != facts.launch:
        taken = "stale_launch" if said.launch < facts.launch else "unknown_launch"
    new = unit.run(
        SQL.add_signal,
        session=session,
        launch=said.launch,
        seq=said.seq,
        kind=kind,
        event=None if said.event is None else plain(said.event)[:_LONGEST_EVENT],
        detail=text,
        source=source,
        taken=taken or "noted",
        at=unit.at,
    )
    current = said.launch == facts.launch
    if new and taken not in {None, "taken", "repeated"}:
        unit.run(SQL.refuse_signal, id=session)
    # The first thing an agent says is that it is there: there is no conversation to go on with before its first turn.
    turned = kind is not None and (kind != "idle" or facts.seq > 0)
    if new and current and turned and conversation is not None:
        unit.run(SQL.converse, id=session, conversation=conversation)
    if new:  # of an earlier launch too: what was submitted then was submitted
        messages.heard(unit, session, said.launch, submitted)
    return Heard(taken, kind, conversation, submitted)


def _read(agent_name: str, said: Said) -> tuple[SignalKind | None, str | None, str | None, str]:
    if said.kind is None and said.event is None:
        message = f"A signal needs a kind ({', '.join(SIGNAL_KINDS)}) or the name of an event of its agent."
        raise Invalid(message, field="kind")
    payload = said.detail if isinstance(said.detail, Mapping) else {}
    text = said.detail if isinstance(said.detail, str) else ""
    kind, conversation, submitted = said.kind, None, None
    if said.event is not None:
        heard = agent(agent_name).read(said.event, payload)
        kind = kind or heard.kind
        conversation, submitted, text = heard.conversation, heard.submitted, text or heard.detail
    return kind, conversation, submitted, redact(plain(text), limit=_LONGEST_DETAIL)
