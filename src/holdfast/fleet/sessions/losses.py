"""What was lost with its machine: until when people are told that sessions wait to be brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.fleet.sessions.rows import SQL
from holdfast.notify.notices import resolve

if TYPE_CHECKING:
    from holdfast.core.store.port import Unit


def settle(unit: Unit, host: str) -> None:
    """Resolve what was told of reboots none of whose sessions waits any more: each was restored, or cleaned up.

    Belongs into the units after which one session less may wait.
    """
    for reboot in unit.all(SQL.reboots_told, host=host):
        if unit.one(SQL.still_lost, host=host, begun=reboot["started_at"], over=reboot["ended_at"]) is None:
            resolve(unit, f"incident:{reboot['id']}")
