"""What the daemon measures: families of numbers with a name, a meaning and labels, told in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from holdfast.core import lanes
from holdfast.core.version import VERSION

if TYPE_CHECKING:
    from holdfast.core.propagation.view import Gauge

#: The form of the answer, version 0.0.4 of Prometheus' text exposition.
MEDIA = b"text/plain; version=0.0.4; charset=utf-8"
#: The values of the label `state`.
STATES = ("pending", "leased", "waiting", "dead")

#: The values of a family's labels, and the number.
Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What there is to tell, taken once for an answer."""

    propagations: Sequence[Gauge]
    #: Outcomes that came too late, and rows under way; none in a process that does no propagations.
    late: int | None
    under_way: int | None
    effects_held: bool
    position: int
    oldest: int
    subscribers: int
    overflows: int


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of number."""

    name: str
    doc: str
    form: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    read: Callable[[Readings], Iterable[Sample]]


def _depths(readings: Readings) -> Iterable[Sample]:
    for gauge in readings.propagations:
        for state in STATES:
            yield (gauge.kind, state), getattr(gauge, state)


def _oldest_due(readings: Readings) -> Iterable[Sample]:
    return (((gauge.kind,), gauge.oldest_due_seconds) for gauge in readings.propagations)


def _known(number: int | None) -> Iterable[Sample]:
    return () if number is None else (((), number),)


def _threads(_: Readings) -> Iterable[Sample]:
    for lane in lanes.every():
        yield (lane.name, "running"), lane.running
        yield (lane.name, "waiting"), lane.waiting


#: Every family there is.
FAMILIES = (
    Family("holdfast_build_info", "The version that runs.", "gauge", ("version",), lambda _: (((VERSION,), 1),)),
    Family("holdfast_propagations", "Effects in the queue, by kind and state.", "gauge", ("kind", "state"), _depths),
    Family(
        "holdfast_propagation_oldest_due_seconds",
        "How long the longest due effect of a kind has been waiting for somebody to start it; 0 when none is due.",
        "gauge",
        ("kind",),
        _oldest_due,
    ),
    Family(
        "holdfast_propagations_late_total",
        "Outcomes that came after their lease was lost, in this process since its start.",
        "counter",
        (),
        lambda readings: _known(readings.late),
    ),
    Family(
        "holdfast_propagations_under_way",
        "Effects that this process has under way.",
        "gauge",
        (),
        lambda readings: _known(readings.under_way),
    ),
    Family(
        "holdfast_effects_held",
        "1 while the store is a restored one whose effects wait to be released.",
        "gauge",
        (),
        lambda readings: _known(int(readings.effects_held)),
    ),
    Family(
        "holdfast_changes_position",
        "The newest change up to which the change log is settled.",
        "gauge",
        (),
        lambda readings: _known(readings.position),
    ),
    Family(
        "holdfast_changes_oldest",
        "The oldest change that retention has left.",
        "gauge",
        (),
        lambda readings: _known(readings.oldest),
    ),
    Family(
        "holdfast_stream_subscribers",
        "Readers of the live stream.",
        "gauge",
        (),
        lambda readings: _known(readings.subscribers),
    ),
    Family(
        "holdfast_stream_overflows_total",
        "Readers of the live stream that fell too far behind and were disconnected.",
        "counter",
        (),
        lambda readings: _known(readings.overflows),
    ),
    Family(
        "holdfast_threads",
        "Blocking work by kind: what has a thread, abandoned work too, and what waits for one.",
        "gauge",
        ("lane", "state"),
        _threads,
    ),
)


def exposition(readings: Readings, families: Iterable[Family] = FAMILIES) -> bytes:
    """Every family with its samples."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.doc)}")
        lines.append(f"# TYPE {family.name} {family.form}")
        lines += [_line(family, values, number) for values, number in family.read(readings)]
    return "\n".join([*lines, ""]).encode()


def _line(family: Family, values: tuple[str, ...], number: float) -> str:
    pairs = zip(family.labels, values, strict=True)
    labels = ",".join(f'{label}="{_escaped(value, quoted=True)}"' for label, value in pairs)
    return f"{family.name}{{{labels}}} {number}" if labels else f"{family.name} {number}"


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quoted else text
