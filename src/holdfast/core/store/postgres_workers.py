"""Threads that each own one connection and take jobs from one bounded queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

from holdfast.core import faults
from holdfast.core.errors import StoreBusy
from holdfast.core.store.port import Act
from holdfast.core.store.postgres_runner import Done

ANSWERED = faults.point("postgres.answered", "the event loop has been handed what a unit or a read gave")


class Runner(Protocol):
    """What a thread does with a job."""

    def run(self, act: Act | None, work: Callable[[Any], Any], /, *, guarded: bool) -> Done:
        """Do it."""
        ...

    def rest(self) -> None:
        """Do what can wait until the caller has been answered."""
        ...

    def close(self) -> None:
        """Give back what the runner holds."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A unit of work or a read, and who waits for it."""

    work: Callable[[Any], Any]
    future: asyncio.Future[Any]
    act: Act | None = None
    guarded: bool = False


class Workers:
    """A fixed number of threads; `answer` is called on them with every job that is done."""

    def __init__(self, name: str, runners: list[Runner], *, queue: int, answer: Callable[[Job, Done], None]) -> None:
        self._name = name
        self._limit = queue
        self._answer = answer
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, args=(runner,), name=f"{name}-{number}", daemon=True)
            for number, runner in enumerate(runners)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; raises when too many wait already."""
        if self._jobs.qsize() >= self._limit:
            raise StoreBusy(f"{self._limit} wait for the store already ({self._name}); nothing was written, try again")
        self._jobs.put(job)

    def finish(self) -> None:
        """Take no more after what is queued; `join` waits for the end."""
        for _ in self._threads:
            self._jobs.put(None)

    def join(self) -> None:
        """Wait until every thread is done."""
        for thread in self._threads:
            thread.join()

    def _serve(self, runner: Runner) -> None:
        while (job := self._jobs.get()) is not None:
            if job.future.cancelled():
                continue
            try:
                done = runner.run(job.act, job.work, guarded=job.guarded)
            except StopIteration as error:
                done = Done(error=_as_runtime_error(error))
            except BaseException as error:  # noqa: BLE001 - the store's writer loop: the caller gets it, the thread goes on
                done = Done(error=error)
            self._answer(job, done)
            ANSWERED()
            runner.rest()
        runner.close()


def _as_runtime_error(error: StopIteration) -> RuntimeError:
    """A future cannot carry StopIteration, and its caller would wait for ever."""
    told = RuntimeError("the work raised StopIteration")
    told.__cause__ = error
    return told
