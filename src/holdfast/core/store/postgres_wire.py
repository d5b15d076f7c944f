"""What the processes of one PostgreSQL store tell each other, on one connection that listens and one that announces.

Announcements only save waiting for a poll: losing one, or a connection, loses nothing for those who also poll.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import psycopg

from holdfast.core import logs
from holdfast.core.ids import new_id
from holdfast.core.lifecycle import spawn
from holdfast.core.store.port import CHANGES, Topics
from holdfast.core.store.postgres_session import SQL, bounds

#: Announcements to other processes are at least this far apart.
_ANNOUNCE_SECONDS = 0.005
_RECONNECT_SECONDS = 1.0
#: PostgreSQL takes payloads of less than 8,000 bytes.
_PAYLOAD_BYTES = 7_900
#: More topics than ever fit into a payload: beyond them it no longer matters which.
_MOST_TOPICS = 2_000

_log = logs.get("store")


class Wire:
    """Who listens to which topic in this process, and LISTEN and NOTIFY between the processes of one store.

    It connects to listen when somebody in this process does, and to announce when there may be something to announce.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._origin = new_id("store")
        self._topics = Topics()
        self._unsaid: set[str] = set()
        self._to_say = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False
        #: Set while announcements of other processes reach us.
        self.listening = asyncio.Event()

    def listen(self, topic: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on the event loop when the topic is announced, here or elsewhere; what is returned ends that.

        It is called as well whenever the connection that listens is made, for what was announced before.
        """
        end = self._topics.add(topic, listener)
        self._begin("store listens", self._listen)
        self._begin("store announces", self._speak)
        return end

    def announce(self, topics: Iterable[str]) -> None:
        """Tell all who listen to these topics: at once in this process, soon and for many commits at once elsewhere."""
        self._begin("store announces", self._speak)
        self._tell(topics)

    def wrote(self) -> None:
        """Tell of a commit that wrote; a process where nobody ever listened or announced keeps that to itself."""
        self._tell((CHANGES,))

    async def close(self) -> None:
        """End the tasks and close their connections; closing twice is fine."""
        self._closed = True
        tasks, self._tasks = tuple(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, name: str, talk: Callable[[], Awaitable[None]]) -> None:
        if not self._closed and name not in self._tasks:
            self._tasks[name] = spawn(self._again(talk), name=name, forever=True)

    def _tell(self, topics: Iterable[str]) -> None:
        self._topics.tell(topics)
        if self._tasks:
            if len(self._unsaid) <= _MOST_TOPICS:  # a server that cannot be reached must not fill the memory
                self._unsaid.update(topics)
            self._to_say.set()

    async def _again(self, talk: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await talk()
            except psycopg.Error as error:
                said = " ".join(str(error).split())
                _log.warning("lost a connection to PostgreSQL for announcements; polling goes on", error=said)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True, **bounds(self._url)) as connection:
            await connection.execute(SQL.listen.postgres)
            self.listening.set()
            self._topics.tell_all()  # of what was announced before we listened
            try:
                async for notice in connection.notifies():
                    self._heard(notice.payload)
            finally:
                self.listening.clear()

    def _heard(self, payload: str) -> None:
        try:
            origin, *topics = msgspec.json.decode(payload, type=list[str])
        except (msgspec.MsgspecError, ValueError):
            origin, topics = "", []  # whoever said that may have meant anything
        if origin == self._origin:
            return
        if topics:
            self._topics.tell(topics)
        else:
            self._topics.tell_all()

    async def _speak(self) -> None:
        await self._to_say.wait()
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True, **bounds(self._url)) as connection:
            while True:
                await self._to_say.wait()
                self._to_say.clear()
                topics, self._unsaid = self._unsaid, set()
                await connection.execute(SQL.announce.postgres, {"payload": _payload(self._origin, topics)})
                await asyncio.sleep(_ANNOUNCE_SECONDS)


def _payload(origin: str, topics: Iterable[str]) -> str:
    """The origin and its topics; the origin alone stands for every topic, because there are too many to name."""
    named = json.dumps([origin, *sorted(topics)], separators=(",", ":"))  # plain ASCII, whatever a topic is made of
    return named if len(named) <= _PAYLOAD_BYTES else json.dumps([origin])
