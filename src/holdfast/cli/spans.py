"""Spans, sizes and ages in few characters, as they stand in tables."""

from __future__ import annotations

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_KILO = 1024


def span(seconds: float) -> str:
    """A span in its largest unit, such as `5 m`."""
    name, size = next(((name, size) for name, size in _UNITS if seconds >= size), ("s", 1))
    return f"{max(0, int(seconds // size))} {name}"


def age(at: str) -> str:
    """How long ago a moment was, by the clock of this machine."""
    from holdfast.core.clock import SYSTEM
    from holdfast.core.instants import parse_stamp

    return span((SYSTEM.now() - parse_stamp(at)).total_seconds())


def size(count: int) -> str:
    """Bytes in a unit that people read."""
    value, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB"):
        if value < _KILO:
            break
        value, unit = value / _KILO, bigger
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"  # noqa: PLR2004 - digits
