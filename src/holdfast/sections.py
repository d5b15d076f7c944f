"""The sections of the settings file: each a part of the daemon, with its bounds and their meaning."""

from __future__ import annotations

import ipaddress
import json
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


def listed(value: object) -> object:
    """A list written in a variable: JSON, or words parted by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            message = f"is not a JSON list: {error}"
            raise ValueError(message) from None
    return [word.strip() for word in value.split(",") if word.strip()]


class Section(BaseModel):
    """A `[section]` of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LogSettings(Section):
    """What the daemon's own log says, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level that is logged.")
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="`json` is one object a line; `auto` is `console` on a terminal and `json` elsewhere."
    )


class StoreSettings(Section):
    """The store: how much it takes on at once, and for how long."""

    readers: int = Field(4, ge=1, le=64, description="Connections that only read.")
    writers: int = Field(4, ge=1, le=64, description="Connections that write (PostgreSQL; SQLite has one).")
    unit_seconds: float = Field(5.0, ge=0.1, le=600, description="A unit of work that runs longer is stopped.")
    read_seconds: float = Field(10.0, ge=0.1, le=600, description="A read that runs longer is stopped.")
    queue: int = Field(10_000, ge=1, le=1_000_000, description="Units that may wait; more are refused with 503.")


class ChangesSettings(Section):
    """The change log: how much of it is kept."""

    keep_days: float = Field(30.0, gt=0, le=36_500, description="Changes older than this may be removed.")
    keep_rows: int = Field(5_000_000, ge=1_000, le=1_000_000_000, description="The most changes that are kept.")


class PropagationSettings(Section):
    """Effects that are owed: how much is kept of those that are done with. What is owed or dead is never removed."""

    keep_days: float = Field(30.0, gt=0, le=36_500, description="Finished effects older than this are removed.")
    keep_rows: int = Field(200_000, ge=1_000, le=1_000_000_000, description="The most finished effects that are kept.")


class FleetSettings(Section):
    """Fleets of agents: how many live at once, where, and what is kept of what they say."""

    max_sessions: int = Field(
        16, ge=1, le=10_000, description="Sessions that live at once, of all projects; others wait in the queue."
    )
    min_free_memory_mb: int = Field(
        1_024, ge=0, le=10_000_000, description="No session is started while less memory than this is available."
    )
    runtime: Literal["auto", "tmux", "process"] = Field(
        "auto", description="Where agents run: `auto` is tmux where it is installed, and a process of ours elsewhere."
    )
    resume_after_reboot: bool = Field(
        default=False, description="After a reboot of the machine, restore by itself what lived before it."
    )
    sweep_seconds: float = Field(
        5.0, ge=0.5, le=60, description="Between two looks at everything that lives; ends are noticed at once anyway."
    )
    record_bytes: int = Field(
        16_777_216, ge=2_097_152, le=1_073_741_824, description="The recorded output that is kept of each session."
    )
    keep_signals: int = Field(
        1_000, ge=10, le=1_000_000, description="The newest signals that are kept of each session."
    )


class StreamSettings(Section):
    """`GET /api/v1/events`: bounds of the live stream."""

    subscribers: int = Field(1_000, ge=1, le=100_000, description="Streams that may be open at once.")
    ring_events: int = Field(10_000, ge=16, le=1_000_000, description="Recent events kept encoded in memory.")
    ring_bytes: int = Field(
        8_388_608, ge=65_536, le=1_073_741_824, description="Bytes of recent events kept in memory."
    )
    keep_alive_seconds: float = Field(15.0, ge=1, le=300, description="Silence after which a comment is sent.")


class AccessSettings(Section):
    """Who may ask, from where."""

    hosts: Annotated[tuple[str, ...], Field()] = Field(
        (), description="Further names in a Host header that are ours, beyond loopback and the address listened on."
    )
    origins: Annotated[tuple[str, ...], Field()] = Field(
        (), description="Further origins of browser pages that may call, such as `https://fleet.example.org`."
    )
    ticket_seconds: float = Field(30.0, ge=1, le=600, description="How long a browser's single-use ticket is good.")
    body_bytes: int = Field(1_048_576, ge=1_024, le=104_857_600, description="The largest request body taken.")

    _lists = field_validator("hosts", "origins", mode="before")(listed)

    @field_validator("origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path or parts.query:
                message = f"{origin!r} is not an origin; write it as https://name or https://name:port"
                raise ValueError(message)
        return tuple(origin.lower() for origin in value)

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not _is_host(host):
                message = f"{host!r} is not a host name; write it without scheme, port and path, IPv6 in brackets"
                raise ValueError(message)
        return tuple(host.lower() for host in value)


def _is_host(text: str) -> bool:
    if text.startswith("[") and text.endswith("]"):
        try:
            ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            return False
        return True
    return bool(text) and not any(mark in text for mark in "/@ *:[]")
