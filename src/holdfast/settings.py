"""The one documented, validated tree of settings: `holdfast.toml`, then `HOLDFAST_*`, then the command line."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from holdfast.core.errors import HoldfastError
from holdfast.core.propagation.kinds import STOP_SECONDS
from holdfast.core.redact import redact_url
from holdfast.sections import (
    AccessSettings,
    ChangesSettings,
    ChannelSettings,
    FleetSettings,
    LogSettings,
    NoticeSettings,
    PropagationSettings,
    Section,
    StoreSettings,
    StreamSettings,
    channel_tables,
    channels_beside,
    listed,
)

PREFIX = "HOLDFAST_"
FILE = "holdfast.toml"
#: Variables that carry our prefix and are no settings: they belong to the data folder, to agents, the CLI and tests.
NOT_SETTINGS = frozenset(
    PREFIX + name
    for name in (
        *("DATA", "SESSION", "PROJECT", "LAUNCH", "URL", "TOKEN", "STORE", "SPOOL", "FAULTS"),
        *("PULL", "CHECK", "HEAD", "BASE"),
    )
)
Role = Literal["api", "worker", "provisioner"]
ROLES: tuple[Role, ...] = ("api", "worker", "provisioner")
_PORTS = 65535


class SettingsWrong(HoldfastError):
    """A setting is unknown, or its value cannot be; the daemon does not start."""

    code = "settings"
    http_status = 422


class ListenSettings(BaseSettings):
    """Where the daemon listens, and under which protection. These stand at the top of the file, in no section."""

    listen: str = Field("127.0.0.1:4680", description="Address and port to listen on; port 0 takes a free one.")
    tls_cert: Path | None = Field(
        None,
        description="Certificate chain (PEM); needed to listen beyond loopback. In the settings file a path may be "
        "relative to that file, in a variable to where the daemon was started.",
    )
    tls_key: Path | None = Field(None, description="Private key (PEM) of the certificate; the same holds for its path.")
    insecure_listen: bool = Field(
        default=False, description="Listen beyond loopback without TLS: tokens then cross the network in the clear."
    )

    @field_validator("tls_cert", "tls_key", mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        if value == "":  # it would be the folder that one stands in
            message = "is empty; give a path, or leave it out"
            raise ValueError(message)
        return Path(value).absolute() if isinstance(value, str) else value

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        split_listen(value)
        return value

    @model_validator(mode="after")
    def _tls(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            message = "tls_cert and tls_key belong together: set both or neither"
            raise ValueError(message)
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return split_listen(self.listen)


class PlaceSettings(ListenSettings):
    """Where the store is, and what this process does of the fleet's work, where."""

    database: str | None = Field(
        None, description="`postgresql://...` to keep the store in PostgreSQL; SQLite in the data folder without it."
    )
    roles: tuple[Role, ...] = Field(ROLES, description="What this process does.")
    host: str = Field("local", pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$", description="The name of this host in the fleet.")

    _lists = field_validator("roles", mode="before")(listed)

    @field_validator("database")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {"postgresql", "postgres"}:
            message = "is not a postgresql:// address"
            raise ValueError(message)
        return value

    @field_validator("roles")
    @classmethod
    def _roles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            message = f"needs at least one of {', '.join(ROLES)}, each once"
            raise ValueError(message)
        return value


class Settings(PlaceSettings):
    """Every setting. `Settings.load` reads them from where they may stand."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    data: Path = Field(description="The data folder. Set by `--data` or `HOLDFAST_DATA`; never in the file.")
    stop_seconds: float = Field(
        STOP_SECONDS,
        ge=0.1,
        le=600,
        description="How long a stop may take to end work in progress; what is longer is cut off, which is as safe as "
        "a crash.",
    )
    log: LogSettings = Field(default_factory=LogSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    changes: ChangesSettings = Field(default_factory=ChangesSettings)
    propagation: PropagationSettings = Field(default_factory=PropagationSettings)
    fleet: FleetSettings = Field(default_factory=FleetSettings)
    stream: StreamSettings = Field(default_factory=StreamSettings)
    access: AccessSettings = Field(default_factory=AccessSettings)
    notices: NoticeSettings = Field(default_factory=NoticeSettings)
    channels: dict[str, ChannelSettings] = Field(
        {},
        description="The ways by which notices reach people: a table `[channels.<name>]` for each, as below. In the "
        "variable they are one JSON object.",
    )

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)
    _channels = field_validator("channels", mode="before")(channel_tables)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` merged: the library's own sources would pass over unknown variables in silence."""
        return (init_settings,)

    @classmethod
    def load(
        cls,
        data: Path,
        config: Path | None = None,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> Self:
        """The settings of this data folder; a wrong one raises `SettingsWrong` that names it and where it stands.

        `overrides` are the command line's, by dotted key (`listen`, `log.level`); `None` says nothing.
        """
        tree: dict[str, Any] = {}
        sources: dict[str, str] = {}
        file = config if config is not None else data / FILE
        layers: list[tuple[Mapping[str, object], Callable[[str], str]]] = [
            (_beside(file, _from_file(file, required=config is not None)), lambda _key: str(file)),
            (_from_env(env or {}), variable),
            ({key: value for key, value in (overrides or {}).items() if value is not None}, _flag),
        ]
        for layer, named in layers:
            for key, value in layer.items():
                _put(tree, key, value)
                sources[key] = named(key)
        try:
            settings = cls(**(tree | {"data": data}))
        except ValidationError as error:
            raise SettingsWrong(_explain(error, sources)) from None
        settings._sources.update(sources)
        return settings

    def shown(self) -> Iterator[tuple[str, object, str]]:
        """Every setting as key, value (without secrets) and where it was set; for `holdfast config show`."""
        for key, _field in walk():
            value: Any = self
            for part in key.split("."):
                value = getattr(value, part)
            if key == "database" and value is not None:
                value = redact_url(str(value))
            shown = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            source = self._sources.get(key, "default")
            if key == "channels" and self.channels:
                for name, channel in self.channels.items():
                    yield f"channels.{name}", channel.shown(), source
            else:
                yield key, shown, source


def split_listen(value: str) -> tuple[str, int]:
    """`HOST:PORT`, `[v6]:PORT`, as host and port."""
    host, colon, port = value.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > _PORTS:
        message = f"{value!r} is not HOST:PORT, such as 127.0.0.1:4680"
        raise ValueError(message)
    return host, int(port)


def walk() -> Iterator[tuple[str, Any]]:
    """Every setting's dotted key and declaration, in order."""
    for name, declared in Settings.model_fields.items():
        section = declared.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for inner, field in section.model_fields.items():
                yield f"{name}.{inner}", field
        else:
            yield name, declared


#: The settings that are paths.
PATHS = tuple(key for key, field in walk() if field.annotation == Path | None)


def variable(key: str) -> str:
    """The variable that sets this key."""
    return PREFIX + key.replace(".", "_").upper()


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-").replace(".", "-")


def _put(tree: dict[str, Any], key: str, value: object) -> None:
    *above, last = key.split(".")
    for part in above:
        tree = tree.setdefault(part, {})
    tree[last] = value


def _nearest(wrong: str, known: list[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.0)
    return f"; the nearest known one is {near[0]!r}" if near else ""


def _from_file(file: Path, *, required: bool) -> dict[str, object]:
    try:
        raw = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if not required:
            return {}
        message = f"The settings file {file} is not there. Create it or leave --config out."
        raise SettingsWrong(message) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"The settings file {file} cannot be read: {error}. Check its mode and that it is UTF-8 text."
        raise SettingsWrong(message) from None
    except ValueError as error:  # a TOMLDecodeError is one, and so is what a number of 5,000 digits raises
        message = f"The settings file {file} is not TOML: {error}. Correct that place."
        raise SettingsWrong(message) from None
    except RecursionError:
        message = f"The settings file {file} is nested too deep. No setting is: remove what it has in brackets."
        raise SettingsWrong(message) from None
    known = [key for key, _ in walk() if key != "data"]
    sections = {key.split(".")[0] for key in known if "." in key}
    found: dict[str, object] = {}
    for name, value in raw.items():
        if name in sections and isinstance(value, dict):
            found |= {f"{name}.{inner}": inner_value for inner, inner_value in value.items()}
        else:
            found[name] = value
    for key, value in found.items():
        if key not in known:
            near = _nearest(key, sorted(sections) if isinstance(value, dict) else known)
            message = f"{file}: there is no setting {key!r}{near}. Correct or remove it."
            raise SettingsWrong(message)
    return found


def _beside(file: Path, found: dict[str, object]) -> dict[str, object]:
    """The same settings, with paths that mean the same wherever the daemon is started."""
    paths = {key: value for key, value in found.items() if key in PATHS and isinstance(value, str) and value}
    if isinstance(found.get("channels"), dict):
        found = found | {"channels": channels_beside(file.absolute().parent, found["channels"])}
    return found | {key: str(file.absolute().parent / value) for key, value in paths.items()}


def _from_env(env: Mapping[str, str]) -> dict[str, object]:
    known = {variable(key): key for key, _ in walk() if key != "data"}
    found: dict[str, object] = {}
    for name, value in env.items():
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        if name not in known:
            near = _nearest(name, list(known))
            message = f"The variable {name} sets nothing: there is no such setting{near}. Correct or unset it."
            raise SettingsWrong(message)
        found[known[name]] = value
    return found


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    said = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        key = ".".join(str(part) for part in fault["loc"] if isinstance(part, str))
        where = f" (from {sources[key]})" if key in sources else ""
        what = fault["msg"].removeprefix("Value error, ")
        said.append(f"{key or 'settings'}{where}: {what}")
    return "The settings cannot be used. " + "; ".join(said) + ". Correct them; `holdfast config check` tries them."
