"""A shop whose sessions tests ask for over HTTP, without anybody who would start them."""

from __future__ import annotations

from typing import Any

import httpx

from holdfast.core.store.port import Act
from holdfast.core.store.sql import query
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.facts import Launched
from served import Served

SESSIONS = "/api/v1/sessions"
ACT = Act("daemon", "test")


async def project(served: Served, name: str = "shop", **more: Any) -> None:
    """A registered repository."""
    path = served.repository(name)
    made = await served.boss.post("/api/v1/projects", json={"path": str(path), "agent": "scripted", **more})
    assert made.status_code == 201, made.text


async def spawn(served: Served, **more: Any) -> httpx.Response:
    return await served.boss.post(SESSIONS, json={"project": "shop", "prompt": "Mend the door", **more})


async def alive(served: Served, session: str, launch: int = 1) -> None:
    """As if its launch had come to life."""
    await served.store.unit(ACT, lambda unit: door.observe(unit, session, Launched(launch, "spawn")))


async def rows(served: Served, table: str) -> list[dict[str, Any]]:
    everything = query("everything", sqlite=f"SELECT * FROM {table}")
    return await served.store.read(lambda reader: reader.all(everything))


async def shown(served: Served, session: str) -> Any:
    return (await served.boss.get(f"{SESSIONS}/{session}")).json()


def said(answer: httpx.Response) -> tuple[int, str]:
    """Status and words of a refusal."""
    return answer.status_code, str(answer.json()["error"]["message"])
