"""What every queue in the comparison is asked: fill, drain, pick up one by one, die in a job, go on after a death.

The worker runs in this process as its documentation says; the questions are answered on another thread, which waits
while the worker works. A job does nothing but call `effect`, which is another function in each experiment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bench.figures import percentile
from bench.peers.answer import Answer, _imports_ours, _own_stdout

#: Jobs before a latency is counted: connections open, statements are prepared.
WARM_UP = 10
#: How long a job may stay unnoticed before the experiment is given up; longer than any peer's fallback polling.
LOST_SECONDS = 45.0


class Queue(ABC):
    """A queue with its worker. `effect` gets the job's number; it may be called on the worker's thread only."""

    #: The distributions whose versions belong beside the numbers.
    packages: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.effect: Callable[[int], None] = lambda _number: None

    @abstractmethod
    def fill(self, count: int) -> None:
        """Put jobs 0 to `count` - 1 into the queue, by whatever way is quickest."""

    @abstractmethod
    def enqueue(self, number: int) -> None:
        """Put one job into the queue, durably, as an application would."""

    @abstractmethod
    def start(self) -> None:
        """Start the worker, in the background of this process."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the worker and wait until it has stopped."""

    @abstractmethod
    def states(self) -> dict[str, int]:
        """How many unfinished jobs there are in each state, as the queue's own tables say."""

    def facts(self) -> dict[str, Any]:
        """What else belongs beside the numbers."""
        return {}


class Background:
    """The worker's thread; what it raises is raised in the one that asks."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
            raise

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(60)
        if self._thread.is_alive():
            raise TimeoutError("the worker did not stop within 60 s")
        if self._error is not None:
            raise self._error


def drain(queue: Queue) -> Answer:
    """From the first job until the queue's own tables say that nothing is left to do.

    What a worker does before its first job (`startup`, in seconds) is not counted: peers connect and look at their
    schema there.
    """
    wanted = sum(queue.states().values())
    reached = threading.Event()
    seen, first = 0, 0.0

    def effect(_number: int) -> None:
        nonlocal seen, first
        if not seen:
            first = time.perf_counter()
        seen += 1
        if seen == wanted:
            reached.set()

    queue.effect = effect
    begin = time.perf_counter()
    queue.start()
    if wanted and not reached.wait(600):
        raise TimeoutError(f"{seen} of {wanted} jobs ran within 600 s")
    while queue.states():
        time.sleep(0.001)
    seconds = time.perf_counter() - first
    queue.stop()
    return {"seconds": seconds, "count": seen, "startup": first - begin}


def spread(taken: list[float]) -> dict[str, float]:
    """What a list of latencies comes to."""
    return {"p50": percentile(taken, 0.5), "p99": percentile(taken, 0.99), "max": max(taken)}


def latency(queue: Queue, count: int, seconds: float = 60.0) -> Answer:
    """Milliseconds from the enqueue until the job runs, one job at a time, the worker running and idle.

    The next job is enqueued 0 to 6 ms after the one before began. `p50`, `p99` and `max` count from when the enqueue
    returned (a job that began earlier counts as 0), `from_call` from when it was called, its commit included. After
    `seconds` no further job is enqueued; `count` says how many there were, `ms` holds them all.
    """
    begun: SimpleQueue[float] = SimpleQueue()
    queue.effect = lambda _number: begun.put(time.perf_counter())
    gap = random.Random(6)
    known, called = [], []
    queue.start()
    until = time.perf_counter() + seconds
    for number in range(count + WARM_UP):
        time.sleep(gap.uniform(0.0, 0.006))
        call = time.perf_counter()
        queue.enqueue(number)
        back = time.perf_counter()
        start = begun.get(timeout=LOST_SECONDS)
        if number >= WARM_UP:
            known.append(max(0.0, start - back) * 1e3)
            called.append((start - call) * 1e3)
            if start > until:
                break
    queue.stop()
    return {"count": len(known), **spread(known), "from_call": spread(called), "ms": known}


def recording(effects: Path, die_in: int | None) -> Callable[[int], None]:
    """An effect that writes its begin and its end into a file, and dies by signal 9 between the two in the n-th job."""
    file = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    begun = 0

    def effect(number: int) -> None:
        nonlocal begun
        begun += 1
        os.write(file, b"begin %d\n" % number)
        if begun == die_in:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(file, b"end %d\n" % number)

    return effect


def crash(queue: Queue, effects: str, die_in: int) -> Answer:
    """Work until the n-th job, and be killed in the middle of it: there is no answer."""
    queue.effect = recording(Path(effects), die_in)
    queue.start()
    time.sleep(LOST_SECONDS)
    raise TimeoutError(f"no worker came to job {die_in} within {LOST_SECONDS:.0f} s")


def recover(queue: Queue, effects: str, seconds: float) -> Answer:
    """Work again, until nothing is left or the time is over; what the queue's own tables say then."""
    queue.effect = recording(Path(effects), None)
    begin = time.perf_counter()
    queue.start()
    while (left := queue.states()) and time.perf_counter() - begin < seconds:
        time.sleep(0.05)
    taken = time.perf_counter() - begin
    queue.stop()
    return {"left": left, "seconds": taken}


def _who(queue: Queue) -> Answer:
    versions = {name: metadata.version(name) for name in queue.packages}
    return {**_imports_ours(), "versions": versions, **queue.facts()}


def _filled(queue: Queue, count: int) -> Answer:
    queue.fill(count)
    return {"count": count}


def serve(queue: Queue) -> None:
    """Answer questions until stdin ends."""
    say = _own_stdout()
    handlers: dict[str, Callable[..., Answer]] = {
        "whoami": _who,
        "fill": _filled,
        "drain": drain,
        "latency": latency,
        "crash": crash,
        "recover": recover,
    }
    for line in sys.stdin:
        question = json.loads(line)
        begin = time.process_time()
        answer = handlers[question.pop("do")](queue, **question)
        say({**answer, "cpu_seconds": time.process_time() - begin})
