"""Stores that a test fills, closes, and sees refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from holdfast.core import errors
from places import contents
from testpack import ACT, SQL

if TYPE_CHECKING:
    from conftest import Place, StoreMaker
    from holdfast.core.store.port import Store

#: Marks of tests that mean one engine.
sqlite_only = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
postgres_only = pytest.mark.parametrize("engine", ["postgres"], indirect=True)


async def add(store: Store, *names: str) -> None:
    for name in names:
        await store.unit(ACT, lambda unit, name=name: unit.run(SQL.add_plain_thing, id=name, title="a", size=1))


async def things(store: Store) -> list[str]:
    return [row["id"] for row in await store.read(lambda reader: reader.all(SQL.things))]


async def filled(make_store: StoreMaker, *names: str) -> Place:
    """A closed store that holds these things."""
    store = await make_store()
    await add(store, *(names or ("one", "two")))
    await store.close()
    return make_store.place_of(store)


async def refused(make_store: StoreMaker, place: Place, kind: type[errors.HoldfastError], **config: Any) -> str:
    """The message of a refusal that has written nothing."""
    make_store.lock(place)
    before = contents(place)
    with pytest.raises(kind) as caught:
        await make_store(at=place, **config)
    assert type(caught.value) is kind or kind is errors.StoreBehind
    assert contents(place) == before
    return caught.value.message
