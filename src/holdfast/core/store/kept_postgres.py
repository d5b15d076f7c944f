"""The PostgreSQL engine as `open_store` opens it; apart, because its driver is an extra."""

from __future__ import annotations

from holdfast.core.store.kept import Keeping
from holdfast.core.store.postgres import PostgresStore


class KeptPostgres(PostgresStore):
    """The PostgreSQL engine, opened by `open_store`."""

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
