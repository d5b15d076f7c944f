"""The one door of sessions: an observation, the facts it changes and what it owes, in the caller's unit of work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from holdfast.core.clock import boot_ns
from holdfast.core.errors import Invalid, NotFound
from holdfast.core.propagation import queue
from holdfast.core.redact import plain, redact
from holdfast.fleet.agents.declare import SIGNAL_KINDS, SignalKind
from holdfast.fleet.agents.registry import agent
from holdfast.fleet.forges import triggers
from holdfast.fleet.messages import rows as messages
from holdfast.fleet.reactions import door as reactions
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
from holdfast.fleet.signals.spool import shortened

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row, Unit

SQL = rows.SQL
#: Announced by every unit after which somebody has to look: something lives or has ended, or a place is free.
TOPIC = "fleet"
_LONGEST_DETAIL = 500
_LONGEST_EVENT = 80
#: So much of a submitted text is kept of a signal that came too early; it is enough to know the text by.
_LONGEST_EARLY = 4_000
_NOTED = "noted"


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
                pass  # the reactions, below, find the episode escalated, and tell of it once
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
    triggers.session_moved(unit, row, before, after)
    if _standing(after) != _standing(before):
        reactions.react(unit, after.id)
    return decision


def _standing(facts: Facts) -> tuple[object, ...]:
    """What of a session reactions go by; signs of life alone are none of it."""
    said, episode = facts.activity, facts.episode
    return (
        facts.state,
        said and said.state,
        facts.alive_since,
        facts.launch,
        episode and (episode.number, episode.escalated_at, episode.closed_at),
    )


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
    """A launch lives; what it said before anybody knew is heard now, and was not refused."""
    observe(unit, session, Launched(launch, by))
    for early in unit.all(SQL.early_signals, session=session, launch=launch):
        row, facts = need(unit, session)
        said, seq = _kept(early), early["seq"]
        taken = _fenced(unit, row, facts, Said(launch, seq), said)
        words = taken or _NOTED
        unit.run(SQL.took_early, session=session, launch=launch, seq=seq, detail=said.detail, taken=words)
        if words in _TAKEN:
            unit.run(SQL.unrefuse_signal, id=session)
        _follow(unit, facts, launch, said)


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


class _Read(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a signal says, as its agent means it."""

    kind: SignalKind | None
    conversation: str | None
    submitted: str | None
    detail: str


#: What became of signals that were not refused.
_TAKEN = frozenset({"taken", "repeated", _NOTED})


def hear(unit: Unit, session: str, said: Said, source: str) -> Heard:
    """Take what an agent says; everything is kept, also what is refused and why."""
    row, facts = need(unit, session)
    read = _read(row["agent"], said)
    taken = _fenced(unit, row, facts, said, read)
    early = taken == "unknown_launch" and _has_begun(unit, session, said.launch)
    new = unit.run(
        SQL.add_signal,
        session=session,
        launch=said.launch,
        seq=said.seq,
        kind=read.kind,
        event=None if said.event is None else plain(said.event)[:_LONGEST_EVENT],
        detail=_whole(read) if early else read.detail,
        source=source,
        taken=taken or _NOTED,
        at=unit.at,
    )
    if new:
        if (taken or _NOTED) not in _TAKEN:
            unit.run(SQL.refuse_signal, id=session)
        _follow(unit, facts, said.launch, read)
    return Heard(taken, read.kind, read.conversation, read.submitted)


def _fenced(unit: Unit, row: Row, facts: Facts, said: Said, read: _Read) -> Taken | Literal["ahead"] | None:
    """Take what it says of its agent's doing into account, if it is of the present launch; None if it says nothing."""
    if said.seq > boot_ns():
        return "ahead"  # it would make the session deaf to all that is true until then
    if read.kind is not None:
        return _take(unit, row, facts, Signal(said.launch, said.seq, read.kind, read.detail)).taken
    if said.launch == facts.launch:
        return None
    return "stale_launch" if said.launch < facts.launch else "unknown_launch"


def _follow(unit: Unit, before: Facts, launch: int, read: _Read) -> None:
    """What comes with a signal beside what its agent does: the conversation that it is of, evidence for a message."""
    # The first thing an agent says is that it is there: there is no conversation to go on with before its first turn.
    turned = read.kind is not None and (read.kind != "idle" or before.seq > 0)
    if launch == before.launch and turned and read.conversation is not None:
        unit.run(SQL.converse, id=before.id, conversation=read.conversation)
    # Of an earlier launch too: what was submitted then was submitted.
    messages.heard(unit, before.id, launch, read.submitted)


def _has_begun(unit: Unit, session: str, launch: int) -> bool:
    """Whether somebody is bringing this launch to life."""
    row = unit.one(SQL.launch, session=session, number=launch)
    return row is not None and row["ended_at"] is None


def _whole(read: _Read) -> str:
    """All that a signal says, in the place of its words, until its launch is known."""
    submitted = None if read.submitted is None else shortened(read.submitted, _LONGEST_EARLY)
    return msgspec.json.encode(msgspec.structs.replace(read, submitted=submitted)).decode()


def _kept(early: Row) -> _Read:
    """What was kept of a signal that came too early; one that came before its launch was begun has only its words."""
    try:
        return msgspec.json.decode(early["detail"], type=_Read)
    except msgspec.DecodeError:
        return _Read(early["kind"], None, None, early["detail"])


def _read(agent_name: str, said: Said) -> _Read:
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
    return _Read(kind, conversation, submitted, redact(plain(text), limit=_LONGEST_DETAIL))
