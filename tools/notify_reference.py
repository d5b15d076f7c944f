"""The page of docs/reference about notices and channels, and the settings of a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from holdfast.core.pack import Pack
from holdfast.core.propagation import view
from holdfast.notify.channels.registry import TYPES
from holdfast.sections import ChannelSettings

Table = Callable[[Iterable[str], Iterable[Iterable[object]]], str]


def notices(note: str, packs: list[Pack], table: Table) -> str:
    """Every kind of notice, and every type of channel."""
    rows = [
        (
            f"`{kind.name}`",
            kind.doc,
            "to channels" if kind.rule == "channels" else "never, only kept",
            kind.urgency,
            view.spoken(kind.dwell) if kind.dwell else "-",
            view.spoken(kind.cool_down) if kind.cool_down else "-",
            "-" if kind.escalate_after is None else f"after {view.spoken(kind.escalate_after)}",
        )
        for pack in packs
        for kind in pack.notices
    ]
    head = ("kind", "what it tells of", "sent", "urgency", "sent if it lasts", "then quiet for", "sent once more")
    types = [(f"`{name}`", make.__doc__) for name, make in TYPES.items()]
    words = (
        "What people are to know. A notice is open until what it tells of is over, or somebody acknowledges it "
        "(`holdfast notices`). It is sent when it has lasted for its time; another one of the same kind and subject is "
        "only kept while that is to be quiet; and one that nobody acknowledges is sent once more. How it reaches "
        "people: [be told](../how-to/be-told.md).\n"
    )
    return (
        f"# Notices\n\n{note}\n{words}\n## Kinds\n\n{table(head, rows)}\n## Types of channels\n\n"
        f"{table(('type', 'what it does'), types)}"
    )


def channel_settings(table: Table, default: Callable[[Any], str]) -> str:
    """What a table `[channels.<name>]` holds."""
    rows = [
        (f"`{name}`", "-" if field.is_required() else default(field), field.description)
        for name, field in ChannelSettings.model_fields.items()
    ]
    return f"## A channel\n\nIn a table `[channels.<name>]` each.\n\n{table(('key', 'default', 'meaning'), rows)}"
