"""The supervisor: order, deaths, signals, grace. Real event loop, fake services."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from holdfast.core.lifecycle import Part, Supervisor, spawn

_GRACE = 5.0


class Recorder:
    """Makes services that write down what becomes of them."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def part(self, name: str, *, on_start: Callable[[], object] | None = None, fails: bool = False) -> Part:
        async def start() -> None:
            self.said.append(f"+{name}")
            if fails:
                message = f"{name} is broken"
                raise RuntimeError(message)
            if on_start is not None:
                on_start()

        async def stop() -> None:
            self.said.append(f"-{name}")

        return Part(name, start, stop)


@pytest.mark.guards(
    "services start in order and stop in reverse",
    against="a store closed under the services that still use it",
    breaks=("lifecycle-stops-in-starting-order",),
)
async def test_services_start_in_order_and_stop_in_reverse() -> None:
    seen = Recorder()
    supervisor = Supervisor([seen.part("store"), seen.part("feed"), seen.part("web")], stop_seconds=_GRACE)
    assert await supervisor.run(ready=lambda: supervisor.end("the test is over")) == 0
    assert seen.said == ["+store", "+feed", "+web", "-web", "-feed", "-store"]


@pytest.mark.guards(
    "a task that dies takes the daemon down with status 1 and says which and why",
    against="a daemon left half alive: it answers, but its feed stands still",
    breaks=("lifecycle-a-dead-task-is-nobodys-business",),
)
async def test_a_dying_task_ends_everything_with_status_1_and_is_named() -> None:
    async def die() -> None:
        message = "lost my way"
        raise ValueError(message)

    seen = Recorder()
    services = [seen.part("store"), seen.part("feed", on_start=lambda: spawn(die(), name="feed loop"))]
    supervisor = Supervisor(services, stop_seconds=_GRACE)
    async with asyncio.timeout(_GRACE):
        assert await supervisor.run() == 1
    assert [str(death) for death in supervisor.deaths] == ["the task 'feed loop' died: ValueError: lost my way"]
    assert seen.said == ["+store", "+feed", "-feed", "-store"]


async def test_a_task_that_was_to_run_for_ever_and_returns_is_a_death_too() -> None:
    async def leave() -> None:
        return

    seen = Recorder()
    part = seen.part("feed", on_start=lambda: spawn(leave(), name="feed loop", forever=True))
    async with asyncio.timeout(_GRACE):
        assert await Supervisor([part], stop_seconds=_GRACE).run() == 1


async def test_a_task_that_ends_well_or_is_cancelled_or_is_not_vital_disturbs_nobody() -> None:
    async def leave() -> None:
        return

    async def die() -> None:
        message = "my maker knows"
        raise ValueError(message)

    cancelled: list[asyncio.Task[bool]] = []
    begun = asyncio.Event()

    def begin() -> None:
        spawn(leave(), name="short")
        cancelled.append(spawn(asyncio.Event().wait(), name="cancelled", forever=True))
        cancelled[0].cancel()
        begun.set()

    seen = Recorder()
    supervisor = Supervisor([seen.part("feed", on_start=begin)], stop_seconds=_GRACE)
    running = spawn(supervisor.run(), name="supervisor", vital=False)
    await begun.wait()
    await asyncio.wait(cancelled)
    with pytest.raises(ValueError, match="my maker knows"):
        await spawn(die(), name="not vital", vital=False)
    supervisor.end("the test is over")
    assert await running == 0
    assert supervisor.deaths == []


@pytest.mark.guards(
    "An announcement that fails ends the daemon with status 1, and its services are stopped in order.",
    against="a store that is never closed because nobody was there to read that it is open",
    breaks=("lifecycle-forgets-to-stop-after-a-failed-announcement",),
)
async def test_an_announcement_that_fails_stops_everything_in_order() -> None:
    def ready() -> None:
        raise BrokenPipeError

    seen = Recorder()
    supervisor = Supervisor([seen.part("store"), seen.part("web")], stop_seconds=_GRACE)
    async with asyncio.timeout(_GRACE):
        assert await supervisor.run(ready) == 1
    assert [str(death) for death in supervisor.deaths] == ["the task 'announcement' died: BrokenPipeError: "]
    assert seen.said == ["+store", "+web", "-web", "-store"]


async def test_a_failed_start_stops_what_runs_and_is_raised() -> None:
    seen = Recorder()
    services = [seen.part("store"), seen.part("feed", fails=True), seen.part("web")]
    with pytest.raises(RuntimeError, match="feed is broken"):
        await Supervisor(services, stop_seconds=_GRACE).run()
    assert seen.said == ["+store", "+feed", "-feed", "-store"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    seen = Recorder()
    supervisor = Supervisor([seen.part("store"), seen.part("web")], stop_seconds=_GRACE)
    async with asyncio.timeout(_GRACE):
        assert await supervisor.run(ready=lambda: os.kill(os.getpid(), number)) == 0
    assert seen.said == ["+store", "+web", "-web", "-store"]


async def test_a_signal_during_the_start_starts_nothing_further() -> None:
    seen = Recorder()
    ready: list[str] = []
    supervisor: Supervisor
    first = seen.part("store", on_start=lambda: supervisor.end("told to"))
    supervisor = Supervisor([first, seen.part("web")], stop_seconds=_GRACE)
    assert await supervisor.run(ready=lambda: ready.append("ready")) == 0
    assert seen.said == ["+store", "-store"]
    assert ready == []


@pytest.mark.guards(
    "a stop ends within its grace, whatever hangs, and says what it did not wait for",
    against="a daemon that cannot be ended but by kill -9 and keeps its data folder locked",
    breaks=("lifecycle-waits-for-ever-on-a-stop",),
)
async def test_what_hangs_in_its_stop_is_abandoned_when_the_grace_is_over() -> None:
    async def nothing() -> None:
        return

    async def hang() -> None:
        await asyncio.Event().wait()

    seen = Recorder()
    supervisor = Supervisor([seen.part("store"), Part("web", nothing, hang)], stop_seconds=0.05)
    async with asyncio.timeout(_GRACE):
        assert await supervisor.run(ready=lambda: supervisor.end("the test is over")) == 1
    assert supervisor.overruns == ["0.05 s of grace were over: ended without waiting for: web, store"]


async def test_a_second_signal_ends_it_without_waiting() -> None:
    async def nothing() -> None:
        return

    supervisor: Supervisor

    async def hang() -> None:
        supervisor.end("second")
        await asyncio.Event().wait()

    supervisor = Supervisor([Part("web", nothing, hang)], stop_seconds=600)
    async with asyncio.timeout(_GRACE):
        assert await supervisor.run(ready=lambda: supervisor.end("first")) == 1
    assert supervisor.overruns == ["a second signal came: ended without waiting for: web"]


async def test_an_error_in_one_stop_does_not_keep_the_others_running_and_is_told() -> None:
    async def nothing() -> None:
        return

    async def fail() -> None:
        message = "no"
        raise OSError(message)

    seen = Recorder()
    supervisor = Supervisor([seen.part("store"), Part("web", nothing, fail)], stop_seconds=_GRACE)
    assert await supervisor.run(ready=lambda: supervisor.end("the test is over")) == 1
    assert supervisor.overruns == ["web failed to stop: OSError: no"]
    assert seen.said == ["+store", "-store"]
