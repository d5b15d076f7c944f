"""Structured logs: one object or one coloured line per event, secrets taken out before anything is written."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from holdfast.core.redact import plain, redact, redact_value

#: The longest string that a log line carries; what is longer is cut, after it was redacted.
LONGEST = 4_000
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def _clean(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Redact, then cut; also free a terminal of control characters that came from outside."""
    for key, value in event.items():
        safe = redact_value(key, value)
        if isinstance(safe, str):
            safe = plain(safe)
            if len(safe) > LONGEST:
                safe = redact(safe, limit=LONGEST)
        event[key] = safe
    return event


class _FromStdlib(logging.Handler):
    """Carries what libraries log by the standard library into our log, redacted like the rest."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on one record."""
        error = record.exc_info[1] if record.exc_info else None
        logger = structlog.get_logger(source=record.name)
        logger.log(record.levelno, record.getMessage(), **({"exc_info": error} if error is not None else {}))


class _Out:
    """Where lines go. A terminal that was closed or a full disk costs the line, never the daemon."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def _now(self) -> TextIO | None:
        return self._stream or sys.stderr  # None where the process was started without one

    def isatty(self) -> bool:
        """Whether a person reads it."""
        with suppress(OSError, ValueError):
            return self._now is not None and self._now.isatty()
        return False

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError, ValueError):
            if self._now is not None:
                self._now.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        with suppress(OSError, ValueError):
            if self._now is not None:
                self._now.flush()


def configure(level: str = "info", style: str = "auto", stream: TextIO | None = None) -> None:
    """Set the log up for this process; `style` is `auto`, `json` or `console`."""
    _set_up(level, style, stream)
    root = logging.getLogger()
    root.handlers[:] = [_FromStdlib()]
    # Libraries are heard from `warning` up, unless somebody asks for everything.
    root.setLevel(logging.DEBUG if level == "debug" else max(_LEVELS[level], logging.WARNING))


def default() -> None:
    """What is logged before anything is configured: the library's own default shows the locals of a traceback."""
    _set_up("info", "auto", None)


def _set_up(level: str, style: str, stream: TextIO | None) -> None:
    out = _Out(stream)
    colours = out.isatty()
    console = style == "console" or (style == "auto" and colours)
    last: Any = (
        structlog.dev.ConsoleRenderer(colors=colours)
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _clean,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # Asked for at every line: what stands for the terminal changes, in tests and when a daemon detaches.
        logger_factory=lambda *_: structlog.WriteLogger(cast("TextIO", out)),
        cache_logger_on_first_use=False,
    )


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a module."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(source=name))


default()
