"""Notices: what people are to know, raised and resolved in the units of work that decide it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.store.sql import load

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit

SQL = load("holdfast.notify", "notices.sql")


def raise_notice(unit: Unit, *, kind: str, subject: str, key: str, text: str, scope: str) -> bool:
    """Tell people of something; whether it is new. What was raised under a key is never raised under it again."""
    return unit.run(SQL.add, kind=kind, subject=subject, key=key, text=text, scope=scope, at=unit.at) > 0


def resolve(unit: Unit, key: str) -> bool:
    """What was raised under this key is over."""
    return unit.run(SQL.resolve, key=key, at=unit.at) > 0
