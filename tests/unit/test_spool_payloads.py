"""What an agent gives its hook, of whatever size and form, is read back by the daemon, bounded."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from holdfast.fleet.signals import hook
from holdfast.fleet.signals.spool import Spool, Spooled, same_text


def through_the_spool(folder: Path, detail: dict[str, Any]) -> Spooled:
    """A payload as the daemon reads what the hook wrote of it."""
    spool = Spool(folder)
    path = spool.path("a-1")
    hook.tell("scripted", "stop", detail, {"HOLDFAST_SPOOL": str(path), "HOLDFAST_LAUNCH": "1"}, 17)
    assert path.stat().st_size <= hook.PAYLOAD_BYTES + 1000
    batch = spool.read("a-1")
    assert (len(batch.signals), batch.garbage) == (1, 0)
    return batch.signals[0]


def _deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    "detail",
    [
        {"prompt": "x" * 3_000_000},
        {"prompt": "\x01" * 300_000},
        {"tool": {"output": ["y" * 1000] * 5000}},
        {"many": {str(number): number for number in range(100_000)}},
        {"deep": _deep(400)},
        {"number": 10**400},
        {"half": "\ud800 and \udfff"},
        {"é" * 400_000: 1},
    ],
    ids=["long", "escapes", "list", "dict", "deep", "number", "surrogates", "key"],
)
def test_a_payload_of_any_size_and_shape_is_read_back_bounded(tmp_path: Path, detail: dict[str, Any]) -> None:
    assert through_the_spool(tmp_path, detail).detail


@pytest.mark.guards(
    "A text that its hook had to cut is compared by what is left of it and by its length.",
    against="a long message that is never confirmed, or that another one confirms",
    breaks=("spool-compares-cut-texts-whole",),
)
def test_a_text_that_was_cut_is_still_known(tmp_path: Path) -> None:
    text = "".join(random.Random(1).choices("abc \né", k=900_000))
    submitted = through_the_spool(tmp_path, {"prompt": text}).detail["prompt"]
    assert len(submitted) < len(text)
    assert same_text(text, submitted)
    assert not same_text(text + "x", submitted)
    assert not same_text("x" + text[1:], submitted)
    assert same_text("short", "short")
    assert not same_text("short", "shorter")


@pytest.mark.parametrize(
    ("raw", "payload"),
    [
        (b"", {}),
        (b"  \n", {}),
        (b'{"a":1}', {"a": 1}),
        (b"[1,2]", [1, 2]),
        (b'{"a":NaN}', {"a": None}),
        (b"not json", {"unreadable": "not json"}),
        (b"\xff", {"unreadable": "\ufffd"}),
        (b"[" * 100_000, {"unreadable": "[" * 100_000}),
        (b"9" * 5000, {"unreadable": "9" * 5000}),
    ],
)
def test_what_an_agent_gives_is_passed_on_readable_or_not(raw: bytes, payload: object) -> None:
    assert hook.parsed(raw) == payload
