"""What an agent says before anybody knows that it lives, on both engines: heard later as if it came then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core.store.sql import query
from holdfast.fleet.messages import rows
from holdfast.fleet.sessions import door
from holdfast.fleet.sessions.rows import SQL
from messaging import ACT, PACKS, PROJECT, SESSION, add_session

if TYPE_CHECKING:
    from conftest import StoreMaker
    from holdfast.core.store.port import Reader, Row, Store, Unit

SIGNALS = query("signals", sqlite="SELECT seq, event, detail, taken FROM signals ORDER BY seq")
PROMPT = "mend the door " * 1_000


@pytest.fixture
async def store(make_store: StoreMaker) -> Store:
    return await make_store(packs=PACKS)


def hear(unit: Unit, seq: int, event: str, launch: int = 1, **detail: Any) -> str | None:
    return door.hear(
        unit, SESSION, door.Said(launch, seq, None, event, {"conversation": "talk-7", **detail}), "http"
    ).taken


async def session(store: Store) -> Row:
    def work(reader: Reader) -> Row | None:
        return reader.one(SQL.by_id, id=SESSION)

    found = await store.read(work)
    assert found is not None
    return found


@pytest.mark.guards(
    "What an agent says before its launch is known is heard in full when it is: the conversation, the text that was "
    "submitted, and what says nothing of its doing; and it does not count as refused.",
    against="An agent that died after its first turn is restored without its conversation, and healthy sessions are "
    "shown with signals that were refused.",
    breaks=("signals-early-are-cut", "signals-early-stay-refused", "signals-early-without-a-kind-stay-unknown"),
)
async def test_what_came_too_early_is_heard_as_if_it_came_when_its_launch_is_known(store: Store) -> None:
    def early(unit: Unit) -> tuple[int, list[str | None]]:
        add_session(unit)
        number = rows.add(unit, SESSION, PROJECT, kind="prompt", text=PROMPT, by="token:test")
        told = [hear(unit, 1, "start"), hear(unit, 2, "submit", prompt=PROMPT), hear(unit, 3, "no-such-event")]
        told += [hear(unit, 4, "permission", tool="Bash"), hear(unit, 4, "permission", tool="Bash")]
        return number, told

    number, told = await store.unit(ACT, early)
    assert told == ["unknown_launch"] * 5
    assert (await session(store))["rejected"] == 4
    assert (await session(store))["agent_session_id"] is None

    def lives(unit: Unit) -> None:
        hear(unit, 5, "stop", launch=7)  # of a launch that nobody has begun
        assert rows.given(unit, number, 1)
        door.launched(unit, SESSION, 1, "spawn")

    await store.unit(ACT, lives)
    row = await session(store)
    assert (row["activity"], row["agent_session_id"], row["rejected"]) == ("blocked", "talk-7", 1)
    message = await store.read(lambda reader: rows.by_id(reader, number))
    assert message is not None
    assert (message["state"], message["reason"]) == ("confirmed", "the agent said that it was submitted")
    kept = [tuple(each.values()) for each in await store.read(lambda reader: reader.all(SIGNALS))]
    assert kept == [
        (1, "start", "", "taken"),
        (2, "submit", "", "taken"),
        (3, "no-such-event", "", "noted"),
        (4, "permission", "Bash", "taken"),
        (5, "stop", "", "unknown_launch"),
    ]
    assert await store.unit(ACT, lambda unit: hear(unit, 4, "permission", tool="Bash")) == "repeated"
    assert (await session(store))["rejected"] == 1


async def test_an_agent_that_was_only_there_has_no_conversation_to_go_on_with(store: Store) -> None:
    def work(unit: Unit) -> None:
        add_session(unit)
        hear(unit, 1, "start")
        door.launched(unit, SESSION, 1, "spawn")

    await store.unit(ACT, work)
    row = await session(store)
    assert (row["activity"], row["agent_session_id"], row["rejected"]) == ("idle", None, 0)
