"""The daemon's own log: one object a line, without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.core import logs
from holdfast.core.ids import new_secret


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield stream
    logs.default()
    root.handlers[:] = before
    root.setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_object_with_level_time_and_source(out: io.StringIO) -> None:
    logs.get("store").info("opened", rows=3)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "opened", "rows": 3, "level": "info", "source": "store"}


def test_before_anything_is_configured_a_traceback_shows_no_locals(capsys: pytest.CaptureFixture[str]) -> None:
    hidden = new_secret("hft")
    try:
        int(hidden[:0])
    except ValueError:
        logs.get("web").exception("broke")
    said = capsys.readouterr().err
    assert "ValueError" in said
    assert hidden not in said


@pytest.mark.guards(
    "Nothing secret reaches the log.",
    against="A token in a log file that is shipped to somebody else.",
    breaks=("logs-say-everything",),
)
def test_no_secret_reaches_the_log_by_any_way(out: io.StringIO) -> None:
    secret = new_secret("hft")
    log = logs.get("web")
    said = f"token {secret}"
    log.info(said, token="blue-horse", header=f"Bearer {secret}", deep={"list": [secret]})
    logging.getLogger("library").error("failed with %s", secret)
    try:
        int(secret)
    except ValueError:
        log.exception("broke")
    text = out.getvalue()
    assert secret not in text
    assert "blue-horse" not in text
    assert len(lines(out)) == 3


def test_less_than_the_level_is_not_logged(out: io.StringIO) -> None:
    logs.get("web").debug("fine grain")
    logging.getLogger("library").info("chatter")
    assert out.getvalue() == ""


def test_a_loggers_level_follows_a_later_configuration(out: io.StringIO) -> None:
    log = logs.get("web")
    logs.configure("debug", "json", out)
    log.debug("fine grain")
    assert [line["event"] for line in lines(out)] == ["fine grain"]


def test_a_very_long_value_is_cut_after_it_was_redacted(out: io.StringIO) -> None:
    secret = new_secret("hft")
    logs.get("web").info("long", text="x" * (logs.LONGEST - 20) + " " + secret)
    (line,) = lines(out)
    assert "hft_" not in line["text"]
    assert len(line["text"]) <= logs.LONGEST


def test_the_console_gets_no_control_characters_from_outside(out: io.StringIO) -> None:
    logs.configure("info", "console", out)
    logs.get("web").info("said", text="\x1b]0;title\x07")
    assert "\x1b" not in out.getvalue()
    assert "title" in out.getvalue()


class _Gone(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [_Gone(), None], ids=["the reader has gone", "there never was one"])
def test_a_log_that_nobody_takes_costs_the_line_and_nothing_else(
    stream: io.StringIO | None, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure("info", "json", None)
    logs.get("web").info("lost")
    assert out.getvalue() == ""
