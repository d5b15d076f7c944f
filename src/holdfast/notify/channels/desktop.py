"""The channel `desktop`: a notification of the desktop, on Linux or macOS, else the bell of the daemon's terminal."""

from __future__ import annotations

import asyncio
import html
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.core.redact import plain, redact
from holdfast.notify.channels.port import Delivered, Failed, Sent, Telling

_LONGEST = 500
_SAID_BYTES = 2_000
_URGENCY = {"low": "low", "normal": "normal", "high": "critical"}
#: The words come as arguments, so that none of them is read as a script.
_APPLESCRIPT = (
    "on run argv\n"
    "display notification (item 2 of argv) with title (item 1 of argv)\n"
    "end run"
)  # fmt: skip


class Desktop:
    """The desktop of whoever started the daemon."""

    where = "this machine"
    mark = "here"

    def __init__(
        self,
        name: str,
        env: Mapping[str, str],
        *,
        platform: str = sys.platform,
        terminal: Path = Path("/dev/tty"),
    ) -> None:
        self.name = name
        self._env = env
        self._platform = platform
        self._terminal = terminal

    async def unavailable(self) -> str | None:
        """Why nothing can be shown."""
        if self._program() is not None:
            return None
        try:
            os.close(os.open(self._terminal, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK))
        except OSError:
            return f"{self._lacks()}, and the daemon has no terminal whose bell it could ring"
        return None

    async def send(self, telling: Telling, seconds: float) -> Sent:
        """Show it."""
        title, text = _title(telling), redact(plain(telling.text), limit=_LONGEST)
        program = self._program()
        if program is None:
            return self._ring(f"{title}: {text}")
        try:
            async with asyncio.timeout(seconds):
                return await _run(self._command(program, telling, title, text), self._env)
        except TimeoutError:
            return Failed(f"{Path(program).name} did not end within {seconds:g} s")
        except OSError as error:
            return Failed(f"{Path(program).name} could not be started: {error.strerror}")

    def _program(self) -> str | None:
        path = self._env.get("PATH", "")
        if self._platform == "darwin":
            return shutil.which("osascript", path=path)
        return shutil.which("notify-send", path=path) if self._has_session() else None

    def _has_session(self) -> bool:
        """Whether there is a desktop session to be told."""
        runtime = self._env.get("XDG_RUNTIME_DIR")
        return bool(self._env.get("DBUS_SESSION_BUS_ADDRESS")) or (
            runtime is not None and Path(runtime, "bus").exists()
        )

    def _lacks(self) -> str:
        if self._platform == "darwin":
            return "osascript is not in the daemon's PATH"
        if not self._has_session():
            return "the daemon was started outside a desktop session"
        return "notify-send is not installed (on Debian: apt install libnotify-bin)"

    def _command(self, program: str, telling: Telling, title: str, text: str) -> list[str]:
        if self._platform == "darwin":
            return [program, "-e", _APPLESCRIPT, "--", title, text]
        # Notification servers read the text as markup.
        urgency = _URGENCY[telling.urgency]
        return [program, "--app-name=Holdfast", f"--urgency={urgency}", "--", title, html.escape(text, quote=False)]

    def _ring(self, text: str) -> Sent:
        """Ring the bell, and say on the same terminal what for."""
        try:
            terminal = os.open(self._terminal, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return Failed(f"{self._lacks()}, and the daemon has no terminal whose bell it could ring")
        try:
            os.write(terminal, f"\a\r{text}\r\n".encode())
        except OSError as error:
            return Failed(f"the daemon's terminal takes nothing: {error.strerror}")
        finally:
            os.close(terminal)
        return Delivered()


def _title(telling: Telling) -> str:
    again = " (still)" if telling.stage == "escalated" else ""
    return plain(f"Holdfast: {telling.kind}{again}, {telling.subject}")


async def _run(command: Sequence[str], env: Mapping[str, str]) -> Sent:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=dict(env), start_new_session=True
    )
    assert process.stderr is not None
    try:
        said = await process.stderr.read(_SAID_BYTES)
        status = await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    if status == 0:
        return Delivered()
    words = redact(plain(said.decode("utf-8", "replace")).strip(), limit=_LONGEST)
    return Failed(f"{Path(command[0]).name} ended with {status}" + (f": {words}" if words else ""))
