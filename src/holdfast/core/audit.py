"""The acts of people, tokens and the daemon itself: recorded in the unit of work that does them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.core.ids import new_id
from holdfast.core.store.port import Unit
from holdfast.core.store.sql import load

SQL = load("holdfast.core", "audit.sql")


def record(unit: Unit, kind: str, subject: str, detail: Mapping[str, Any]) -> None:
    """Put an act on record; who and why are the unit's. `detail` must hold no secret."""
    text = msgspec.json.encode(detail).decode()
    unit.run(SQL.add, id=new_id("aud"), kind=kind, subject=subject, detail=text, at=unit.at)
