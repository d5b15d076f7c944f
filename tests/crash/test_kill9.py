"""kill -9 at random moments of a daemon that several clients write to: what was acknowledged is there, once."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import apsw
import pytest

from daemons import PATIENCE, Daemon, ask

#: `make crash` asks for 200.
ROUNDS = int(os.environ.get("HOLDFAST_CRASH_ROUNDS", "40"))
CLIENTS = 4
#: One kill in so many comes while the daemon starts, the others while it writes.
STARTING = 8


@dataclass
class Ledger:
    """What the clients were told: names of tokens that were made, ids of those that were revoked."""

    made: dict[str, str] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    acknowledged: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    #: Called with each acknowledgement, by the client that has just read it.
    heard: Callable[[], None] = lambda: None


class Client(threading.Thread):
    """Makes tokens and revokes every third, each write with a key of its own, repeated until it is acknowledged."""

    def __init__(self, number: int, ledger: Ledger, writers: Writers) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.number, self.ledger, self.writers = number, ledger, writers
        self.count = 0
        self.owed: tuple[str, str, object, str] | None = None  # sent, perhaps done, not acknowledged

    def run(self) -> None:
        seen = 0
        while (seen := self.writers.next(seen)) > 0:
            connection = self.writers.daemon.connect()
            try:
                while not self.writers.over:
                    self._write(connection, self.writers.daemon.token)
            except (OSError, HTTPException):
                continue  # the daemon was killed: what is owed is sent to the next one
            finally:
                connection.close()

    def _write(self, connection: Any, token: str) -> None:
        if self.owed is None:
            self.count += 1
            name = f"crash-{self.number}-{self.count}"
            self.owed = ("POST", "/api/v1/tokens", {"name": name, "scope": "read"}, name)
        method, path, body, key = self.owed
        answer = ask(connection, method, path, body, token=token, Idempotency_Key=key)
        if answer.status == 503:  # it starts, or is busy: nothing was done, the same write is tried again
            return
        if answer.status >= 400:
            self.ledger.wrong.append(f"{method} {path} ({key}) was answered {answer.status}: {answer.body}")
            raise ConnectionAbortedError
        self.ledger.heard()
        self.owed = None
        if method == "DELETE":
            self.ledger.revoked.add(path.rpartition("/")[2])
        else:
            made = answer.body["id"]
            if self.ledger.made.setdefault(key, made) != made:
                self.ledger.wrong.append(f"{key} was acknowledged twice, as {made} and {self.ledger.made[key]}")
            if self.count % 3 == 0:
                self.owed = ("DELETE", f"/api/v1/tokens/{made}", None, f"revoke-{key}")
        self.ledger.acknowledged.release()


class Writers:
    """The clients, and the daemon that they may talk to just now."""

    def __init__(self, ledger: Ledger, daemon: Daemon) -> None:
        self.daemon = daemon
        self.over = False
        self._changed = threading.Condition()
        self._started = 0
        self._clients = [Client(number, ledger, self) for number in range(CLIENTS)]
        for client in self._clients:
            client.start()

    def open(self) -> None:
        """The daemon is up (again): write to it."""
        with self._changed:
            self._started += 1
            self._changed.notify_all()

    def next(self, seen: int) -> int:
        """Wait for a daemon after the `seen`th; its number, or 0 when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.over or self._started > seen)
            return 0 if self.over else self._started

    def close(self) -> None:
        """End the clients, each after its present request."""
        with self._changed:
            self.over = True
            self._changed.notify_all()
        for client in self._clients:
            client.join(PATIENCE)
            assert not client.is_alive(), f"{client.name} hangs"


def countdown(nth: int, daemon: Daemon) -> Callable[[], None]:
    """Kills the daemon at the nth call; at none for 0."""
    left = itertools.count(nth - 1, -1)

    def heard() -> None:
        if next(left) == 0:
            daemon.running.send_signal(signal.SIGKILL)

    return heard


Reader = Callable[[str], list[dict[str, Any]]]


def _sqlite(data: Path) -> Iterator[Reader]:
    connection = apsw.Connection(str(data / "holdfast.db"))
    connection.row_trace = lambda cursor, row: dict(zip((d[0] for d in cursor.description), row, strict=True))
    try:
        assert list(connection.execute("PRAGMA integrity_check")) == [{"integrity_check": "ok"}]
        yield lambda sql: list(connection.execute(sql))
    finally:
        connection.close()


def _postgres(url: str) -> Iterator[Reader]:
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(url, row_factory=dict_row) as connection:
        yield lambda sql: connection.execute(sql).fetchall()


def check(read: Reader, ledger: Ledger) -> None:
    """Compare what the clients were told with the facts, and the facts with the log."""
    assert ledger.wrong == []
    rows = {row["id"]: row for row in read("SELECT id, name, scope, revoked_at FROM tokens")}
    names = [row["name"] for row in rows.values() if row["name"].startswith("crash-")]
    assert len(names) == len(set(names)), "a write was done twice"
    missing = {name for name, made in ledger.made.items() if rows.get(made, {}).get("name") != name}
    assert missing == set(), "acknowledged writes are gone"
    assert {made for made in ledger.revoked if rows[made]["revoked_at"] is None} == set(), "revocations are gone"

    log = read("SELECT seq, entity, entity_id, event, payload FROM change_log ORDER BY seq")
    replayed: dict[str, dict[str, Any]] = {}
    for change in log:
        if change["entity"] == "token":
            payload = json.loads(change["payload"])
            payload.pop("changed")
            assert (change["entity_id"] in replayed) == (change["event"] != "token_created")
            replayed[change["entity_id"]] = payload
    assert replayed == rows, "the log and the facts disagree"

    acts = [(row["kind"], row["subject"]) for row in read("SELECT kind, subject FROM audit")]
    ours = {made for made, row in rows.items() if row["name"].startswith("crash-")}
    assert sorted(subject for kind, subject in acts if kind == "token.created" and subject in ours) == sorted(ours)
    ended = sorted(made for made, row in rows.items() if row["revoked_at"] is not None)
    assert sorted(subject for kind, subject in acts if kind == "token.revoked") == ended


@pytest.mark.crash
@pytest.mark.guards(
    "after kill -9 at any moment every acknowledged write is there, none is there twice, and log and facts agree",
    against="a write acknowledged before its commit, or done again when the client repeats it",
    breaks=("kill9-acknowledges-before-commit", "kill9-does-it-again"),
)
@pytest.mark.timeout(1200)
def test_kill_9_at_random_moments_loses_nothing_and_does_nothing_twice(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("pg_url") if engine == "postgres" else None
    moments = random.Random(os.environ.get("HOLDFAST_CRASH_SEED", f"{engine} {os.getpid()}"))
    daemon = Daemon(tmp_path / "data", database=url)
    ledger = Ledger()
    writers = Writers(ledger, daemon)
    alarm = threading.Event()  # never set: waiting for it is how a random moment comes
    try:
        for number in range(ROUNDS):
            if number % STARTING == STARTING - 1:
                daemon.begin()
                alarm.wait(moments.uniform(0.0, 0.8))
            else:
                daemon.up()
                # Half the kills come on the heels of an acknowledgement, before the daemon can do a thing more.
                nth = moments.randrange(1, 60) if number % 2 else 0
                ledger.heard = countdown(nth, daemon)
                writers.open()
                assert ledger.acknowledged.acquire(timeout=PATIENCE), ledger.wrong or daemon.said()
                if nth:
                    daemon.ended()
                else:
                    alarm.wait(moments.uniform(0.0, 0.15))
            daemon.kill()
            while ledger.acknowledged.acquire(blocking=False):
                pass
        ledger.heard = countdown(0, daemon)
        daemon.up()
        writers.open()
        assert ledger.acknowledged.acquire(timeout=PATIENCE)
        writers.close()  # while the daemon is well
        assert daemon.stop() == 0, daemon.said()
    finally:
        writers.over = True
        daemon.close()
    assert len(ledger.made) >= ROUNDS
    for read in _postgres(url) if url else _sqlite(daemon.data):
        check(read, ledger)
