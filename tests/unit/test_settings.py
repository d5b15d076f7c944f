"""Settings: read from where they stand, wrong ones refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.core.propagation.kinds import DRAIN_SECONDS
from holdfast.settings import NOT_SETTINGS, Settings, SettingsWrong, variable, walk

KEYS = [key for key, _ in walk() if key != "data"]
#: For every setting a value that it cannot have, as a variable says it.
BAD = {
    "listen": "4680",
    "tls_cert": "only-the-certificate.pem",
    "tls_key": "only-the-key.pem",
    "insecure_listen": "perhaps",
    "database": "mysql://here/db",
    "roles": "api,king",
    "host": "Not A Name!",
    "stop_seconds": "-1",
    "log.level": "loud",
    "log.format": "xml",
    "store.readers": "0",
    "store.writers": "many",
    "store.unit_seconds": "0",
    "store.read_seconds": "nan",
    "store.queue": "1.5",
    "changes.keep_days": "0",
    "changes.keep_rows": "1",
    "stream.subscribers": "0",
    "stream.ring_events": "1",
    "stream.ring_bytes": "1",
    "stream.keep_alive_seconds": "0.1",
    "propagation.keep_days": "0",
    "propagation.keep_rows": "-1",
    "fleet.max_sessions": "0",
    "fleet.min_free_memory_mb": "-1",
    "fleet.runtime": "screen",
    "fleet.resume_after_reboot": "perhaps",
    "fleet.sweep_seconds": "0.1",
    "fleet.record_bytes": "1",
    "fleet.keep_signals": "1",
    "fleet.check_seconds": "0",
    "fleet.check_memory_mb": "-1",
    "fleet.check_disk_mb": "0",
    "fleet.checks_at_once": "0",
    "fleet.forge_seconds": "0",
    "access.hosts": "https://not-a-host/",
    "access.origins": "not-an-origin",
    "access.ticket_seconds": "601",
    "access.body_bytes": "1",
    "notices.keep_days": "1",
    "notices.keep_rows": "1",
    "channels": "desk",
}


def in_file(data: Path, text: str) -> Settings:
    data.joinpath("holdfast.toml").write_text(text, "utf-8")
    return Settings.load(data)


def test_without_a_file_and_variables_every_setting_has_its_default(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path)
    assert settings.address == ("127.0.0.1", 4680)
    assert {source for _, _, source in settings.shown()} == {"default"}


def test_a_stop_has_the_time_that_work_in_progress_may_take(tmp_path: Path) -> None:
    assert Settings.load(tmp_path).stop_seconds > DRAIN_SECONDS


def test_every_setting_is_described() -> None:
    assert [key for key, field in walk() if not field.description] == []


def test_every_setting_has_a_bad_value_to_try() -> None:
    assert set(BAD) == set(KEYS)


@pytest.mark.guards(
    "A setting that cannot be is refused, with its name and where it stands.",
    against="A daemon that runs with something else than what was asked for.",
    breaks=("settings-forgive-a-wrong-host",),
)
@pytest.mark.parametrize("key", KEYS)
def test_a_value_that_cannot_be_is_refused_by_name(key: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong) as caught:
        Settings.load(tmp_path, env={variable(key): BAD[key]})
    named = "tls_cert and tls_key" if key.startswith("tls_") else f"{key} (from {variable(key)})"
    assert named in caught.value.message


@pytest.mark.parametrize("key", KEYS)
def test_a_value_of_the_wrong_kind_in_the_file_is_refused(key: str, tmp_path: Path) -> None:
    section, _, name = key.rpartition(".")
    with pytest.raises(SettingsWrong, match=key):
        in_file(tmp_path, (f"[{section}]\n" if section else "") + f"{name} = {{ not = 'this' }}\n")


@pytest.mark.guards(
    "A setting that nobody knows is refused, and the nearest known one named.",
    against="A misspelt setting that silently does nothing.",
    breaks=("settings-pass-over-unknown-variables",),
)
@pytest.mark.parametrize(
    ("name", "nearest"),
    [("HOLDFAST_LISTN", "HOLDFAST_LISTEN"), ("HOLDFAST_LOGLEVEL", "HOLDFAST_LOG_LEVEL"), ("HOLDFAST_", "HOLDFAST_")],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(name: str, nearest: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match=nearest):
        Settings.load(tmp_path, env={name: "x"})


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("lisen = '127.0.0.1:1'", "listen"),
        ("[log]\nlevl = 'info'", "log.level"),
        ("[logs]\nlevel = 'info'", "log"),
        ("data = '/tmp'", "database"),
        ("store = 3", "store"),
    ],
)
def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_known_one(
    text: str, nearest: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsWrong, match=f"nearest known one is '{nearest}"):
        in_file(tmp_path, text)


def test_variables_that_are_no_settings_are_left_alone(tmp_path: Path) -> None:
    env = dict.fromkeys(NOT_SETTINGS, "x") | {"PATH": "/bin", "holdfast_listen": "x"}
    assert Settings.load(tmp_path, env=env) == Settings.load(tmp_path)


def test_the_command_line_beats_variables_and_those_beat_the_file(tmp_path: Path) -> None:
    tmp_path.joinpath("holdfast.toml").write_text("listen = '127.0.0.1:1'\nhost = 'a'\n[log]\nlevel = 'error'\n")
    env = {"HOLDFAST_LISTEN": "127.0.0.1:2", "HOLDFAST_HOST": "b"}
    settings = Settings.load(tmp_path, env=env, overrides={"listen": "127.0.0.1:3", "host": None})
    assert (settings.address[1], settings.host, settings.log.level) == (3, "b", "error")
    sources = {key: source for key, _, source in settings.shown()}
    assert sources["listen"] == "--listen"
    assert sources["host"] == "HOLDFAST_HOST"
    assert sources["log.level"] == str(tmp_path / "holdfast.toml")


@pytest.mark.parametrize("written", ["a.example,b.example", '["a.example", "b.example"]', " a.example , B.example "])
def test_lists_in_variables_are_json_or_parted_by_commas(written: str, tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, env={"HOLDFAST_ACCESS_HOSTS": written})
    assert settings.access.hosts == ("a.example", "b.example")


@pytest.mark.parametrize(
    "host", ["name:8443", "[::1]:8443", "::1", "[name]", "[]", "", "https://name", "name/", "*.name", "me@name", "a b"]
)
def test_a_host_that_no_request_could_name_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match=r"access\.hosts .* without scheme, port and path"):
        Settings.load(tmp_path, env={"HOLDFAST_ACCESS_HOSTS": json.dumps([host])})


def test_hosts_are_names_and_addresses(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, env={"HOLDFAST_ACCESS_HOSTS": "Fleet.example, 10.0.0.1, [FE80::1]"})
    assert settings.access.hosts == ("fleet.example", "10.0.0.1", "[fe80::1]")


def test_a_relative_path_starts_at_the_file_that_it_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    settings = in_file(tmp_path, "tls_cert = 'tls/cert.pem'\ntls_key = '/etc/key.pem'")
    assert (settings.tls_cert, settings.tls_key) == (tmp_path / "tls" / "cert.pem", Path("/etc/key.pem"))


def test_a_relative_path_of_a_variable_starts_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    env = {"HOLDFAST_TLS_CERT": "cert.pem", "HOLDFAST_TLS_KEY": "key.pem"}
    settings = Settings.load(tmp_path / "data", env=env)
    monkeypatch.chdir("/")
    assert (settings.tls_cert, settings.tls_key) == (tmp_path / "cert.pem", tmp_path / "key.pem")


@pytest.mark.parametrize("key", ["tls_cert", "tls_key"])
def test_a_path_that_is_empty_is_refused_by_name(key: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match=rf"{key} \(from {variable(key)}\): is empty"):
        Settings.load(tmp_path, env={variable(key): ""})
    with pytest.raises(SettingsWrong, match=rf"{key} \(from .*holdfast\.toml\): is empty"):
        in_file(tmp_path, f"{key} = ''")


@pytest.mark.parametrize("text", ["[log", "listen = ", "\x00"])
def test_a_file_that_is_no_toml_is_refused_by_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match=r"holdfast\.toml is not TOML"):
        in_file(tmp_path, text)


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    tmp_path.joinpath("holdfast.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsWrong, match="cannot be read"):
        Settings.load(tmp_path)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match="is not there"):
        Settings.load(tmp_path, config=tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("listen", "address"),
    [("0.0.0.0:1", ("0.0.0.0", 1)), ("[::1]:4680", ("::1", 4680)), ("localhost:0", ("localhost", 0))],
)
def test_addresses_of_every_form_are_understood(listen: str, address: tuple[str, int], tmp_path: Path) -> None:
    assert Settings.load(tmp_path, overrides={"listen": listen}).address == address


@pytest.mark.parametrize("listen", ["", ":1", "host:", "host:x", "host:65536", "host:-1", "host:\u0661", "host"])
def test_an_address_that_is_none_is_refused(listen: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match="HOST:PORT"):
        Settings.load(tmp_path, overrides={"listen": listen})


@pytest.mark.guards(
    "What shows the settings hides the password in them.",
    against="A database password pasted into a bug report.",
    breaks=("settings-show-the-password",),
)
def test_the_password_of_the_database_is_not_shown(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, overrides={"database": "postgresql://me:hunter2hunter@db/fleet"})
    shown = json.dumps(list(settings.shown()), default=str)
    assert "hunter2" not in shown
    assert "postgresql://me:" in shown


def test_settings_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    settings: Any = Settings.load(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.host = "other"


def test_a_wrong_setting_is_one_of_our_own_errors() -> None:
    assert issubclass(SettingsWrong, HoldfastError)


WHOLE = [key for key, field in walk() if field.annotation is int]


@pytest.mark.parametrize("key", WHOLE)
def test_every_whole_number_has_an_end(key: str, tmp_path: Path) -> None:
    section, _, name = key.rpartition(".")
    for huge in (2**31, 2**63, 10**30):
        with pytest.raises(SettingsWrong, match=key):
            in_file(tmp_path, f"[{section}]\n{name} = {huge}\n")
    for endless in ("9" * 5_000, "-" + "9" * 5_000):
        with pytest.raises(SettingsWrong):
            in_file(tmp_path, f"[{section}]\n{name} = {endless}\n")
        with pytest.raises(SettingsWrong, match=key):
            Settings.load(tmp_path / "empty", env={variable(key): endless})


def test_a_file_that_is_nested_without_end_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match=r"holdfast\.toml is nested too deep"):
        in_file(tmp_path, "x = " + "[" * 5_000)
    with pytest.raises(SettingsWrong, match="not a JSON list"):
        Settings.load(tmp_path / "empty", env={"HOLDFAST_ACCESS_HOSTS": "[" * 100_000})
