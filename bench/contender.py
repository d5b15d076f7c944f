"""A measured process (ours or a floor) and how the harness drives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent


class ContenderError(Exception):
    """A measured process ended or did not answer."""


def environment() -> dict[str, str]:
    """Ours without any HOLDFAST_* of the caller, and with this tree importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    kept["PYTHONPATH"] = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    return kept


class Contender:
    """A process of its own that waits for questions, so that floor and ours can take turns while both stay warm."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.module = module
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
            text=True,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def send(self, do: str, **what: Any) -> None:
        """Ask without waiting; every `send` needs one `receive`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            message = f"{self.module} has ended; its reason is above"
            raise ContenderError(message) from None

    def receive(self, within: float = 60.0) -> dict[str, Any]:
        """The answer to the oldest question; a process that does not answer in time is killed."""
        assert self.process.stdout is not None
        timer = threading.Timer(within, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            message = (
                f"{self.module} ended or gave no answer within {within:.0f} s; its reason, if it had one, is above"
            )
            raise ContenderError(message)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Ask and wait for the answer."""
        self.send(do, **what)
        return self.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def floor(module: str, *arguments: str) -> Contender:
    """A contender that must not know Holdfast; checked, not believed."""
    contender = Contender(module, *arguments)
    if contender.ask("whoami")["imports_holdfast"]:
        contender.process.kill()
        message = f"{module} is a floor and yet imports holdfast"
        raise ContenderError(message)
    return contender
