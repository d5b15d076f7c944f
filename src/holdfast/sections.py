"""The sections of the settings file: each a part of the daemon, with its bounds and their meaning."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


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
    check_seconds: float = Field(
        1_800.0, ge=1, le=86_400, description="A check of a pull that runs longer is ended, and has failed."
    )
    check_memory_mb: int = Field(
        4_096, ge=0, le=10_000_000, description="Address space of each process of a check; 0 is without a bound."
    )
    check_disk_mb: int = Field(
        10_240, ge=1, le=10_000_000, description="A check that writes more than this is ended, and has failed."
    )
    checks_at_once: int = Field(
        2, ge=1, le=256, description="Checks that run at once, of all pulls; others wait for their turn."
    )
    forge_seconds: float = Field(
        2.0, ge=0.1, le=300, description="Between two looks at whether branches of pulls, or their bases, have moved."
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


class NoticeSettings(Section):
    """Notices: how much is kept of those that are over or acknowledged. What is open is never removed."""

    keep_days: float = Field(90.0, ge=2, le=36_500, description="Notices that are over for longer are removed.")
    keep_rows: int = Field(10_000, ge=100, le=10_000_000, description="The most notices that are over and kept.")


class ChannelSettings(Section):
    """One way by which notices reach people."""

    type: Literal["desktop", "webhook"] = Field(description="What it is.")
    kinds: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        ("*",), description="The kinds of notices that it takes, `*` for all of them."
    )
    raised: bool = Field(default=True, description="Whether it takes notices when they are raised.")
    escalated: bool = Field(default=True, description="Whether it takes them once more when nobody acknowledges them.")
    url: str | None = Field(
        None, description="`webhook`: the address, https:// or on this machine; with `insecure` any http:// one."
    )
    secret_file: Path | None = Field(
        None,
        description="`webhook`: a file (mode 0600) with the secret that signs, `whsec_` and base64; for the time of a "
        "change the new and the old one. A path may be relative to the settings file.",
    )
    secret_env: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="`webhook`: the variable that holds it instead."
    )
    insecure: bool = Field(default=False, description="`webhook`: whether http:// to other machines is allowed.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        only = ("url", "secret_file", "secret_env", "insecure")
        if self.type == "desktop":
            given = [name for name in only if getattr(self, name)]
            if given:
                message = f"a desktop has no {given[0]}; remove it, or set type to webhook"
                raise ValueError(message)
            return self
        if self.url is None:
            message = "a webhook needs a url"
            raise ValueError(message)
        _require_address(self.url, insecure=self.insecure)
        if (self.secret_file is None) == (self.secret_env is None):
            message = "a webhook needs its secret: set either secret_file or secret_env"
            raise ValueError(message)
        return self

    def shown(self) -> dict[str, Any]:
        """It without what gives anybody access: of the address only the host."""
        found = self.model_dump(mode="json", exclude_defaults=True)
        if self.url is not None:
            parts = urlsplit(self.url)
            found["url"] = f"{parts.scheme}://{parts.netloc}/..."
        return found


_CHANNEL = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def channel_tables(value: object) -> object:
    """The tables of channels as they stand in the file, or in a variable as JSON; names of both kinds checked."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            message = f"is not a JSON object: {error}"
            raise ValueError(message) from None
    if not isinstance(value, dict):
        message = "is a table of channels, [channels.<name>] each"
        raise ValueError(message)  # noqa: TRY004 - what is raised here is told to the person
    known = sorted(ChannelSettings.model_fields)
    for name, table in value.items():
        if not _CHANNEL.fullmatch(name):
            message = f"the name of a channel is made of small letters, digits and hyphens, not {name!r}"
            raise ValueError(message)
        for key in table if isinstance(table, dict) else ():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
                message = f"{name} has a setting {key!r} that there is not; the nearest known one is {near!r}"
                raise ValueError(message)
    return value


def channels_beside(folder: Path, tables: Any) -> Any:
    """The same tables of channels, with paths that mean the same wherever the daemon is started."""
    found = {}
    for name, table in tables.items():
        file = table.get("secret_file") if isinstance(table, dict) else None
        found[name] = table | {"secret_file": str(folder / file)} if isinstance(file, str) and file else table
    return found


def _require_address(url: str, *, insecure: bool) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname is not None and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is none
        good = False
    if not good or not url.isprintable() or not url.isascii() or " " in parts.netloc:
        message = "url is not an address; write https://host/path, with what is not ASCII percent-encoded"
        raise ValueError(message)
    if parts.username is not None or parts.password is not None or parts.fragment:
        message = "url holds a name, a password or a fragment, which are not sent; put what lets us in into the query"
        raise ValueError(message)
    if parts.scheme == "http" and not insecure and not _is_here(parts):
        message = "url is http:// to another machine; use https://, or set insecure = true if everybody may read it"
        raise ValueError(message)


def _is_here(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
