"""Readiness: runs the checks in the background and answers from memory.

Checks run once at start and then whenever somebody asks and the results have aged: an idle daemon that nobody asks
executes nothing. Who asks waits a moment for fresh results, never longer, and leaving early cancels no check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from holdfast.core.errors import HoldfastError
from holdfast.core.lifecycle import spawn
from holdfast.core.redact import plain, redact

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.core.health.checks import Check
    from holdfast.core.health.writing import Writing

#: Results older than this are refreshed when somebody asks.
REFRESH_SECONDS = 5.0
#: The longest that an answer waits for fresh results.
WAIT_SECONDS = 0.25
_LONGEST_ERROR = 300

Overall = Literal["ok", "degraded", "failed"]


@dataclass(frozen=True, slots=True)
class About:
    """What the answer says of the daemon."""

    roles: tuple[str, ...]
    version: str
    commit_id: str | None = None
    service: str = "holdfast"


class CheckResult(msgspec.Struct, omit_defaults=True):
    """What a check found last."""

    name: str
    status: Literal["ok", "failed", "unknown"]
    critical: bool
    latency_ms: float | None
    last_check_at: str | None
    last_ok_at: str | None
    last_error: str | None = None


class ReadinessReport(msgspec.Struct):
    """The answer of `GET /readyz`."""

    overall: Overall
    service: str
    roles: list[str]
    version: str
    commit_id: str | None
    checks: list[CheckResult]


class MatrixRow(msgspec.Struct):
    """What a check is, and what its failure means."""

    name: str
    critical: bool
    failed_means: Literal["failed", "degraded"]
    timeout_seconds: float
    doc: str


class Readiness:
    """Keeps the results of the checks."""

    name = "readiness"

    def __init__(self, checks: Sequence[Check], clock: Clock, about: About, writing: Writing) -> None:
        #: Told of every write that was refused.
        self.writing = writing
        self._checks = tuple(checks)
        self._clock = clock
        self._about = about
        self._results = {c.name: CheckResult(c.name, "unknown", c.critical, None, None, None) for c in checks}
        self._refreshed = float("-inf")
        self._wanted = asyncio.Event()
        self._done = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def about(self) -> About:
        """What the daemon says of itself."""
        return self._about

    @property
    def matrix(self) -> list[MatrixRow]:
        """Every check with its criticality, from the registry that runs them."""
        return [
            MatrixRow(c.name, c.critical, "failed" if c.critical else "degraded", c.timeout_seconds, c.doc)
            for c in self._checks
        ]

    async def start(self) -> None:
        """Run the checks a first time, then whenever asked."""
        if self._running is not None:
            return
        await self._round()
        self._running = spawn(self._loop(), name="readiness", forever=True)

    async def stop(self) -> None:
        """Run no more checks."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    async def report(self) -> ReadinessReport:
        """The newest results, refreshed first when they have aged and that takes but a moment."""
        if self._clock.monotonic() - self._refreshed >= REFRESH_SECONDS and self._running is not None:
            self._done.clear()
            self._wanted.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._done.wait()
        about = self._about
        checks = list(self._results.values())
        return ReadinessReport(self.overall, about.service, list(about.roles), about.version, about.commit_id, checks)

    @property
    def overall(self) -> Overall:
        """The worst that the results mean."""
        bad = [result for result in self._results.values() if result.status != "ok"]
        if any(result.critical for result in bad):
            return "failed"
        return "degraded" if bad else "ok"

    async def _loop(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._round()

    async def _round(self) -> None:
        await asyncio.gather(*(self._run(check) for check in self._checks))
        self._refreshed = self._clock.monotonic()
        self._done.set()

    async def _run(self, check: Check) -> None:
        begun = self._clock.monotonic()
        error: str | None = None
        try:
            async with asyncio.timeout(check.timeout_seconds):
                await check.run()
        except TimeoutError:
            error = f"no answer within {check.timeout_seconds:g} s"
        except (HoldfastError, OSError) as failure:
            error = redact(plain(str(failure)), limit=_LONGEST_ERROR)
        before = self._results[check.name]
        at = self._clock.stamp()
        self._results[check.name] = CheckResult(
            check.name,
            "ok" if error is None else "failed",
            check.critical,
            round((self._clock.monotonic() - begun) * 1000, 3),
            at,
            at if error is None else before.last_ok_at,
            error,
        )
