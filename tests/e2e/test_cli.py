"""The command line against a real daemon: what it prints, and the status it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemons import ROOT, Daemon, environment, holdfast


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for the whole file."""
    made = Daemon(tmp_path_factory.mktemp("cli") / "data").up()
    yield made
    made.close()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit."""
    made = tmp_path / "shop"
    made.mkdir()
    (made / "README.md").write_text("shop\n")
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        who = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *who, *words], cwd=made, check=True, env=environment(GIT_CONFIG_GLOBAL=os.devnull))
    return made


def run(daemon: Daemon, *words: str, status: int = 0) -> str:
    """Run a command against the daemon; what it printed."""
    done = holdfast(*words, "--data", str(daemon.data))
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def test_help_and_version_load_nothing_heavy() -> None:
    heavy = "{'fastapi', 'pydantic', 'uvicorn', 'structlog', 'rich', 'apsw', 'psycopg', 'asyncio', 'http.client'}"
    code = f"import sys, holdfast.cli.main; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_help_lists_every_command() -> None:
    shown = holdfast("--help").stdout
    commands = "up, down, restart, status, doctor, version, token, config, events, audit, project"
    for command in commands.split(", "):
        assert f"  {command} " in shown


def test_wrong_usage_ends_with_2_and_no_daemon_with_3(tmp_path: Path) -> None:
    assert holdfast("up", "--no-such-option").returncode == 2
    assert holdfast("project", "show").returncode == 2
    for words in (["status"], ["down"], ["project", "ls"], ["events"], ["token", "ls"]):
        done = holdfast(*words, "--data", str(tmp_path))
        assert done.returncode == 3
        assert "holdfast up" in done.stderr


def test_a_project_is_added_listed_shown_and_removed(daemon: Daemon, repository: Path) -> None:
    words = ["--id", "shop", "--check", "make test", "--check", "make lint", "--max-sessions", "3"]
    assert "shop" in run(daemon, "project", "add", str(repository), *words)
    (listed,) = json.loads(run(daemon, "project", "ls", "--json"))
    shown = json.loads(run(daemon, "project", "show", "shop", "--json"))
    assert shown == listed
    assert (shown["path"], shown["checks"], shown["max_sessions"]) == (
        str(repository), ["make test", "make lint"], 3,
    )  # fmt: skip
    assert run(daemon, "project", "ls").split("\t")[0] == "shop"
    run(daemon, "project", "rm", "shop")
    assert json.loads(run(daemon, "project", "ls", "--json")) == []
    assert (repository / "README.md").exists()


def test_what_the_daemon_refuses_ends_with_1_and_its_reason(daemon: Daemon, tmp_path: Path) -> None:
    assert "git" in run(daemon, "project", "add", str(tmp_path), status=1)
    assert "nothing-here" in run(daemon, "project", "show", "nothing-here", status=1)


def test_a_token_is_made_used_and_revoked(daemon: Daemon) -> None:
    secret = run(daemon, "token", "create", "dashboard").strip()
    assert daemon.ask("GET", "/api/v1/projects", token=secret).status == 200
    (made,) = [each for each in json.loads(run(daemon, "token", "ls", "--json")) if each["name"] == "dashboard"]
    assert made["scope"] == "read"
    run(daemon, "token", "revoke", made["id"])
    assert daemon.ask("GET", "/api/v1/projects", token=secret).status == 401


def test_events_and_audit_print_what_was_done_and_by_whom(daemon: Daemon, repository: Path) -> None:
    run(daemon, "project", "add", str(repository), "--id", "seen")
    lines = [json.loads(line) for line in run(daemon, "events", "--scope", "seen", "--json").splitlines()]
    assert [(line["event"], line["entity_id"]) for line in lines] == [("project_created", "seen")]
    assert "project_created" in run(daemon, "events", "--after", str(lines[0]["seq"] - 1), "--event", "project_created")
    assert run(daemon, "events", "--scope", "no-such-scope") == ""
    acts = [json.loads(line) for line in run(daemon, "audit", "--json", "--actor", lines[0]["actor"]).splitlines()]
    assert ("project.added", "seen") in [(act["payload"]["kind"], act["payload"]["subject"]) for act in acts]
    assert {act["actor"] for act in acts} == {lines[0]["actor"]}
    assert "project.added" in run(daemon, "audit")


def test_events_follow_prints_changes_as_they_happen(daemon: Daemon) -> None:
    head = daemon.ask("GET", "/api/v1/changes?after=0&limit=1").body["head"]
    words = ["events", "-f", "--after", str(head), "--json", "--event", "token_created", "--data", str(daemon.data)]
    following = subprocess.Popen(
        [sys.executable, "-m", "holdfast", *words], env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert following.stdout is not None
        for name in ("first", "second"):
            run(daemon, "token", "create", name)
            assert json.loads(following.stdout.readline())["payload"]["name"] == name
    finally:
        following.kill()
        following.communicate()


@pytest.mark.guards(
    "text from outside reaches a terminal without its control characters",
    against="a name that rewrites the screen of whoever lists it",
    breaks=("output-trusts-the-outside",),
)
def test_control_characters_from_outside_are_taken_out(daemon: Daemon) -> None:
    from holdfast.cli import output

    wicked = "red \x1b[31m bell \x07 csi \x9b2J turned \u202e new\nline"
    assert output.cell(wicked) == "red �[31m bell � csi �2J turned � new line"
    daemon.ask("POST", "/api/v1/tokens", {"name": "plain \x1b[2J name", "scope": "read"})
    for words in (["token", "ls"], ["token", "ls", "--json"], ["events"], ["audit", "--json"]):
        assert "\x1b" not in run(daemon, *words)


def test_status_says_that_all_is_well(daemon: Daemon) -> None:
    known = json.loads(run(daemon, "status", "--json"))
    assert (known["pid"], known["readiness"]["overall"]) == (daemon.running.pid, "ok")
    assert "ok" in run(daemon, "status")


def test_version_names_what_it_stands_on() -> None:
    known = json.loads(holdfast("version", "--json").stdout)
    assert {"holdfast", "commit", "python", "apsw"} <= set(known)


def test_doctor_names_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    assert holdfast("doctor", "--data", str(tmp_path)).returncode == 0
    bare = holdfast("doctor", "--json", "--data", str(tmp_path), PATH=str(tmp_path))
    (git,) = [each for each in json.loads(bare.stdout) if each["name"] == "git"]
    assert bare.returncode == 1
    assert (git["status"], git["remedy"] != "") == ("missing", True)


def test_config_is_shown_with_its_sources_and_checked(tmp_path: Path) -> None:
    (tmp_path / "holdfast.toml").write_text('listen = "127.0.0.1:5000"\n')
    shown = holdfast("config", "show", "--json", "--data", str(tmp_path), HOLDFAST_STOP_SECONDS="3")
    rows = {row["setting"]: row for row in json.loads(shown.stdout)}
    assert rows["listen"] == {
        "setting": "listen", "value": "127.0.0.1:5000", "from": str(tmp_path / "holdfast.toml"),
    }  # fmt: skip
    assert rows["stop_seconds"]["from"] == "HOLDFAST_STOP_SECONDS"
    assert holdfast("config", "check", "--data", str(tmp_path)).returncode == 0
    (tmp_path / "holdfast.toml").write_text('lisen = "127.0.0.1:5000"\n')
    wrong = holdfast("config", "check", "--data", str(tmp_path))
    assert wrong.returncode == 1
    assert "'listen'" in wrong.stderr


def test_up_detach_restart_and_down(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "data")]
    try:
        up = holdfast("up", "--detach", "--listen", "127.0.0.1:0", "--demo", *data)
        assert up.returncode == 0, up.stderr
        first = json.loads(holdfast("status", "--json", *data).stdout)
        assert f"pid {first['pid']}" in up.stdout
        assert first["url"] in up.stdout
        again = holdfast("up", "--detach", *data)
        assert (again.returncode, f"pid {first['pid']}" in again.stderr) == (1, True)
        assert holdfast("restart", *data).returncode == 0
        second = json.loads(holdfast("status", "--json", *data).stdout)
        assert second["pid"] != first["pid"]
        (demo,) = json.loads(holdfast("project", "ls", "--json", *data).stdout)
        assert (demo["id"], demo["path"]) == ("demo", str(tmp_path / "data" / "demo"))
    finally:
        down = holdfast("down", *data)
    assert down.returncode == 0
    assert holdfast("down", *data).returncode == 3
    assert "daemon ending" in (tmp_path / "data" / "holdfast.log").read_text()


def test_up_detach_that_fails_says_why(tmp_path: Path) -> None:
    failed = holdfast("up", "--detach", "--listen", "0.0.0.0:0", "--data", str(tmp_path / "data"))
    assert failed.returncode == 1
    assert "--insecure-listen" in failed.stderr
