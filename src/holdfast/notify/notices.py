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


def is_open(unit: Unit, kind: str, subject: str) -> bool:
    """Whether people are told something of this kind about this subject that is not over."""
    return unit.one(SQL.open_about, kind=kind, subject=subject) is not None


def resolve(unit: Unit, key: str) -> bool:
    """What was raised under this key is over."""
    return unit.run(SQL.resolve, key=key, at=unit.at) > 0


def resolve_about(unit: Unit, kind: str, subject: str) -> int:
    """All that was raised of this kind about this subject is over; how many notices that were."""
    return unit.run(SQL.resolve_about, kind=kind, subject=subject, at=unit.at)
