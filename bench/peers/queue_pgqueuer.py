"""PgQueuer on PostgreSQL, as its documentation says: one asyncpg connection for the worker, on uvloop as `pgq run`.

Its tables are logged (`durable`, its default) and have its recommended autovacuum settings. Every option of the worker
is its default, but the batch size where it is given. The jobs are enqueued by its synchronous queries.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import asyncpg
import psycopg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, SyncPsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries, SyncQueries

from bench.peers.jobs import Background, Queue, serve

STATES = "SELECT status::text, count(*) FROM pgqueuer GROUP BY status"


async def _install(url: str) -> None:
    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()


class Pgqueuer(Queue):
    """The queue and its worker."""

    packages = ("pgqueuer", "asyncpg", "uvloop", "psycopg")

    def __init__(self, url: str, batch: int | None) -> None:
        super().__init__()
        self.url = url
        self.given: dict[str, Any] = {} if batch is None else {"batch_size": batch}
        self.other = psycopg.connect(url, autocommit=True)
        (there,) = self.other.execute("SELECT to_regclass('pgqueuer') IS NOT NULL").fetchone() or (False,)
        if not there:
            asyncio.run(_install(url))
        self.queries = SyncQueries(SyncPsycopgDriver(self.other))
        self.worker: Background | None = None
        self.running: tuple[asyncio.AbstractEventLoop, PgQueuer] | None = None

    def facts(self) -> dict[str, Any]:
        return {"postgresql": self.other.info.parameter_status("server_version"), **self.given}

    def fill(self, count: int) -> None:
        self.queries.enqueue(["noop"] * count, [b"%d" % number for number in range(count)], [0] * count)
        for table in ("pgqueuer", "pgqueuer_log"):
            self.other.execute(f"VACUUM ANALYZE {table}")

    def enqueue(self, number: int) -> None:
        self.queries.enqueue("noop", b"%d" % number)

    def start(self) -> None:
        self.worker = Background(lambda: uvloop.run(self._work()))

    def stop(self) -> None:
        assert self.running is not None
        assert self.worker is not None
        loop, pgq = self.running
        loop.call_soon_threadsafe(pgq.shutdown.set)
        self.worker.join()

    def states(self) -> dict[str, int]:
        return dict(self.other.execute(STATES).fetchall())

    async def _work(self) -> None:
        connection = await asyncpg.connect(self.url)
        pgq = PgQueuer(AsyncpgDriver(connection))

        @pgq.entrypoint("noop")
        async def noop(job: Job) -> None:
            self.effect(int(job.payload or b"0"))

        self.running = asyncio.get_running_loop(), pgq
        await pgq.run(**self.given)
        await connection.close()


def main() -> None:
    """Answer the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--batch", type=int, help="jobs a fetch, other than its default of 10")
    given = parser.parse_args()
    serve(Pgqueuer(given.url, given.batch))


if __name__ == "__main__":
    main()
