"""Every type of channel there is, and the channels that the settings name, with what each of them takes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holdfast.notify.channels.desktop import Desktop
from holdfast.notify.channels.webhook import Webhook
from holdfast.settings import SettingsWrong

if TYPE_CHECKING:
    from holdfast.core.clock import Clock
    from holdfast.notify.channels.port import Channel
    from holdfast.sections import ChannelSettings

EVERY = "*"
Make = Callable[[str, "ChannelSettings", "Clock", Mapping[str, str]], "Channel"]


def _desktop(name: str, _settings: ChannelSettings, _clock: Clock, env: Mapping[str, str]) -> Channel:
    """Shows notices on the desktop of whoever started the daemon; without one it rings the terminal's bell."""
    return Desktop(name, env)


def _webhook(name: str, settings: ChannelSettings, clock: Clock, env: Mapping[str, str]) -> Channel:
    """Posts notices to an address of yours, signed as Standard Webhooks describes it."""
    secret: Path | str | None = settings.secret_file or settings.secret_env
    assert settings.url is not None
    assert secret is not None
    return Webhook(name, settings.url, clock, secret=secret, env=env)


#: By the word that `type` says; each says of itself what it does.
TYPES: dict[str, Make] = {"desktop": _desktop, "webhook": _webhook}


class Channels:
    """The channels of this daemon."""

    def __init__(self, settings: Mapping[str, ChannelSettings], clock: Clock, env: Mapping[str, str]) -> None:
        self.settings = dict(settings)
        self.named: dict[str, Channel] = {
            name: TYPES[one.type](name, one, clock, env) for name, one in settings.items()
        }

    def taking(self, kind: str, stage: Literal["raised", "escalated", "test"]) -> list[str]:
        """The names of those that take a notice of this kind at this stage."""
        return [name for name, one in self.settings.items() if takes(one, kind, stage)]


def takes(channel: ChannelSettings, kind: str, stage: Literal["raised", "escalated", "test"]) -> bool:
    """Whether a channel takes a notice of this kind at this stage."""
    wanted = {"raised": channel.raised, "escalated": channel.escalated, "test": True}[stage]
    return wanted and (EVERY in channel.kinds or kind in channel.kinds)


def require_known(settings: Mapping[str, ChannelSettings], kinds: Iterable[str]) -> None:
    """Refuse a channel for a kind of notice that there is not."""
    known = sorted(kinds)
    for name, channel in settings.items():
        for kind in channel.kinds:
            if kind != EVERY and kind not in known:
                near = difflib.get_close_matches(kind, known, n=1, cutoff=0.0)
                hint = f"; the nearest known one is {near[0]!r}" if near else ""
                message = f"channels.{name}.kinds: there is no kind of notice {kind!r}{hint}. Correct or remove it."
                raise SettingsWrong(message)
