"""Notices and channels over HTTP: pages of them, acknowledged by whom, channels without what gives access to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import owed
from holdfast.app import packs
from holdfast.core.propagation.kinds import Buried
from holdfast.core.propagation.service import registry_of
from holdfast.core.store.port import Act
from holdfast.notify import letters, notices
from served import Served, serving

if TYPE_CHECKING:
    from conftest import StoreMaker

BASE = "/api/v1/notices"
CHANNELS = {"hook": {"type": "webhook", "url": "https://a.example/t-8f3a?k=hunter2", "secret_env": "NOT_SET_HERE"}}


@pytest.fixture
async def here(make_store: StoreMaker, tmp_path: Path) -> AsyncIterator[Served]:
    """An application with a channel and three notices."""
    folder = tmp_path / "web"
    folder.mkdir()
    async with serving(make_store, folder, channels=CHANNELS) as one:
        for number in (1, 2, 3):
            await raised(one, number)
        yield one


async def raised(served: Served, number: int) -> None:
    await served.store.unit(
        Act("daemon", "test"),
        lambda unit: notices.raise_notice(
            unit, kind="agent-stuck", subject="session:a", key=f"key-{number}", text="Look.", scope="shop"
        ),
    )


async def test_open_notices_come_in_pages_with_their_count(here: Served) -> None:
    first = (await here.boss.get(f"{BASE}?limit=2")).json()
    assert ([row["id"] for row in first["items"]], first["open"]) == ([3, 2], 3)
    rest = (await here.boss.get(f"{BASE}?limit=2&cursor={first['next']}")).json()
    assert ([row["id"] for row in rest["items"]], rest["next"]) == ([1], None)
    assert (rest["items"][0]["urgency"], rest["items"][0]["state"]) == ("high", "open")
    assert (await here.boss.get(f"{BASE}?state=closed")).status_code == 400


async def test_an_acknowledgement_is_on_record_and_is_for_admins(here: Served) -> None:
    _, secret = await here.token("read")
    reader = here.client(secret)
    assert (await reader.get(BASE)).status_code == 200
    assert (await reader.post(f"{BASE}/1/ack")).status_code == 403
    assert (await reader.post("/api/v1/channels/hook/test")).status_code == 403
    shown = (await here.boss.post(f"{BASE}/1/ack")).json()
    assert (shown["state"], shown["acked_by"].startswith("token:")) == ("acked", True)
    again = (await here.boss.post(f"{BASE}/1/ack")).json()
    assert again == shown
    assert [row["id"] for row in (await here.boss.get(BASE)).json()["items"]] == [3, 2]
    assert len((await here.boss.get(f"{BASE}?state=all")).json()["items"]) == 3
    for wrong in ("9", "x", "0" * 40):
        assert (await here.boss.post(f"{BASE}/{wrong}/ack")).status_code == 404
    acts = (await here.boss.get("/api/v1/audit")).json()["items"]
    assert ("notice.acked", "1") in [(act["kind"], act["subject"]) for act in acts]


async def test_channels_are_shown_without_what_gives_access_to_them(here: Served) -> None:
    reply = await here.boss.get("/api/v1/channels")
    (channel,) = reply.json()["items"]
    assert (channel["where"], channel["gone"]) == ("https://a.example", False)
    assert "the variable NOT_SET_HERE" in channel["unavailable"]
    assert not any(word in reply.text for word in ("8f3a", "hunter2"))


@pytest.mark.parametrize("act", ["redrive", "cancel"])
async def test_what_a_person_does_about_a_dead_job_ends_its_notice(here: Served, act: str) -> None:
    assert letters.WATCH in registry_of(packs()).watches
    number = await owed.dead(here.store, owed.LOOSE)
    row = Buried(number, None, None, "max_attempts", "no answer")
    await here.store.unit(owed.ACT, lambda unit: letters.died(unit, owed.LOOSE.name, row))
    assert (await here.boss.get(f"{BASE}?limit=1")).json()["items"][0]["kind"] == "dead-letter"
    assert (await here.boss.post(f"/api/v1/propagations/{number}/{act}")).status_code == 200
    assert (await here.boss.get(f"{BASE}?limit=1&state=all")).json()["items"][0]["state"] == "resolved"


async def test_a_trial_is_a_propagation(here: Served) -> None:
    reply = await here.boss.post("/api/v1/channels/hook/test")
    assert reply.status_code == 202
    shown = (await here.boss.get(f"/api/v1/propagations/{reply.json()['propagation']}")).json()
    assert (shown["kind"], shown["payload"]) == ("notify.send", {"notice": None, "channel": "hook", "stage": "test"})
    assert (await here.boss.post("/api/v1/channels/nobody/test")).status_code == 404
