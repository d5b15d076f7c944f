"""What a measurement yields: values of ours and of the floor in paired rounds, the target, whether it is reached."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any, Literal

TargetKind = Literal["ratio >=", "ratio <=", "<=", "<= floor +"]


@dataclass(frozen=True)
class Target:
    """What must be reached."""

    kind: TargetKind
    value: float

    def __str__(self) -> str:
        return f"{self.kind} {self.value:g}"


@dataclass
class Figure:
    """One line of the table. `ours[i]` and `floor[i]` come from the same round."""

    name: str
    title: str
    unit: str
    ours: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    target: Target | None = None  # none: for information
    notes: dict[str, Any] = field(default_factory=dict)
    #: Why there is no value.
    problem: str | None = None

    def ratios(self) -> list[float]:
        """Ours to the floor, round by round."""
        return [ours / floor for ours, floor in zip(self.ours, self.floor, strict=False) if floor]

    @property
    def judged(self) -> float | None:
        """The value that the target is held against."""
        if self.problem or not self.ours:
            return None
        if self.target is not None and self.target.kind == "<= floor +":
            return statistics.median(self.ours) - statistics.median(self.floor)
        if self.target is None or self.target.kind == "<=":
            return statistics.median(self.ours)
        return statistics.median(self.ratios())

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; none where there is none."""
        if self.problem:
            return False
        if self.target is None:
            return None
        judged = self.judged
        if judged is None:
            return False
        return judged >= self.target.value if self.target.kind == "ratio >=" else judged <= self.target.value

    def as_json(self) -> dict[str, Any]:
        """Everything, the single rounds too."""
        ratios = self.ratios()
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "ours": summary(self.ours),
            "floor": summary(self.floor),
            "ratio": summary(ratios),
            "target": str(self.target) if self.target else None,
            "judged": self.judged,
            "reached": self.reached,
            "problem": self.problem,
            "notes": self.notes,
        }


def summary(values: list[float]) -> dict[str, Any] | None:
    """Median, range and noise of some rounds."""
    if not values:
        return None
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "noise_percent": noise(values),
        "rounds": values,
    }


def noise(values: list[float]) -> float:
    """Half the distance between the quartiles, as a share of the median."""
    if len(values) < 2 or not statistics.median(values):
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return 50.0 * (high - low) / abs(statistics.median(values))


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
