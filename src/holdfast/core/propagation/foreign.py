"""Calls what a kind brings with it (its handler, its facts, its conditions), and holds off whatever they raise.

A bug in one kind is a failed try of one row, facts that were refused, or a kind that is not started: never more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import LeaseLost, StoreClosed, StoreError
from holdfast.core.propagation.outcome import Cancel, Done, Outcome, Retry, Wait
from holdfast.core.redact import plain, redact

if TYPE_CHECKING:
    from holdfast.core.propagation.job import Job
    from holdfast.core.propagation.kinds import Handler, Kind
    from holdfast.core.store.port import Unit

_LONGEST = 500


class FactsRefusedError(Exception):
    """What was to be written with an outcome could not be; its cause says why."""


class ConditionFailedError(Exception):
    """A condition could not be looked at; nothing was claimed or written in that turn."""

    def __init__(self, kind: str, condition: str) -> None:
        super().__init__(f"its condition {condition!r} failed; see the daemon's log")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Raised:
    """A try that ended in an error, in words; the error itself is for the log."""

    what: str
    error: BaseException | None = None


async def try_once(
    handler: Handler, job: Job[Any], limit: float, was_cut: Callable[[], bool]
) -> Outcome | Raised | None:
    """What a handler came to within its time; none when its lease was lost, and it is nobody's business here."""
    try:
        async with asyncio.timeout(limit) as time:
            outcome: object = await handler(job)
            if (task := asyncio.current_task()) is not None and task.cancelling():
                await asyncio.sleep(0)  # whoever cancelled it meant this try: it strikes here, not in what comes next
    except LeaseLost:
        return None
    except TimeoutError as error:
        return Raised(f"no outcome within {limit:g} s" if time.expired() else described(error), error)
    except asyncio.CancelledError:
        if was_cut():
            raise
        _take_back(asyncio.current_task())
        return Raised("the handler cancelled itself")
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 - named loop: also what would end the process, such as sys.exit()
        return Raised(described(error), error)
    if not isinstance(outcome, Done | Retry | Wait | Cancel):
        return Raised(f"the handler gave a {type(outcome).__name__}, which is no outcome")
    return outcome


def write_facts(write: Callable[[Unit], object], unit: Unit) -> None:
    """Facts that come with an outcome. What goes wrong in them is theirs; what goes wrong with the store is its own."""
    try:
        write(unit)
    except StoreClosed as error:  # a unit that is over was used: the store itself closes between units
        raise FactsRefusedError from error
    except StoreError:
        raise
    except Exception as error:
        raise FactsRefusedError from error


def unmet(kind: Kind[Any], unit: Unit) -> str | None:
    """What is in the way of a kind, by its conditions."""
    for condition in kind.conditions:
        try:
            reason = condition.unmet(unit)
        except Exception as error:
            if isinstance(error, StoreError) and error.retryable:
                raise
            raise ConditionFailedError(kind.name, condition.name) from error
        if reason is not None:
            return reason
    return None


def described(error: BaseException) -> str:
    """An error in words, also one that cannot say what it is."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - named loop
        return f"{type(error).__name__}, which cannot be put into words"


def told(text: str | None) -> str | None:
    """Text as it can be stored and shown: whole characters, no control characters, no secrets, and not too long."""
    if text is None:
        return None
    return redact(plain(text.encode("utf-8", "replace").decode()), limit=_LONGEST)


def _take_back(task: asyncio.Task[Any] | None) -> None:
    """Undo a cancellation that nobody but the handler itself has asked for."""
    while task is not None and task.cancelling():
        task.uncancel()
