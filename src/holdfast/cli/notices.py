"""What people are told of and is not over yet, as `holdfast up` and `holdfast status` show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.cli.failures import CommandError

if TYPE_CHECKING:
    from holdfast.cli.client import Client

ROUTE = "/api/v1/notices"
#: The newest are told in full.
_SHOWN = 5


def still_open(daemon: Client) -> list[dict[str, Any]] | None:
    """The open ones, oldest first; none where it refuses to tell us."""
    try:
        return list(daemon.pages(ROUTE, state="open"))
    except CommandError:
        return None


def lines(found: Sequence[dict[str, Any]] | None) -> list[str]:
    """How many there are, and the newest of them with what each offers; nothing where there are none."""
    if not found:
        return []
    older = len(found) - _SHOWN
    told = [f"{len(found)} open notice{'' if len(found) == 1 else 's'}:"]
    if older > 0:
        told.append(f"  {older} older, and:")
    return told + [f"  {each['raised_at']}  {each['text']}" for each in found[-_SHOWN:]]
