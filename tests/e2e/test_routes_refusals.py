"""What the routes refuse, in which words, and what they say of a store that takes no writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.app import packs
from holdfast.core.errors import StoreFull, TooSlow
from holdfast.core.health import checks as health
from holdfast.core.health.readiness import REFRESH_SECONDS
from holdfast.core.web import endpoint
from holdfast.core.web.factory import table
from holdfast.core.web.openapi import Shapes
from holdfast.core.web.words import WORDS
from manual_clock import ManualClock
from served import EXTRA, Served, serving

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StoreMaker

TOKENS, PROJECTS = "/api/v1/tokens", "/api/v1/projects"


@pytest.mark.guards(
    "A daemon whose writes are refused for want of room says so, until one goes through.",
    against="A full disk that every client sees and no probe.",
    breaks=("readiness-forgets-refused-writes",),
)
async def test_writes_that_are_refused_show_in_readiness_until_one_goes_through(
    make_store: StoreMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with serving(make_store, tmp_path, clock=clock) as served:
        unit = served.store.unit

        async def full(*_: Any) -> Any:
            said = "The disk is full."
            raise StoreFull(said)

        monkeypatch.setattr(served.store, "unit", full)
        refused = await served.boss.post(TOKENS, json={"name": "x", "scope": "read"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_full")
        clock.advance(REFRESH_SECONDS)
        report = (await served.boss.get("/readyz")).json()
        assert report["overall"] == "degraded"
        assert [c["last_error"] for c in report["checks"] if c["name"] == "writes"] == ["The disk is full."]
        assert (await served.boss.get("/api/v1/status")).json()["overall"] == "degraded"
        monkeypatch.setattr(served.store, "unit", unit)
        before = await served.head()
        clock.advance(REFRESH_SECONDS)
        assert (await served.boss.get("/readyz")).json()["overall"] == "ok"
        assert await served.head() == before


async def test_a_disk_with_little_room_is_told(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ROOM_BYTES", 1 << 62)
    with pytest.raises(StoreFull, match="MB are free"):
        await health.check_disk(served.store, tmp_path)


@pytest.mark.guards(
    "An Origin or a Host that is no address is refused like any other that is not ours.",
    against="A traceback in the log for everybody who can reach the port.",
    breaks=("hosts-take-origins-apart",),
)
async def test_an_origin_or_host_that_is_no_address_is_refused(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ("http://[", "http://]", "http://[::1", "http://a:b:c", "[", "[[", "]", ":", "http://\xff", "\x7f")
    for header in ("origin", "host"):
        for value in odd:
            answer = await served.client().get("/healthz", headers={header: value.encode("latin-1")})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), (header, value)
    assert "request failed" not in capsys.readouterr().err


def test_every_pattern_is_spelled_in_words() -> None:
    patterns = set(re.findall(r"'pattern': ('[^']*'|\"[^\"]*\")", str(Shapes(table((*packs(), EXTRA))).components)))
    assert len(patterns) > 3
    assert patterns <= {repr(pattern) for pattern in WORDS}


@pytest.mark.parametrize(
    ("path", "body", "field", "words"),
    [
        (PROJECTS, {"path": "/x", "id": "No Id"}, "id", "id must be 1 to 40 lower-case letters"),
        (PROJECTS, {"path": "/x", "checks": [""]}, "checks[0]", "must have at least 1 characters"),
        (PROJECTS, {"path": "/x", "max_sessions": 0}, "max_sessions", "max_sessions must be at least 1"),
        (PROJECTS, {"path": 1}, "path", "path must be text, not a whole number"),
        (PROJECTS, {}, "path", "the field 'path' is missing"),
        (PROJECTS, {"path": "/x", "pth": 1}, "pth", "there is no field 'pth'"),
        (PROJECTS, {"path": "/x", "forge": "z"}, "forge", "forge cannot be 'z'"),
        (TOKENS, {"name": "x", "scope": "king"}, "scope", "scope must be admin, read or session:<id>"),
    ],
)
async def test_a_refusal_says_in_words_what_is_wrong_with_which_field(
    path: str, body: dict[str, Any], field: str, words: str, served: Served
) -> None:
    answer = await served.boss.post(path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["details"]) == (422, {"field": field})
    assert words in error["message"]
    assert "regex" not in error["message"]


async def test_a_name_that_cannot_be_seen_or_turns_text_around_is_refused(served: Served) -> None:
    for name in ("", " ", "\t", "\u202eevil", "a\u2066b", "\u200b", "a\x1b[0m", "a\n", "\ufeff"):
        assert (await served.boss.post(TOKENS, json={"name": name, "scope": "read"})).status_code == 422, name
    for name in ("Zo\u00eb's laptop", "a b", "\u65e5\u672c"):
        assert (await served.boss.post(TOKENS, json={"name": name, "scope": "read"})).status_code == 201, name


async def test_a_made_up_cursor_and_a_number_that_is_none_are_refused(served: Served) -> None:
    for path in (PROJECTS, TOKENS):
        for query in ("cursor=xx", "cursor=after-", "limit=1.0", "limit=1e1", "limit=%2B1", "limit=1_0"):
            answer = await served.boss.get(f"{path}?{query}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "malformed"), query


async def test_a_stream_does_not_claim_to_take_head(served: Served) -> None:
    answer = await served.boss.head("/api/v1/events")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_a_body_that_never_ends_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BODY_SECONDS", 0.01)
    parts: list[str] = []

    async def pause() -> Any:
        parts.append("asked")
        await endpoint.asyncio.Event().wait()

    with pytest.raises(TooSlow):
        await endpoint._in_time(pause)
    assert parts == ["asked"]
    assert served.deps.document
