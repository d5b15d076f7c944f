"""What ends a command early, and the exit status it stands for."""

from __future__ import annotations

FAILED = 1
USAGE = 2
NOT_RUNNING = 3


class CommandError(Exception):
    """The operation failed; the message says what happened and what to do."""

    status = FAILED


class NotRunningError(CommandError):
    """No daemon answers."""

    status = NOT_RUNNING


class UsageError(CommandError):
    """The command was given something it cannot take."""

    status = USAGE


class RefusedError(CommandError):
    """The daemon answered with an error of its own."""

    def __init__(self, message: str, *, http_status: int, code: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.code = code
        self.status = status
