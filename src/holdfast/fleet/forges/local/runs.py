"""Runs of checks in this process: which are under way, what has come of them so far, and how they are ended."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from holdfast.core import logs
from holdfast.core.clock import SYSTEM
from holdfast.core.errors import HoldfastError
from holdfast.core.redact import plain, redact
from holdfast.fleet import processes
from holdfast.fleet.forges.local.checkout import Checkout
from holdfast.fleet.forges.local.command import Bounds, Command, Ended
from holdfast.fleet.pulls.facts import Check

_GRACE_SECONDS = 2.0
_log = logs.get("forge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The checks that are to be run on one commit of one pull."""

    pull: str
    repo: Path
    commit: str
    base_commit: str
    #: The name of each check, its command, and the how-manieth run of it on this commit this is.
    commands: Mapping[str, str]
    numbers: Mapping[str, int]
    setup: tuple[str, ...] = ()
    at_once: bool = False
    copy: tuple[str, ...] = ()
    link: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Run:
    """One order under way. Its news are taken by the event loop, and come from threads."""

    order: Order
    news: deque[Check] = field(default_factory=deque)
    unwanted: threading.Event = field(default_factory=threading.Event)
    threads: list[Future[None]] = field(default_factory=list)
    #: For each of the threads the checks that have not come to an end.
    left: list[list[str]] = field(default_factory=list)
    #: When each of its checks began.
    begun: dict[str, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether all of it has come to its end."""
        return all(thread.done() for thread in self.threads)

    def news_of(self, name: str, ended: Ended | None = None) -> Check:
        """That a check runs, or how it ended, as of now."""
        order, now = self.order, SYSTEM.stamp()
        told = Check(
            name=name,
            commit=order.commit,
            state="running" if ended is None else ended.state,
            base_commit=order.base_commit,
            runs=order.numbers[name],
            started_at=self.begun.setdefault(name, now),
        )
        if ended is None:
            return told
        return msgspec.structs.replace(
            told, step=ended.step, exit_status=ended.exit_status, tail=ended.tail, finished_at=now
        )

    def fallen(self) -> tuple[Check, ...]:
        """Once it is over: the checks whose end nobody told, because what ran them met an error. They are errored."""
        found: list[Check] = []
        for thread, left in zip(self.threads, self.left, strict=True):
            error = None if thread.cancelled() else thread.exception()
            if error is not None:
                _log.error("checks met an error that nobody foresaw", pull=self.order.pull, exc_info=error)
                found += [self.news_of(name, _unforeseen(error)) for name in left]
        return tuple(found)

    def take(self) -> tuple[Check, ...]:
        """What has come of it since this was asked last; of each check the newest."""
        found: dict[str, Check] = {}
        while self.news:
            check = self.news.popleft()
            found[check.name] = check
        return tuple(found.values())


class Runs:
    """The runs of one process."""

    def __init__(
        self,
        store: str,
        folder: Path,
        bounds: Bounds,
        at_once: int,
        tell: Callable[[str], None],
        environ: Callable[[], Mapping[str, str]],
    ) -> None:
        self._store = store
        self._folder = folder
        self._bounds = bounds
        self._tell = tell
        self._environ = environ
        self._at_once = at_once
        self._pool: ThreadPoolExecutor | None = None
        self._runs: dict[str, Run] = {}

    def of(self, pull: str) -> Run | None:
        """The run of this pull's checks, if there is one whose end was not taken."""
        return self._runs.get(pull)

    def start(self, order: Order) -> Run:
        """Begin; what comes of it is told pull by pull."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="check")
        run = self._runs[order.pull] = Run(order)
        parts = [(name,) for name in order.commands] if order.at_once else [tuple(order.commands)]
        for number, names in enumerate(parts):
            run.left.append(list(names))
            run.threads.append(self._pool.submit(self._do, run, number, run.left[number]))
        for thread in run.threads:
            thread.add_done_callback(lambda _: self._tell(order.pull))
        return run

    def forget(self, run: Run) -> None:
        """All that came of it was taken."""
        if self._runs.get(run.order.pull) is run:
            del self._runs[run.order.pull]

    async def end(self, run: Run) -> None:
        """End it now; what came of it is still there to be taken."""
        run.unwanted.set()
        for thread in run.threads:
            thread.cancel()
        threads = [asyncio.wrap_future(thread) for thread in run.threads if not thread.cancelled()]
        if threads:
            await asyncio.wait(threads)

    async def end_all(self) -> None:
        """End them all; those that are to come to an end are run again by whoever comes next."""
        for run in list(self._runs.values()):
            await self.end(run)
        self._runs.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def reap(self) -> None:
        """End what earlier processes left running, and take their folders away. Blocks."""
        left = [
            each
            for each in processes.owned(None, {"HOLDFAST_STORE": self._store})
            if processes.mark(each, "HOLDFAST_CHECK") is not None
        ]
        if left:
            processes.end(left, _GRACE_SECONDS)
        for home in self._folder.glob("*/*"):
            try:
                Checkout(Path(), "", self._store, home.parent.name, home).clear()
            except HoldfastError as error:
                _log.warning("a folder of checks stays", why=error.message)

    # --- in a thread -------------------------------------------------------------------------------------------

    def _do(self, run: Run, number: int, left: list[str]) -> None:
        """Run these checks, one after the other in one checkout. Whatever goes wrong with that is told of each."""
        order = run.order
        home = self._folder / order.pull / str(number)
        place = Checkout(order.repo, order.commit, self._store, order.pull, home, order.copy, order.link)
        try:
            processes.end(lambda: processes.owned(None, self._marks(order.pull, left[0])), _GRACE_SECONDS)
            if run.unwanted.is_set():
                return
            place.make()
            failure = self._set_up(run, place, left[0])
            while left:
                self._say(run, left[0])
                ended = failure or self._command(run, place, left[0], order.commands[left[0]])
                self._say(run, left[0], ended)
                left.pop(0)
            place.clear()
        except HoldfastError as error:
            for name in left:
                self._say(run, name, Ended("errored", "could not be run", None, error.message))

    def _set_up(self, run: Run, place: Checkout, name: str) -> Ended | None:
        """Make the checkout ready as every worktree is; how that failed, if it did."""
        for words in run.order.setup:
            ended = self._command(run, place, name, words)
            if ended.state != "passed":
                return Ended(ended.state, f"the set-up command {words!r} {ended.step}", ended.exit_status, ended.tail)
        return None

    def _command(self, run: Run, place: Checkout, name: str, words: str) -> Ended:
        marks = self._marks(run.order.pull, name)
        env = _environment(self._environ(), run.order, place)
        # In a thread of its own: whatever leaves that is an end of this check, and of no other one.
        with ThreadPoolExecutor(1, thread_name_prefix="command") as lone:
            done = lone.submit(Command(words, place.tree, env, marks, self._bounds, run.unwanted).run)
        error = done.exception()
        if error is None:
            return done.result()
        if isinstance(error, HoldfastError):
            raise error
        _log.error("a check met an error that nobody foresaw", pull=run.order.pull, check=name, exc_info=error)
        return _unforeseen(error)

    def _marks(self, pull: str, name: str) -> dict[str, str]:
        check = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return {"HOLDFAST_STORE": self._store, "HOLDFAST_PULL": pull, "HOLDFAST_CHECK": check}

    def _say(self, run: Run, name: str, ended: Ended | None = None) -> None:
        """Tell that a check runs, or how it ended."""
        run.news.append(run.news_of(name, ended))
        self._tell(run.order.pull)


def _unforeseen(error: BaseException) -> Ended:
    return Ended("errored", "could not be run", None, redact(plain(f"{type(error).__name__}: {error}")))


def _environment(environ: Mapping[str, str], order: Order, place: Checkout) -> dict[str, str]:
    """The person's own, without what would point git elsewhere."""
    env = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    return env | {
        "CI": "true",
        "TMPDIR": str(place.temporary),
        "PWD": str(place.tree),
        "HOLDFAST_HEAD": order.commit,
        "HOLDFAST_BASE": order.base_commit,
    }
