"""Procrastinate on PostgreSQL, as its documentation says: an async task, `run_worker_async`, psycopg's pool.

Every option of the worker is its default, but the concurrency where it is given: `listen_notify` on, finished jobs
kept. The jobs are deferred by its synchronous connector on a thread of its own, as a web application would.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
from typing import Any

import procrastinate
import psycopg

from bench.peers.jobs import Background, Queue, serve

BATCH = 1000
STATES = """
SELECT status::text, count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing') GROUP BY status
"""


class Procrastinate(Queue):
    """One app defers, another one works: each has its connector."""

    packages = ("procrastinate", "psycopg", "psycopg-pool")

    def __init__(self, url: str, concurrency: int | None) -> None:
        super().__init__()
        self.url = url
        self.given: dict[str, Any] = {} if concurrency is None else {"concurrency": concurrency}
        self.other = psycopg.connect(url, autocommit=True)
        self.defer = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=url)).open()
        (there,) = self.other.execute("SELECT to_regclass('procrastinate_jobs') IS NOT NULL").fetchone() or (False,)
        if not there:
            self.defer.schema_manager.apply_schema()
        self.deferrer = self.defer.configure_task("noop")
        self.worker: Background | None = None
        self.running: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None

    def facts(self) -> dict[str, Any]:
        return {"postgresql": self.other.info.parameter_status("server_version"), **self.given}

    def fill(self, count: int) -> None:
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            self.deferrer.batch_defer(*({"number": number} for number in numbers))
        for table in ("procrastinate_jobs", "procrastinate_events"):
            self.other.execute(f"VACUUM ANALYZE {table}")

    def enqueue(self, number: int) -> None:
        self.deferrer.defer(number=number)

    def start(self) -> None:
        self.worker = Background(lambda: asyncio.run(self._work()))

    def stop(self) -> None:
        assert self.running is not None
        assert self.worker is not None
        loop, task = self.running
        loop.call_soon_threadsafe(task.cancel)
        self.worker.join()

    def states(self) -> dict[str, int]:
        return dict(self.other.execute(STATES).fetchall())

    async def _work(self) -> None:
        app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=self.url))

        @app.task(name="noop")
        async def noop(number: int) -> None:
            self.effect(number)

        async with app.open_async():
            work = app.run_worker_async(install_signal_handlers=False, **self.given)
            task = asyncio.ensure_future(work)
            self.running = asyncio.get_running_loop(), task
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()


def main() -> None:
    """Answer the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--concurrency", type=int, help="more than its default of one job at a time")
    given = parser.parse_args()
    # By its module's own name: Procrastinate warns of an app that is made in `__main__`.
    module = importlib.import_module("bench.peers.queue_procrastinate")
    serve(module.Procrastinate(given.url, given.concurrency))


if __name__ == "__main__":
    main()
