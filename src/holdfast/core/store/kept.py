"""What an open store does beyond its engine: keeps its head file, and gives its place back when it has closed."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.store.head import Head, HeadKeeper
from holdfast.core.store.lock import DataLock
from holdfast.core.store.port import Position, Store
from holdfast.core.store.prepare import StoreConfig
from holdfast.core.store.sqlite import SqliteStore


class Keeping:
    """The time between the start and the close of one store."""

    def __init__(self, config: StoreConfig, head: Head, lock: DataLock) -> None:
        self._config = config
        self._head = head
        self._lock = lock
        self._keeper: HeadKeeper | None = None
        self.begun = False

    def begin(self, store: Store, position: Callable[[], Position]) -> None:
        """The engine runs: follow its commits."""
        self._keeper = HeadKeeper(self._config.data, self._head, position, self._config.clock)
        store.on_commit(self._keeper.committed)
        self.begun = True

    async def end(self) -> None:
        """The engine has closed: write the last head, then let others open the store."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            try:
                await keeper.close()
            finally:
                self._lock.free()


class KeptSqlite(SqliteStore):
    """The SQLite engine, opened by `open_store`."""

    keeping: Keeping

    async def start(self) -> None:
        """Start the engine, then follow its commits."""
        await super().start()
        self.keeping.begin(self, self.position)

    async def close(self) -> None:
        """Close the engine, then let others open the store; closing twice is fine."""
        try:
            await super().close()
        finally:
            await self.keeping.end()
