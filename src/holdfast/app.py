"""The composition root: from settings to a running daemon. The only file that names concrete adapters."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import uvloop

from holdfast.core import lanes, logs
from holdfast.core.clock import SYSTEM, Clock
from holdfast.core.errors import HoldfastError
from holdfast.core.lifecycle import Part, Service, Supervisor, spawn
from holdfast.core.store.lock import DataLock, hold_data
from holdfast.core.version import VERSION, commit_id
from holdfast.core.web import server

if TYPE_CHECKING:
    from holdfast.core.access.tokens import Tokens
    from holdfast.core.changes.feed import Feed
    from holdfast.core.changes.hub import Hub
    from holdfast.core.changes.retention import Retention
    from holdfast.core.health.readiness import Readiness
    from holdfast.core.pack import Means, Pack
    from holdfast.core.propagation.service import Propagations
    from holdfast.core.store.port import Store
    from holdfast.settings import Settings

#: How long a thread may hold the interpreter while another waits for it. The writer thread and the event loop hand it
#: to each other with every write: at Python's own 5 ms that alone would be most of the time of a write.
SWITCH_SECONDS = 0.0005

#: How long a stop waits for requests under way. Work that takes longer is owed and done by the runner.
ANSWER_SECONDS = 10.0
#: How long threads are waited for in any case: most end as soon as nothing is asked of them any more.
_LAST_SECONDS = 0.2

_log = logs.get("app")


def packs() -> tuple[Pack, ...]:
    """What this daemon is made of. Adding a pack is adding it here."""
    from holdfast.core.propagation.pack import PROPAGATION  # noqa: PLC0415 - see `_open_store`
    from holdfast.core.store.pack import CORE  # noqa: PLC0415
    from holdfast.fleet import FLEET  # noqa: PLC0415
    from holdfast.notify import NOTIFY  # noqa: PLC0415
    from holdfast.page import PAGE  # noqa: PLC0415

    return (CORE, PROPAGATION, NOTIFY, FLEET, PAGE)


@dataclass(frozen=True)
class _Given:
    """What a daemon is started with, beside its settings."""

    lock: DataLock
    url: str
    accept_loss: bool
    clock: Clock


def _services_of_packs(means: Means) -> list[Service]:
    """What the packs run in a process that does their work."""
    if "worker" not in means.settings.roles:
        return []
    return [service for pack in means.packs if pack.services is not None for service in pack.services(means)]


class App:
    """The daemon, put together: what is started, in which order, with what."""

    store: Store
    tokens: Tokens
    feed: Feed
    hub: Hub
    retention: Retention
    readiness: Readiness
    means: Means
    propagations: Propagations

    def __init__(
        self,
        settings: Settings,
        lock: DataLock,
        *,
        url: str = "",
        accept_loss: bool = False,
        clock: Clock = SYSTEM,
    ) -> None:
        self._settings = settings
        self._given = _Given(lock, url, accept_loss, clock)
        self.front = server.Front(roles=settings.roles, version=VERSION, commit_id=commit_id())
        self.supervisor = Supervisor(self._services(), stop_seconds=settings.stop_seconds)

    def _services(self) -> tuple[Service, ...]:
        """In the order of starting; each leans only on those before it."""
        return (
            Part("store", self._open_store, self._close_store),
            # These are made when the store is open: what is meant here is whatever the name stands for by then.
            Part("feed", lambda: self.feed.start(), lambda: self.feed.stop()),  # noqa: PLW0108
            Part("tokens", lambda: self.tokens.start(), lambda: self.tokens.stop()),  # noqa: PLW0108
            Part("stream", lambda: self.hub.start(), lambda: self.hub.stop()),  # noqa: PLW0108
            Part("retention", lambda: self.retention.start(), lambda: self.retention.stop()),  # noqa: PLW0108
            Part("packs", self._start_packs, self._stop_packs),
            Part("propagation", lambda: self.propagations.start(), lambda: self.propagations.stop()),  # noqa: PLW0108
            Part("readiness", lambda: self.readiness.start(), lambda: self.readiness.stop()),  # noqa: PLW0108
            Part("doors", self._open_doors, self._close_doors),
        )

    async def _open_store(self) -> None:
        self.front.doing("opening the store")
        # The listener answers already. The web stack takes longer to import than a store takes to open: both at once.
        loading = spawn(asyncio.to_thread(_load_web_stack), name="load the web stack", vital=False)
        try:
            from holdfast.core.access.tokens import ensure_first  # noqa: PLC0415
            from holdfast.core.store.opening import StoreConfig, open_store  # noqa: PLC0415
            from holdfast.core.store.options import StoreOptions  # noqa: PLC0415

            limits = self._settings.store
            options = StoreOptions(
                unit_seconds=limits.unit_seconds,
                read_seconds=limits.read_seconds,
                readers=limits.readers,
                writers=limits.writers,
                queue=limits.queue,
            )
            config = StoreConfig(
                data=self._settings.data,
                packs=packs(),
                url=self._settings.database,
                clock=self._given.clock,
                accept_loss=self._given.accept_loss,
                options=options,
            )
            self.store = await open_store(config, self._given.lock)
        finally:
            await loading
        _log.info("store open", dialect=self.store.dialect, store=self.store.uuid, held=self.store.effects_held)
        self.front.doing("starting")
        self._make_services()
        await ensure_first(self.store, self._settings.data / "token")

    def _make_services(self) -> None:
        """What stands on an open store; nothing of it runs yet."""
        from holdfast.core.access.tokens import Tokens  # noqa: PLC0415
        from holdfast.core.changes.feed import Feed  # noqa: PLC0415
        from holdfast.core.changes.hub import Hub, HubOptions  # noqa: PLC0415
        from holdfast.core.changes.retention import Keep, Retention  # noqa: PLC0415
        from holdfast.core.health.checks import core_checks  # noqa: PLC0415
        from holdfast.core.health.readiness import About, Readiness  # noqa: PLC0415
        from holdfast.core.health.writing import Writing  # noqa: PLC0415
        from holdfast.core.pack import Means  # noqa: PLC0415
        from holdfast.core.propagation.kinds import DRAIN_SECONDS  # noqa: PLC0415
        from holdfast.core.propagation.service import Propagations  # noqa: PLC0415

        settings, store, clock = self._settings, self.store, self._given.clock
        self.feed = Feed(store, clock)
        self.tokens = Tokens(store, self.feed, clock)
        stream = settings.stream
        self.hub = Hub(
            self.feed,
            clock,
            HubOptions(
                most_changes=stream.ring_events,
                most_bytes=stream.ring_bytes,
                most_readers=stream.subscribers,
                keep_alive_seconds=stream.keep_alive_seconds,
            ),
        )
        keep = Keep(age=timedelta(days=settings.changes.keep_days), count=settings.changes.keep_rows)
        self.retention = Retention(store, self.feed, clock, keep)
        does = "worker" in settings.roles
        self.means = Means(store, clock, settings, packs(), self._given.url, self.tokens)
        drain_seconds = min(DRAIN_SECONDS, 0.8 * settings.stop_seconds)
        self.propagations = Propagations(self.means, does=does, drain_seconds=drain_seconds)
        about = About(settings.roles, VERSION, commit_id())
        writing = Writing(store)
        self.readiness = Readiness(core_checks(store, self.feed, writing, settings.data), clock, about, writing)

    async def _start_packs(self) -> None:
        for service in self.means.one(_services_of_packs):
            await service.start()

    async def _stop_packs(self) -> None:
        for service in reversed(self.means.one(_services_of_packs)):
            await service.stop()

    async def _open_doors(self) -> None:
        from holdfast.core.web.deps import Deps, Propagating  # noqa: PLC0415
        from holdfast.core.web.factory import build_app  # noqa: PLC0415

        deps = Deps(
            means=self.means,
            feed=self.feed,
            hub=self.hub,
            tokens=self.tokens,
            readiness=self.readiness,
            propagations=Propagating(self.propagations.registry, self.propagations.runner),
        )
        app = build_app(packs(), deps)
        await self._record("daemon.started")
        self.front.open(app)

    async def _close_doors(self) -> None:
        """Send newcomers away, end the streams, let what is under way be answered; then nobody needs the store."""
        self.front.close()
        try:
            await self.hub.stop()
        finally:  # a stream that died of an error raises it again; others may be under way all the same
            await self._until_answered()
        if not self.supervisor.deaths:
            await self._record("daemon.stopped")

    async def _until_answered(self) -> None:
        """Requests under way are answered; a client that does not take its answer keeps nobody."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.front.idle()
        except TimeoutError:
            _log.warning("ended with requests unanswered: their clients took nothing", seconds=ANSWER_SECONDS)

    async def _close_store(self) -> None:
        if hasattr(self, "store"):  # the start may have failed before there was one
            await self.store.close()

    async def _record(self, kind: str) -> None:
        from holdfast.core import audit  # noqa: PLC0415
        from holdfast.core.store.port import Act, Unit  # noqa: PLC0415

        detail = {"version": VERSION, "pid": os.getpid()}

        def work(unit: Unit) -> None:
            audit.record(unit, kind, self._settings.host, detail)

        await self.store.unit(Act("daemon", kind), work)


def _load_web_stack() -> None:
    from holdfast.core.web import factory  # noqa: PLC0415

    _log.debug("web stack loaded", module=factory.__name__)


# --- the process -----------------------------------------------------------------------------------------------


def serve(
    settings: Settings,
    *,
    accept_loss: bool,
    announce: Callable[[str], None],
    when_ready: Sequence[Callable[[str], None]] = (),
) -> int:
    """Run the daemon in this process until it ends; the exit status."""
    logs.configure(settings.log.level, settings.log.format)
    sys.setswitchinterval(SWITCH_SECONDS)
    host, port = settings.address
    tls = (settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
    server.require_safe(host, tls=tls is not None, insecure=settings.insecure_listen)
    with hold_data(settings.data) as lock, server.bind(host, port) as sock:
        url = server.url_of(sock, tls=tls is not None)
        lock.describe(url=url)

        async def live() -> int:
            app = App(settings, lock, url=url, accept_loss=accept_loss)
            listener = server.Server(app.front, sock, tls=tls)
            short = ThreadPoolExecutor(lanes.SHORT, thread_name_prefix="holdfast-short")
            asyncio.get_running_loop().set_default_executor(short)

            def ready() -> None:
                # What start-up made lives as long as the process: the collector need not look at it again.
                gc.enable()
                gc.freeze()
                announce(url)
                for task in when_ready:
                    spawn(_afterwards(task, url), name="when ready", vital=False)

            await listener.start()
            try:
                status = await app.supervisor.run(ready)
                _leave(app.supervisor)
            finally:
                await listener.stop()
            _leave_threads(app.supervisor, short, status)
            return status

        gc.disable()  # start-up only makes; collecting meanwhile costs a tenth of it
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(live())


async def _afterwards(task: Callable[[str], None], url: str) -> None:
    try:
        await asyncio.to_thread(task, url)
    except HoldfastError as error:
        _log.error("task after start failed", why=error.message)


def _leave(supervisor: Supervisor) -> None:
    """Say why it ends, if it is not as asked; leave at once when something could not be waited for."""
    for said in (*map(str, supervisor.deaths), *supervisor.overruns):
        sys.stderr.write(f"holdfast: {said}\n")
    if supervisor.overruns:
        _exit(1)


def _leave_threads(supervisor: Supervisor, short: ThreadPoolExecutor, status: int) -> None:
    """Go, in the rest of the grace, though threads go on: everything is stopped, and nobody needs what they do."""
    unended = lanes.unended(short, max(supervisor.grace, _LAST_SECONDS))
    if unended:
        _log.warning("threads are left behind", threads=unended)
        _exit(status)


def _exit(status: int) -> NoReturn:
    """Leave at once. The interpreter's own end would wait for every thread; this is as safe as kill -9."""
    lanes.leave_behind()
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(status)
