"""What a person can get wrong on the command line: one line that says so, and the right status; never a traceback."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import ROOT, Daemon, environment, holdfast


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for the whole file."""
    made = Daemon(tmp_path_factory.mktemp("wrong") / "data").up()
    yield made
    made.close()


def refused(*words: str | bytes, status: int, **env: str) -> str:
    """Run a command that must end with this status and no traceback; what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *words],
        env=environment(**env), cwd=ROOT, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    said = done.stderr.decode(errors="replace")
    assert (done.returncode, "Traceback" in said) == (status, False), said
    return said


def written(target: str, *words: str) -> tuple[int, str]:
    """Run a command with its output going there."""
    command = f'set -o pipefail; {sys.executable} -m holdfast "$@" {target}'
    done = subprocess.run(
        ["bash", "-c", command, "holdfast", *words],
        env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--listen", "4792"), ("--role", "nope"), ("--host", "Bad Host"), ("--config", "/nope"), ("--config", ""),
        ("--data", ""), ("--data", "~nosuchuser/x"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", [(), ("--detach",)])
def test_up_with_wrong_options_ends_with_2(tmp_path: Path, words: tuple[str, ...], how: tuple[str, ...]) -> None:
    assert refused("up", *how, "--data", str(tmp_path), *words, status=2).strip()


@pytest.mark.parametrize("url", ["http://[", "http://localhost:99999", "ftp://x", "http://a..b", "http://h\n:1"])
def test_an_address_that_is_none_ends_with_2(url: str) -> None:
    assert "HOLDFAST_URL" in refused("events", status=2, HOLDFAST_URL=url, HOLDFAST_TOKEN="x")


def test_a_host_that_nobody_knows_is_named() -> None:
    said = refused("events", status=3, HOLDFAST_URL="http://nobody.invalid:1", HOLDFAST_TOKEN="x")
    assert "nobody.invalid" in said
    assert "ended the connection" not in said


@pytest.mark.parametrize("token", ["one\ntwo", "t\u00f6ken", "a b"])
def test_a_token_that_can_be_none_ends_with_2(daemon: Daemon, token: str) -> None:
    assert "HOLDFAST_TOKEN" in refused("events", "--data", str(daemon.data), status=2, HOLDFAST_TOKEN=token)


def test_a_token_file_with_bad_bytes_is_named(tmp_path: Path) -> None:
    from holdfast.cli import place
    from holdfast.cli.failures import CommandError

    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(CommandError, match="holds no token") as caught:
        place.token(tmp_path)
    assert str(tmp_path / "token") in str(caught.value)


def test_a_token_file_that_cannot_be_read_is_named_by_up(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    said = refused("up", "--listen", "127.0.0.1:0", "--data", str(tmp_path), status=1)
    assert f"The token file {tmp_path / 'token'} cannot be read (Is a directory)" in said
    assert "Errno" not in said


def test_a_folder_with_a_blank_is_quoted_in_what_to_type_next(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    said = refused("status", "--data", str(folder), status=3)
    assert shlex.split(said.partition("with: ")[2])[:4] == ["holdfast", "up", "--data", str(folder)]


def test_a_folder_that_cannot_be_looked_at_is_one_of_the_findings_of_doctor(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 300)  # as one behind a closed door, which opens for root
    done = holdfast("doctor", "--json", "--data", str(folder))
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    assert (found["data folder"]["status"], str(folder) in found["data folder"]["found"]) == ("missing", True)
    assert {"python", "git", "sqlite"} <= set(found)
    assert "Missing: data folder." in done.stderr


@pytest.mark.parametrize("how", [(), ("--detach",)])
@pytest.mark.parametrize("name", ["HOLDFAST_TLS_CERT", "HOLDFAST_TLS_KEY"])
def test_a_path_in_a_variable_that_is_empty_ends_with_2(tmp_path: Path, how: tuple[str, ...], name: str) -> None:
    assert f"(from {name}): is empty" in refused("up", *how, "--data", str(tmp_path / "data"), status=2, **{name: ""})


@pytest.mark.parametrize(
    "words",
    [
        ("project", "show", b"\xff"), ("project", "show", ""), ("project", "add", "~nosuchuser/x"),
        ("project", "add", b"/tmp/\xff"), ("project", "add", ""), ("project", "add", "/tmp", "--check", b"\xff"),
        ("project", "add", str(ROOT), "--id", "Foo"), ("token", "create", "x", "--scope", "root"),
        ("events", "--scope", b"\xff"), ("token", "revoke", ".."),
    ],
)  # fmt: skip
def test_words_that_the_command_cannot_take_end_with_2(daemon: Daemon, words: tuple[str | bytes, ...]) -> None:
    assert refused(*words, "--data", str(daemon.data), status=2).strip()


def test_an_output_that_is_full_is_said_in_one_line(daemon: Daemon) -> None:
    status, said = written(">/dev/full", "events", "--data", str(daemon.data))
    assert (status, said.count("\n")) == (1, 1), said
    assert "No space left" in said


def test_a_reader_that_has_seen_enough_is_no_failure(daemon: Daemon) -> None:
    assert written("| true", "events", "--json", "--data", str(daemon.data)) == (0, "")


def test_a_daemon_that_cannot_announce_itself_serves_all_the_same(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "holdfast", "up", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data")]
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(words, env=environment(), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "is up at" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    assert holdfast("down", "--data", str(tmp_path / "data")).returncode == 0
    rest = process.communicate(timeout=30)[1]
    assert (process.returncode, "Traceback" in said + rest, "Exception" in rest) == (0, False, False)


@pytest.mark.parametrize("how", [(), ("--detach",)])
@pytest.mark.parametrize("below", ["", "below"])
def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path, how: tuple[str, ...], below: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    said = refused("up", *how, "--data", str(file / below), status=1)
    assert f"{file} is a file" in said


def test_a_folder_that_cannot_be_written_is_refused_in_the_background_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.cli import background
    from holdfast.core.errors import StoreReadOnly

    def denied(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(StoreReadOnly, match="cannot be written"):
        background.start(tmp_path / "data", background.Options([], {}))


def test_a_folder_of_another_user_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast.cli import place
    from holdfast.cli.failures import CommandError
    from holdfast.core.store import lock

    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(lock, "holder", denied)
    with pytest.raises(CommandError, match="belongs to another user; run as that user, or set HOLDFAST_URL"):
        place.holder(tmp_path)


def test_config_check_loads_the_tls_files(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("not a certificate\n")
    (tmp_path / "holdfast.toml").write_text(
        f'tls_cert = "{tmp_path / "cert.pem"}"\ntls_key = "{tmp_path / "key.pem"}"\n'
    )
    assert "no good" in refused("config", "check", "--data", str(tmp_path), status=1)
