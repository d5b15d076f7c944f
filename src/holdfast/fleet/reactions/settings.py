"""What a project sets for reactions: the text, the cap, who is told, or that one of them is off."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from holdfast.core.errors import Invalid
from holdfast.core.web.words import spelled

_WORDS = spelled(r"^[^\x00]*[^\s\x00][^\x00]*$(?!\n)", "some words, without NUL")


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is different for one reaction."""

    text: Annotated[str, Meta(max_length=10_000, pattern=_WORDS)] | None = None
    cap: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    to: Literal["agent", "person"] | None = None
    off: bool = False


def require_known(given: Mapping[str, Setting]) -> None:
    """Refuse the name of a reaction that there is not, and a target that makes no sense."""
    from holdfast.fleet.reactions.table import BY_NAME  # noqa: PLC0415 - the table is made of facts that hold settings

    for name, setting in given.items():
        reaction = BY_NAME.get(name)
        if reaction is None:
            near = difflib.get_close_matches(name, BY_NAME, 1, 0.5)
            asked = f" Did you mean {near[0]!r}?" if near else ""
            message = f"There is no reaction {name[:80]!r}.{asked} There are: {', '.join(BY_NAME)}."
            raise Invalid(message, field=f"reactions.{name[:80]}")
        if setting.to is not None and setting.to not in reaction.targets:
            message = f"Reaction {name!r} tells people, and makes no sense to an agent. Leave out `to`."
            raise Invalid(message, field=f"reactions.{name}.to")


def settings_of(text: str) -> dict[str, Setting]:
    """What a project's row says. What a version that is gone may have written counts for nothing."""
    try:
        return _decode(text)
    except msgspec.MsgspecError:
        return {}


_decode = msgspec.json.Decoder(dict[str, Setting]).decode
