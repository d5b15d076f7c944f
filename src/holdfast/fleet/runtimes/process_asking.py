"""Asks holders: one connection for every question, bounded in time, and sure of who answers."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from holdfast.core.clock import SYSTEM
from holdfast.fleet import processes
from holdfast.fleet.processes import Identity
from holdfast.fleet.runtimes.holder import wire
from holdfast.fleet.runtimes.port import NotThere, RuntimeFailed
from holdfast.fleet.runtimes.process_register import Register

_SOON = 0.02
_HEAD = 5


class Refused(RuntimeFailed):
    """A holder answered that it cannot."""


class Asking:
    """Questions to the holders of one register."""

    def __init__(self, register: Register, answer_seconds: float) -> None:
        self._register = register
        self._answer_seconds = answer_seconds

    async def ask(
        self, name: str, holder: Identity, kind: bytes, payload: bytes = b"", seconds: float | None = None
    ) -> bytes:
        """Put one question to this very holder. Going away meanwhile takes the question back."""
        held = await asyncio.to_thread(self._register.read, name)
        if held is None or held.holder != holder:
            raise NotThere(f"{name} is not held any more: its place was taken away.")
        budget = self._answer_seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(budget):
                while True:
                    try:
                        return await self._converse(name, held.socket, holder, wire.frame(kind, payload))
                    except (FileNotFoundError, ConnectionRefusedError):
                        await asyncio.to_thread(self._call, name, held.socket, holder)
                    except BlockingIOError:
                        pass
                    await SYSTEM.sleep(_SOON)
        except TimeoutError as error:
            raise RuntimeFailed(
                f"The holder of {name} did not answer in {budget:g} s; the agent may not read."
            ) from error
        except (OSError, asyncio.IncompleteReadError) as error:
            self._require(name, holder)
            raise RuntimeFailed(f"The holder of {name} hung up: {error}; try again.") from error

    async def _converse(self, name: str, path: str, holder: Identity, question: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            pid, user = wire.peer(writer.get_extra_info("socket"))
            if not pid:
                # Others stand in line before the socket, and asyncio takes the kernel's "later" for a connection.
                raise BlockingIOError(path)
            if pid != holder.pid or user != os.geteuid():
                raise RuntimeFailed(f"What listens at {path} is process {pid}, not the holder of {name}; remove it.")
            writer.write(question)
            head = await reader.readexactly(_HEAD)
            answer = await reader.readexactly(int.from_bytes(head[1:], "big"))
        finally:
            writer.transport.abort()
        if head[:1] == wire.GONE:
            raise NotThere(f"The agent of {name} has ended.")
        if head[:1] == wire.REFUSED:
            raise Refused(f"The holder of {name} refused: {answer.decode('utf-8', 'replace')}.")
        return answer

    def _call(self, name: str, path: str, holder: Identity) -> None:
        """Have a holder make its socket again, which somebody has cleaned away: it lives, so it must be reachable."""
        self._require(name, holder)
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        processes.tell(holder, signal.SIGUSR1)

    def _require(self, name: str, holder: Identity) -> None:
        if processes.state(holder) == "dead":
            raise NotThere(f"The holder of {name} is gone, and the terminal with it.")
