"""The daemon as a process: how it comes up, what it refuses, how it goes down."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import PATIENCE, Daemon, ask, environment, holdfast


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that was not started yet."""
    made = Daemon(tmp_path / "data")
    yield made
    made.close()


def until_stopped(daemon: Daemon) -> None:
    """Wait until the process has stopped itself (the `stop` action of a fault point)."""
    _, status = os.waitpid(daemon.running.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def test_a_daemon_comes_up_on_an_empty_folder_with_a_token_for_its_user_alone(daemon: Daemon) -> None:
    daemon.up()
    assert daemon.ask("GET", "/healthz", token=None).status == 200
    ready = daemon.ask("GET", "/readyz", token=None)
    assert (ready.status, ready.body["overall"]) == (200, "ok")
    assert stat.S_IMODE((daemon.data / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(daemon.data.stat().st_mode) == 0o700
    assert daemon.ask("GET", "/api/v1/projects").status == 200
    assert daemon.ask("GET", "/api/v1/projects", token=None).status == 401


def test_the_first_token_is_the_same_after_a_restart(daemon: Daemon) -> None:
    first = daemon.up().token
    assert daemon.stop() == 0
    assert daemon.up().token == first
    assert len(daemon.ask("GET", "/api/v1/tokens").body["items"]) == 1


@pytest.mark.guards(
    "a second daemon on the same data is refused with the pid and start time of the first, which does not notice",
    against="two daemons that write to one store",
    breaks=("lock-lets-two-in",),
)
def test_a_second_daemon_on_the_same_data_is_refused_with_pid_and_start_time(daemon: Daemon) -> None:
    daemon.up()
    second = holdfast("up", "--data", str(daemon.data), "--listen", "127.0.0.1:0", seconds=10)
    assert second.returncode == 1
    assert f"pid {daemon.running.pid}" in second.stderr
    assert re.search(r"started at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", second.stderr)
    acts = [act["kind"] for act in daemon.ask("GET", "/api/v1/audit").body["items"]]
    assert acts.count("daemon.started") == 1
    assert daemon.ask("GET", "/readyz", token=None).status == 200


@pytest.mark.guards(
    "a taken port is named, with the process that has it and what to do",
    against="a daemon that dies with a bare 'address already in use'",
    breaks=("server-hides-why-it-cannot-listen",),
)
def test_a_taken_port_is_named_with_its_owner_and_a_way_out(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = holdfast("up", "--data", str(daemon.data), "--listen", where, seconds=10)
    assert refused.returncode == 1
    assert where in refused.stderr
    assert f"process {os.getpid()} " in refused.stderr
    assert "--listen" in refused.stderr
    assert not (daemon.data / "holdfast.db").exists()


@pytest.mark.guards(
    "beyond loopback the daemon listens only with TLS or when told so by name",
    against="tokens that cross a network in the clear because of one option",
    breaks=("server-listens-anywhere",),
)
def test_an_address_beyond_loopback_is_refused_without_tls_or_the_flag(daemon: Daemon) -> None:
    refused = holdfast("up", "--data", str(daemon.data), "--listen", "0.0.0.0:0", seconds=10)
    assert refused.returncode == 1
    assert "--insecure-listen" in refused.stderr
    daemon.words = ("--listen", "0.0.0.0:0", "--insecure-listen")
    daemon.up()
    assert daemon.ask("GET", "/healthz", token=None).status == 200


@pytest.mark.guards(
    "SIGTERM lets a write that is under way be acknowledged, then the daemon ends with 0",
    against="a write that is done but never answered, at every restart",
    breaks=("lifecycle-does-not-drain",),
)
def test_sigterm_lets_the_write_that_is_under_way_be_answered(daemon: Daemon) -> None:
    daemon.up()
    assert daemon.stop() == 0
    daemon.env = {"HOLDFAST_FAULTS": "web.write.committed=stop"}
    daemon.up()
    answers: list[int] = []

    def write() -> None:
        answers.append(daemon.ask("POST", "/api/v1/tokens", {"name": "last words", "scope": "read"}).status)

    client = threading.Thread(target=write)
    client.start()
    until_stopped(daemon)
    daemon.running.send_signal(signal.SIGTERM)
    daemon.running.send_signal(signal.SIGCONT)
    assert daemon.ended() == 0, daemon.said()
    client.join(PATIENCE)
    assert answers == [201]
    daemon.env = {}
    assert "last words" in [each["name"] for each in daemon.up().ask("GET", "/api/v1/tokens").body["items"]]


@pytest.mark.guards(
    "a task that dies takes the whole daemon down with status 1, and the last words name it",
    against="a daemon that answers its probes while its stream stands still",
    breaks=("lifecycle-a-dead-task-is-nobodys-business",),
)
def test_a_task_that_dies_takes_the_daemon_down_and_is_named(daemon: Daemon) -> None:
    daemon.env = {"HOLDFAST_FAULTS": "hub.read_for_ring=raise"}
    daemon.up()
    stream = daemon.connect()
    stream.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {daemon.token}"})
    assert stream.getresponse().status == 200
    assert daemon.ask("POST", "/api/v1/tokens", {"name": "fatal", "scope": "read"}).status == 201
    assert daemon.ended() == 1
    assert "holdfast: the task 'stream' died: FaultRaisedError" in daemon.said().splitlines()[-1]
    stream.close()
    daemon.env = {}
    assert daemon.up().ask("GET", "/readyz", token=None).status == 200


def test_sigterm_ends_open_streams_and_idle_connections_at_once(daemon: Daemon) -> None:
    daemon.up()
    idle = daemon.connect()
    assert ask(idle, "GET", "/healthz").status == 200
    stream = daemon.connect()
    stream.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {daemon.token}"})
    response = stream.getresponse()
    assert response.status == 200
    assert daemon.stop() == 0, daemon.said()
    while response.readline():
        pass
    assert "grace" not in daemon.said().replace("grace_seconds", "")
    idle.close()
    stream.close()


def test_after_kill_9_the_folder_is_free_and_the_store_opens(daemon: Daemon) -> None:
    daemon.up()
    made = daemon.ask("POST", "/api/v1/tokens", {"name": "kept", "scope": "read"})
    assert made.status == 201
    daemon.kill()
    names = [each["name"] for each in daemon.up().ask("GET", "/api/v1/tokens").body["items"]]
    assert "kept" in names


def test_a_store_that_must_not_be_opened_ends_the_start_with_1_and_stays_as_it_is(daemon: Daemon) -> None:
    daemon.up()
    assert daemon.stop() == 0
    database = daemon.data / "holdfast.db"
    database.write_bytes(b"not a database" * 1000)
    refused = holdfast("up", "--data", str(daemon.data), "--listen", "127.0.0.1:0")
    assert refused.returncode == 1
    assert str(database) in refused.stderr
    assert "Traceback" not in refused.stderr
    assert database.read_bytes() == b"not a database" * 1000


def test_coming_up_and_going_down_are_acts_on_record(daemon: Daemon) -> None:
    daemon.up()
    assert daemon.stop() == 0
    daemon.up()
    changes = daemon.ask("GET", "/api/v1/changes?after=0&limit=100").body["items"]
    acts = [
        (change["payload"]["kind"], change["actor"])
        for change in changes
        if change["entity"] == "audit" and change["payload"]["kind"].startswith("daemon.")
    ]
    assert acts == [("daemon.started", "daemon"), ("daemon.stopped", "daemon"), ("daemon.started", "daemon")]


def test_secrets_of_the_environment_do_not_reach_the_log(daemon: Daemon) -> None:
    daemon.words = ("--listen", "127.0.0.1:0")
    daemon.env = {"HOLDFAST_LOG_LEVEL": "debug"}
    daemon.up()
    daemon.ask("GET", "/api/v1/projects")
    assert daemon.stop() == 0
    assert "daemon ending" in daemon.said()
    assert daemon.token not in daemon.said()


def test_the_lock_file_names_the_daemon_for_those_who_look(daemon: Daemon) -> None:
    daemon.up()
    holder = json.loads((daemon.data / "lock").read_text())
    assert (holder["pid"], holder["url"]) == (daemon.running.pid, daemon.url)


def test_an_unknown_variable_of_ours_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    refused = holdfast("up", "--data", str(tmp_path / "data"), HOLDFAST_LISTN="127.0.0.1:0")
    assert refused.returncode == 2
    assert "HOLDFAST_LISTEN" in refused.stderr
    assert "HOLDFAST_LISTN" not in environment()
