"""What an effect can come to: four values. An exception is none of them: it is a bug, recorded and tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit

#: Nobody waits longer than a year for anything.
_LONGEST = 366 * 86_400.0
#: Facts that come with an outcome: written in the same unit of work, and only if the lease was still held.
Then = Callable[["Unit"], object]


@dataclass(frozen=True, slots=True)
class Done:
    """The effect has happened."""

    then: Then | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed and may work later: after so many seconds, or as the schedule says. Counts as a failure."""

    after: float | None = None
    why: str = ""
    then: Then | None = None

    def __post_init__(self) -> None:
        """Refuse a wait that is none."""
        if self.after is not None:
            _check_wait(self.after)
        _check_text(self.why)


@dataclass(frozen=True, slots=True)
class Wait:
    """It cannot be done yet, which is nobody's failure: looked at again after so many seconds, or when resumed."""

    reason: str
    after: float = 60.0
    then: Then | None = None

    def __post_init__(self) -> None:
        """Refuse a wait that is none."""
        _check_wait(self.after)
        _check_text(self.reason)


@dataclass(frozen=True, slots=True)
class Cancel:
    """It is not wanted any more."""

    reason: str
    then: Then | None = None

    def __post_init__(self) -> None:
        """Refuse what says nothing."""
        _check_text(self.reason)


Outcome = Done | Retry | Wait | Cancel


def _check_wait(after: float) -> None:
    if not 0 <= after <= _LONGEST:  # nor is it NaN
        message = f"{after!r} s is no time to wait: from 0 to {_LONGEST:g} s"
        raise ValueError(message)


def _check_text(said: object) -> None:
    if not isinstance(said, str):
        message = f"{type(said).__name__} is no text: say in words why"
        raise TypeError(message)
