"""`holdfast config`: the settings as the daemon would read them here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import output, place
from holdfast.cli.failures import CommandError
from holdfast.cli.place import DataOption, JsonOption, given_path

if TYPE_CHECKING:
    from holdfast.settings import Settings

app = typer.Typer(help="Show and check the settings.", no_args_is_help=True, rich_markup_mode=None)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        parser=given_path,
        metavar="<path>",
        help="The settings file; holdfast.toml in the data folder without it.",
    ),
]


@app.command()
def show(config: ConfigOption = None, data: DataOption = None, json_: JsonOption = False) -> None:
    """Print every setting, its value (no secrets) and where it was set."""
    from holdfast.settings import Settings

    settings = Settings.load(place.data_folder(data), config, os.environ)
    rows = [{"setting": key, "value": value, "from": source} for key, value, source in settings.shown()]
    if json_:
        output.as_json(rows)
    else:
        output.table(rows, ("setting", "value", "from"), empty="There are no settings.")


@app.command()
def check(config: ConfigOption = None, data: DataOption = None) -> None:
    """Read the settings and say whether the daemon would take them."""
    from holdfast.core.web.server import require_safe
    from holdfast.settings import Settings, SettingsWrong

    try:
        settings = Settings.load(place.data_folder(data), config, os.environ)
    except SettingsWrong as error:  # the answer is no; the command itself was used as it should be
        raise CommandError(error.message) from None
    require_safe(settings.address[0], tls=settings.tls_cert is not None, insecure=settings.insecure_listen)
    for file in (settings.tls_cert, settings.tls_key):
        if file is not None and not os.access(file, os.R_OK):
            message = f"The file {file} named in the settings cannot be read."
            raise CommandError(message)
    if settings.tls_cert is not None and settings.tls_key is not None:
        _require_pair(settings.tls_cert, settings.tls_key)
    _require_channels(settings)
    output.say("The settings are good.")


def _require_channels(settings: Settings) -> None:
    """Refuse channels for kinds of notices that there are not, as the daemon would."""
    from holdfast.app import packs
    from holdfast.notify.channels.registry import require_known
    from holdfast.settings import SettingsWrong

    try:
        require_known(settings.channels, [kind.name for pack in packs() for kind in pack.notices])
    except SettingsWrong as error:
        raise CommandError(error.message) from None


def _require_pair(certificate: Path, key: Path) -> None:
    """Load the files as the daemon will: readable is not yet a certificate and the key that belongs to it."""
    import ssl

    def no_password() -> str:
        message = "the key is locked with a password, for which nobody could be asked"
        raise ValueError(message)

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        message = f"The TLS files {certificate} and {key} are no good: {error}."
        raise CommandError(message) from None
