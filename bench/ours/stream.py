"""Ours for the stream: the daemon itself, as `app.serve` runs it, with one more watched table, and its writers."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from bench.pack import ACT, PACK, SQL
from bench.peers.answer import Answer, serve_async
from bench.peers.pace import Progress
from holdfast import app
from holdfast.core.lifecycle import spawn
from holdfast.core.pack import Pack
from holdfast.core.store.port import Unit
from holdfast.settings import Settings

ASK = "GET /api/v1/events HTTP/1.1\r\nHost: {place}\r\nAuthorization: Bearer {token}\r\n\r\n"


class Streaming:
    """What the harness asks of a running daemon."""

    def __init__(self, daemon: app.App, data: Path, url: str, progress: Path) -> None:
        self.daemon = daemon
        self.store = daemon.store
        self.place = urlsplit(url)
        self.token = (data / "token").read_text().strip()
        self.file = progress
        self.number = 0

    async def answer(self) -> None:
        """Answer until the harness is done, then end the daemon."""
        await serve_async({"open": self.open, "burst": self.burst, "paced": self.paced})
        self.daemon.supervisor.end("the bench is done")

    async def open(self) -> Answer:
        """Where to subscribe and how."""
        return {"port": self.place.port, "request": ASK.format(place=self.place.netloc, token=self.token)}

    def _event(self, number: int, stamps: list[int] | None = None) -> Callable[[Unit], None]:
        def work(unit: Unit) -> None:
            if stamps is not None:
                stamps[number] = time.monotonic_ns()
            unit.run(
                SQL.add_thing,
                id=f"thing-{self.number + number:09d}",
                title=f"event-{number:09d}",
                size=number,
                note=None,
                body='{"kind":"bench","text":"what an event of usual size carries with it"}',
            )

        return work

    async def burst(self, *, events: int, window: int, clients: int) -> Answer:
        """Commit events as fast as these clients can, a unit each, never more than `window` ahead of the readers."""
        progress, begin, asked = Progress(self.file), time.monotonic(), 0
        subscribers = self.daemon.hub.readers

        async def client() -> None:
            nonlocal asked
            while asked < events:
                number = asked
                asked += 1
                if number >= window:
                    await progress.hold(number - window, subscribers)
                await self.store.unit(ACT, self._event(number))

        await asyncio.gather(*(client() for _ in range(clients)))
        self.number += events
        return {"from": begin, "events": events}

    async def paced(self, *, events: int, rate: float) -> Answer:
        """An event at a time at this rate, stamped inside its unit of work: before its insert, commit and fsync."""
        stamps = [0] * events
        loop = asyncio.get_running_loop()
        begin = loop.time()

        async def one(number: int) -> None:
            await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
            await self.store.unit(ACT, self._event(number, stamps))

        # Not one after the other: a slow commit must not slow down those who write after it.
        await asyncio.gather(*(one(number) for number in range(events)))
        self.number += events
        return {"stamps": stamps}


def main(data: Path, progress: Path) -> int:
    """Run the daemon; the exit status."""
    daemons: list[app.App] = []
    packs, make = app.packs, app.App

    def one_more() -> tuple[Pack, ...]:
        return (*packs(), PACK)

    def kept(*given: object, **named: object) -> app.App:
        daemons.append(make(*given, **named))  # type: ignore[arg-type]
        return daemons[-1]

    def ready(url: str) -> None:
        spawn(Streaming(daemons[0], data, url, progress).answer(), name="bench")

    app.packs = one_more
    app.App = kept  # type: ignore[assignment, misc]
    data.mkdir(parents=True, exist_ok=True)
    settings = Settings.load(data, overrides={"listen": "127.0.0.1:0", "log.level": "warning"})
    return app.serve(settings, accept_loss=False, announce=ready)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--progress", type=Path, required=True)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    raise SystemExit(main(arguments.data, arguments.progress))
