"""What happened to one session: its changes, launches, steps, quarantines, signals, messages, in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from holdfast.core.instants import parse_stamp, stamp
from holdfast.core.store.sql import load
from holdfast.fleet.web.shapes import Moment, Timeline

if TYPE_CHECKING:
    from holdfast.core.store.port import Reader, Row

SQL = load("holdfast.fleet.web", "web.sql")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = (1 << 63) - 1
#: What of a session is worth telling when it changes, in this order.
_TOLD = (
    "state",
    "reason",
    "activity",
    "launch",
    "alive_since",
    "agent_session_id",
    "wanted",
    "admitted_at",
    "kill_asked_at",
    "saga",
    "workspace",
)


class Place(NamedTuple):
    """A place in the order: a moment, which kind of thing, and its number among its kind."""

    at: str
    rank: int
    number: int

    def written(self) -> str:
        """As a cursor has it."""
        micros = (parse_stamp(self.at) - _EPOCH) // _MICROSECOND
        return f"after-{micros}-{self.rank}-{self.number}"

    @classmethod
    def read(cls, text: str) -> Place:
        """The place in a cursor; the end of time where there is none."""
        if not text:
            return cls("9999", 0, _MOST)
        micros, rank, number = map(int, text.split("-"))
        return cls(stamp(_EPOCH + micros * _MICROSECOND), rank, number)

    def bound(self, rank: int) -> int:
        """Below which number things of a kind come after this place, within its moment."""
        return self.number if rank == self.rank else _MOST if rank < self.rank else 0


Told = tuple[Place, Moment]


def timeline(reader: Reader, session: Row, before: Place, limit: int) -> Timeline:
    """A page of it, newest first."""
    found: list[Told] = []
    for rank, tell in enumerate(_TELLERS):
        found += tell(reader, session, before, rank, limit + 1)
    found = sorted((told for told in found if told[0] < before), key=lambda told: told[0], reverse=True)
    shown = found[:limit]
    following = shown[-1][0].written() if len(found) > limit else None
    return Timeline([moment for _, moment in shown], following)


# --- what tells --------------------------------------------------------------------------------------------------


def _launches(reader: Reader, session: Row, _before: Place, rank: int, _limit: int) -> Iterator[Told]:
    for row in reader.all(SQL.launches, session=session["id"]):
        number = row["number"]
        for step, (name, words) in enumerate(
            (("begun_at", f"launch {number} begun, to {row['purpose']}"), ("alive_at", f"launch {number} is alive"))
        ):
            if row[name] is not None:
                yield Place(row[name], rank, 4 * number + step), Moment(row[name], "launch", words, number, None, {})
        if row["ended_at"] is not None:
            detail = {name: row[name] for name in ("exit_status", "exit_signal", "outcome")}
            words = f"launch {number} ended: {row['outcome'] or 'nobody knows how'}{_exit(row)}"
            place = Place(row["ended_at"], rank, 4 * number + 2)
            yield place, Moment(row["ended_at"], "launch", words, number, None, detail)


def _exit(row: Row) -> str:
    if row["exit_signal"] is not None:
        return f" (signal {row['exit_signal']})"
    return "" if row["exit_status"] is None else f" (exit status {row['exit_status']})"


def _steps(reader: Reader, session: Row, _before: Place, rank: int, _limit: int) -> Iterator[Told]:
    for number, row in enumerate(reader.all(SQL.steps, session=session["id"])):
        words = f"{row['saga']}: {row['step'].replace('_', ' ')}"
        detail = {"saga": row["saga"], "step": row["step"], "detail": row["detail"]}
        yield Place(row["at"], rank, number), Moment(row["at"], "step", words, row["launch"], None, detail)


def _episodes(reader: Reader, session: Row, _before: Place, rank: int, _limit: int) -> Iterator[Told]:
    for row in reader.all(SQL.episodes, session=session["id"]):
        number = row["number"]
        said = (
            ("started_at", f"quarantine {number} begins ({row['cause']})"),
            ("escalated_at", f"quarantine {number}: a person is told"),
            ("closed_at", f"quarantine {number} ends: {row['outcome']}"),
        )
        for step, (name, words) in enumerate(said):
            if row[name] is not None:
                place = Place(row[name], rank, 4 * number + step)
                yield place, Moment(row[name], "episode", words, row["launch"], None, {"cause": row["cause"]})


def _changes(reader: Reader, session: Row, before: Place, rank: int, limit: int) -> Iterator[Told]:
    rows = reader.all(
        SQL.changes,
        scope=session["project"],
        session=session["id"],
        at=before.at,
        number=before.bound(rank),
        limit=limit,
    )
    for row in rows:
        payload = msgspec.json.decode(row["payload"])
        changed = [name for name in _TOLD if name in payload.get("changed", ())]
        detail = {name: payload[name] for name in changed}
        words = ", ".join(
            f"{name.replace('_', ' ')} {'none' if detail[name] is None else detail[name]}" for name in changed
        )
        words = "asked for" if row["event"].endswith("_created") else words or "changed"
        place = Place(row["at"], rank, row["number"])
        yield place, Moment(row["at"], "change", words, payload.get("launch"), row["actor"], detail)


def _signals(reader: Reader, session: Row, before: Place, rank: int, limit: int) -> Iterator[Told]:
    for row in reader.all(SQL.signals, session=session["id"], at=before.at, number=before.bound(rank), limit=limit):
        said = " ".join(word for word in (row["event"], row["kind"] and f"({row['kind']})") if word)
        words = f"{said}: {row['detail']}" if row["detail"] else said
        if row["taken"] not in {"taken", "noted", "repeated"}:
            words = f"refused as {row['taken'].replace('_', ' ')}: {words}"
        detail = {name: row[name] for name in ("kind", "event", "taken", "source")}
        yield Place(row["at"], rank, row["number"]), Moment(row["at"], "signal", words, row["launch"], None, detail)


def _messages(reader: Reader, session: Row, before: Place, rank: int, limit: int) -> Iterator[Told]:
    for row in reader.all(SQL.messages, session=session["id"], at=before.at, number=before.bound(rank), limit=limit):
        words = f"{row['kind']} {row['number']} ({row['state']}): {row['text']}"
        detail = {name: row[name] for name in ("kind", "state", "state_at", "reason")} | {"message": row["number"]}
        place = Place(row["at"], rank, row["number"])
        yield place, Moment(row["at"], "message", words, row["launch"] or None, row["created_by"], detail)


def _kept(reader: Reader, session: Row, _before: Place, rank: int, _limit: int) -> Iterator[Told]:
    for number, row in enumerate(reader.all(SQL.kept_of, session=session["id"])):
        words = f"{row['files']} files kept as {row['ref']}"
        detail = {name: row[name] for name in ("ref", "commit_id", "files", "bytes", "restored_at")}
        yield Place(row["kept_at"], rank, number), Moment(row["kept_at"], "kept", words, None, None, detail)


#: Within one moment what stands later in this list is newer.
_TELLERS: tuple[Callable[[Reader, Row, Place, int, int], Iterator[Told]], ...] = (
    _messages,
    _signals,
    _changes,
    _launches,
    _steps,
    _episodes,
    _kept,
)
