"""What `restart` remembers of the daemon that it ends, and what it must not."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import Daemon, holdfast


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder; whatever was left running on it is ended."""
    folder = tmp_path / "data"
    yield folder
    holdfast("down", "--data", str(folder))


def command_line(data: Path) -> list[str]:
    """The words of the daemon that runs there now."""
    shown = holdfast("status", "--json", "--data", str(data))
    assert shown.returncode == 0, shown.stderr
    pid = json.loads(shown.stdout)["pid"]
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def variables(data: Path) -> dict[str, str]:
    """Its settings in the environment."""
    pid = json.loads(holdfast("status", "--json", "--data", str(data)).stdout)["pid"]
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair.startswith("HOLDFAST_"))


@pytest.mark.guards(
    "restart runs the daemon with the options it was started with, in the foreground too",
    against="a daemon that comes back at another address, on another store, in other roles",
    breaks=("cli-remembers-nothing",),
)
def test_restart_keeps_the_options_of_a_foreground_daemon(data: Path) -> None:
    words = ["--listen", "127.0.0.1:0", "--role", "api", "--host", "north"]
    daemon = Daemon(data, words=words).up()
    try:
        assert stat.S_IMODE((data / "up.json").stat().st_mode) == 0o600
        assert [each.name for each in data.glob("up.json*")] == ["up.json"]
        assert holdfast("restart", "--data", str(data)).returncode == 0
        daemon.ended()
        line = command_line(data)
        assert [word for word in line if word in words] == [
            "--listen",
            "127.0.0.1:0",
            "--role",
            "api",
            "--host",
            "north",
        ]
    finally:
        daemon.close()


@pytest.mark.guards(
    "an `up` that fails does not touch the options of the daemon that worked",
    against="a typing error that restart repeats for ever",
    breaks=("cli-remembers-before-it-works",),
)
def test_a_failed_up_leaves_the_remembered_options(data: Path) -> None:
    good = holdfast("up", "--detach", "--listen", "127.0.0.1:0", "--host", "north", "--data", str(data))
    assert good.returncode == 0, good.stderr
    assert holdfast("down", "--data", str(data)).returncode == 0
    before = (data / "up.json").read_bytes()
    assert holdfast("up", "--detach", "--listen", "0.0.0.0:0", "--data", str(data)).returncode == 1
    assert (data / "up.json").read_bytes() == before
    assert holdfast("restart", "--data", str(data)).returncode == 0
    assert "north" in command_line(data)


def test_restart_keeps_the_settings_of_the_first_environment_and_no_others(data: Path) -> None:
    up = holdfast("up", "--detach", "--data", str(data), HOLDFAST_LISTEN="127.0.0.1:0", HOLDFAST_HOST="north")
    assert up.returncode == 0, up.stderr
    again = holdfast("restart", "--data", str(data), HOLDFAST_HOST="south", HOLDFAST_ROLES="worker")
    assert again.returncode == 0, again.stderr
    assert variables(data) == {"HOLDFAST_LISTEN": "127.0.0.1:0", "HOLDFAST_HOST": "north"}


def test_the_database_is_remembered_for_this_user_alone_and_stands_on_no_command_line(tmp_path: Path) -> None:
    from holdfast.cli import background

    given: dict[str, object] = {"database": "postgresql://u:secret@h/db"}
    options = background.options_of(given, config=None, demo=False, accept_loss=True)
    assert not any("secret" in word for word in options.words)
    (tmp_path / "up.json.new").touch(0o644)  # what a daemon that died just then left
    mask = os.umask(0)
    try:
        background.remember(tmp_path, options)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "up.json").stat().st_mode) == 0o600
    kept = background.last_options(tmp_path)
    assert kept.variables["HOLDFAST_DATABASE"] == "postgresql://u:secret@h/db"
    assert kept.words == []


@pytest.mark.guards(
    "a relative path in the environment means the same file in the background and after a restart",
    against="a daemon that does not find its certificate, or takes another one, because it runs elsewhere",
    breaks=("cli-hands-on-relative-paths",),
)
def test_paths_in_the_environment_are_handed_on_as_they_were_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.cli import background
    from holdfast.settings import Settings

    here, data = tmp_path / "here", tmp_path / "data"
    for folder in (here, data):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOLDFAST_TLS_CERT", "cert.pem")
    monkeypatch.setenv("HOLDFAST_TLS_KEY", "/etc/key.pem")
    options = background.options_of({}, config=None, demo=False, accept_loss=False)
    background.remember(data, options)
    monkeypatch.chdir(data)  # where the daemon runs
    for each in (options, background.last_options(data)):
        settings = Settings.load(data, env=each.variables)
        assert (settings.tls_cert, settings.tls_key) == (here / "cert.pem", Path("/etc/key.pem"))


def test_restart_does_not_end_a_daemon_whose_options_it_cannot_read(data: Path) -> None:
    daemon = Daemon(data).up()
    try:
        (data / "up.json").write_text("{")
        refused = holdfast("restart", "--data", str(data))
        assert (refused.returncode, "up.json" in refused.stderr) == (1, True)
        assert daemon.ask("GET", "/healthz", token=None).status == 200
    finally:
        daemon.close()
