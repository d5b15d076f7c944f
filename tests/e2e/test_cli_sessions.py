"""The commands of sessions against a real daemon, real git and a real tmux, with the scripted agent."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from daemons import PATIENCE, ROOT, environment, holdfast
from fleets import Fleet, fleet

pytestmark = [pytest.mark.needs("tmux"), pytest.mark.xdist_group("cli-sessions")]
NASTY = "quotes \" ' ` $(x) \\\nsecond line\twith a tab\n\N{BUG} \u00e9 %s {} <>"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One daemon with one project for the whole file."""
    with fleet(tmp_path_factory.mktemp("cli"), "tmux", HOLDFAST_FLEET_MAX_SESSIONS="100") as made:
        made.daemon.ask("PATCH", "/api/v1/projects/demo", {"max_sessions": 50})
        yield made


def run(shop: Fleet, *words: str, status: int = 0, text: str | None = None) -> str:
    """Run a command; what it printed, or what it complained."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *words],
        env=environment(HOLDFAST_DATA=str(shop.daemon.data)), cwd=ROOT, capture_output=True, text=True,
        input=text, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def told(shop: Fleet, *words: str) -> Any:
    return json.loads(run(shop, *words, "--json"))


def spawned(shop: Fleet, *words: str, steps: str = "") -> str:
    """A session that has come to its first word; its id."""
    more = ("-o", f"steps={steps}") if steps else ()
    return run(shop, "spawn", "demo", "--prompt", "say hello", "--wait", *more, *words).strip()


def again(look: Callable[[], str], wanted: str) -> None:
    """Look until this is there, where nothing tells of it."""
    deadline = monotonic() + PATIENCE
    while wanted not in (found := look()):
        assert monotonic() < deadline, found


def journal(shop: Fleet, session: str) -> list[Any]:
    """What the scripted agent was given."""
    file = shop.daemon.data / "sessions" / session / "agent" / "journal.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


class Terminal:
    """A command that runs in a terminal of its own."""

    def __init__(self, shop: Fleet, *words: str) -> None:
        self.said = b""
        self.pid, self.fd = pty.fork()
        if not self.pid:  # the child
            env = environment(HOLDFAST_DATA=str(shop.daemon.data), TERM="xterm-256color", COLUMNS="160", LINES="40")
            os.chdir(ROOT)
            os.execvpe(sys.executable, [sys.executable, "-m", "holdfast", *words], env)

    def read(self, wanted: str) -> str:
        """Read until this has been shown, or the command has ended."""
        deadline = monotonic() + PATIENCE
        while wanted not in self.said.decode("utf-8", "replace"):
            assert select.select([self.fd], [], [], deadline - monotonic())[0], self.said
            try:
                piece = os.read(self.fd, 65_536)
            except OSError:  # the terminal is gone with the command
                piece = b""
            if not piece:
                break
            self.said += piece
        return self.said.decode("utf-8", "replace")

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def ended(self) -> int:
        """Its exit status."""
        self.read("\0")
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


# --- the life of a session ---------------------------------------------------------------------------------------


def test_a_session_is_started_seen_spoken_to_and_ended(shop: Fleet) -> None:
    session = spawned(shop, "--title", "A greeting", steps="turn:\nsay hello back\nedit notes.txt line one")
    assert re.fullmatch(r"demo-\d+", session)
    row = next(line for line in run(shop, "ls").splitlines() if line.startswith(f"{session}\t")).split("\t")
    assert (row[2], row[4], row[7]) == ("scripted", "1", "A greeting")
    assert "(signal)" in row[3]
    assert re.fullmatch(r"\d+(\.\d)? MB", row[5])
    shop.until(session, lambda found: found["status"] == "idle")
    assert "said by a signal" in run(shop, "explain", session)
    assert "hello back" in run(shop, "logs", session)
    assert "hello back" in run(shop, "logs", session, "--screen")
    assert "+line one" in run(shop, "diff", session).splitlines()
    assert "launch 1 is alive" in run(shop, "timeline", session)
    assert re.search(r"^branch +holdfast/", run(shop, "show", session), re.MULTILINE)
    sent = run(shop, "send", session, "and again", "--wait", "confirmed")
    assert sent.endswith("is confirmed.\n")
    assert run(shop, "kill", session, "--wait") == f"Asked for the end of {session}.\n"
    assert shop.session(session)["status"] == "killed"
    assert shop.processes(session) == []
    assert run(shop, "kill", session, status=1).startswith(f"holdfast: Session {session} has ended already")
    assert session in run(shop, "cleanup", session, "--wait")
    assert session not in run(shop, "ls")
    assert session in run(shop, "ls", "--all")
    acts = run(shop, "audit")
    assert [act in acts for act in ("session.spawned", "message.sent", "session.killed", "session.cleaned")] == [
        True
    ] * 4


def test_the_work_of_a_session_is_kept_and_put_back(shop: Fleet, tmp_path: Path) -> None:
    session = spawned(shop, steps="turn:\nedit notes.txt line one")
    shop.until(session, lambda found: found["status"] == "idle")
    run(shop, "kill", session, "--wait")
    run(shop, "cleanup", session, "--wait")
    (kept,) = told(shop, "kept", "ls", "--session", session)
    assert kept["ref"] in run(shop, "kept", "ls")
    came = run(shop, "kept", "restore", kept["ref"], "--to", str(tmp_path / "back"))
    assert str(tmp_path / "back") in came
    assert (tmp_path / "back" / "notes.txt").read_text() == "line one\n"
    assert "holdfast" in run(shop, "kept", "restore", "refs/holdfast/kept/demo-999/1", status=1)
    assert "back" in run(shop, "kept", "restore", kept["ref"], "--to", str(tmp_path / "back"), status=1)


def test_a_session_goes_on_in_its_conversation_after_its_end(shop: Fleet) -> None:
    session = spawned(shop)
    before = shop.until(session, lambda found: found["status"] == "idle")
    run(shop, "kill", session, "--wait")
    assert told(shop, "restore", session, "--wait")[0]["launch"] == 2
    after = shop.until(session, lambda found: found["status"] == "idle")
    assert after["agent_session_id"] == before["agent_session_id"]
    assert "There is nothing to restore" in run(shop, "restore", session, status=1)


@pytest.mark.guards(
    "A prompt and a message reach the agent exactly as they stood in a file or on standard input.",
    against="A line end, a quote or a tab that is lost on the way.",
    breaks=("cli-trims-what-is-said",),
)
def test_what_is_said_arrives_exactly(shop: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "prompt"
    file.write_text(NASTY + "\n\n", "utf-8")
    session = run(shop, "spawn", "demo", "--prompt-file", str(file), "--wait").strip()
    shop.until(session, lambda found: found["status"] == "idle")
    run(shop, "send", session, "-", "--wait", "confirmed", text=NASTY)
    texts = [line["text"] for line in journal(shop, session) if "text" in line]
    assert texts == [NASTY + "\n\n", NASTY]


def test_a_session_that_fails_says_so_to_whoever_waits(shop: Fleet) -> None:
    failed = run(
        shop, "spawn", "demo", "--agent", "command", "-o", 'command=["sh", "-c", "exit 3"]', "--wait", status=1
    )
    assert re.search(r"Session demo-\d+ has ended: agent process exited\. See: holdfast explain demo-\d+", failed)


# --- following ---------------------------------------------------------------------------------------------------


def test_a_list_that_is_watched_shows_changes_as_they_happen(shop: Fleet) -> None:
    watching = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "ls", "--watch", "--json"],
        env=environment(HOLDFAST_DATA=str(shop.daemon.data)), cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watching.stdout is not None
        session = spawned(shop)
        seen: list[str] = []
        while not seen or seen[-1] != "idle":
            row = json.loads(watching.stdout.readline())
            if row["id"] == session:
                seen.append(row["status"])
        run(shop, "kill", session)
        while seen[-1] != "killed":
            row = json.loads(watching.stdout.readline())
            if row["id"] == session:
                seen.append(row["status"])
    finally:
        watching.kill()
        watching.communicate()


def test_output_is_followed_to_its_end(shop: Fleet) -> None:
    session = spawned(shop)
    following = subprocess.Popen(
        [sys.executable, "-m", "holdfast", "logs", "-f", session],
        env=environment(HOLDFAST_DATA=str(shop.daemon.data)), cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    run(shop, "send", session, "a later word", "--wait", "confirmed")
    run(shop, "kill", session, "--wait")
    said, _ = following.communicate(timeout=PATIENCE)
    assert following.returncode == 0
    assert "a later word" in said


@pytest.mark.guards(
    "What an agent prints reaches a terminal as text, without anything that drives it.",
    against="An agent that rewrites the screen, or the title, of whoever looks at its output.",
    breaks=("logs-drive-the-terminal",),
)
def test_output_is_shown_as_text_and_raw_on_request(shop: Fleet) -> None:
    session = spawned(
        shop, "--agent", "command", "-o", r'command=["sh", "-c", "printf \"a\\033]0;t\\007b\\033[2J\\n\"; sleep 60"]'
    )
    again(lambda: run(shop, "logs", session), "ab")
    assert "\x1b" not in run(shop, "logs", session)
    assert "\x1b" not in run(shop, "logs", session, "--json")
    assert "\x1b]0;t\x07" in run(shop, "logs", session, "--raw")
    run(shop, "kill", session, "--wait")


# --- at a terminal -----------------------------------------------------------------------------------------------


def prefixed(shop: Fleet) -> str:
    """Whether the person's tmux client has seen the prefix key."""
    form = "#{?client_control_mode,,#{client_prefix}}"
    words = ["tmux", "-S", str(shop.tmux_socket()), "list-clients", "-F", form]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_a_terminal_joins_a_session_and_leaves_it_again(shop: Fleet) -> None:
    session = spawned(shop)
    terminal = Terminal(shop, "attach", session)
    assert "say hello" in terminal.read("say hello")
    terminal.type(b"\x02")
    again(lambda: prefixed(shop), "1")  # keys that come at once are a paste, to tmux
    terminal.type(b"d")
    assert terminal.ended() == 0
    assert shop.session(session)["is_alive"]
    assert "Only a terminal" in run(shop, "attach", session, status=2)
    assert told(shop, "attach", session)["command"][0]


def test_a_watched_table_is_drawn_anew(shop: Fleet) -> None:
    terminal = Terminal(shop, "ls", "--watch")
    terminal.read("ACTIVITY")
    session = spawned(shop, "--title", "Seen at once")
    assert "Seen at once" in terminal.read("Seen at once")
    run(shop, "kill", session)
    terminal.read("ended")
    terminal.type(b"\x03")
    assert terminal.ended() == 130


def test_empty_lists_teach_at_a_terminal(tmp_path: Path) -> None:
    from daemons import Daemon

    daemon = Daemon(tmp_path / "data").up()
    try:
        empty = Fleet(daemon, tmp_path, "tmux")
        for words, hint in ((["ls"], "holdfast spawn"), (["kept", "ls"], "holdfast cleanup")):
            terminal = Terminal(empty, *words)
            assert hint in terminal.read(hint)
            assert terminal.ended() == 0
            assert run(empty, *words) == ""
            assert run(empty, *words, "--json") == "[]\n"
        assert "nothing" in run(empty, "restore", "--all").lower()
        assert "No session" in run(empty, "cleanup")
    finally:
        daemon.close()


def test_a_table_has_headings_at_a_terminal(shop: Fleet) -> None:
    spawned(shop)
    terminal = Terminal(shop, "ls")
    assert "ACTIVITY" in terminal.read("demo-")
    assert terminal.ended() == 0


# --- wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["spawn"], "PROJECT"),
        (["spawn", "demo", "--prompt", "x", "--prompt-file", "y"], "one of them"),
        (["spawn", "demo", "--prompt-file", "/no/such/file"], "/no/such/file"),
        (["spawn", "demo", "-o", "model"], "KEY=VALUE"),
        (["restore"], "--all"),
        (["restore", "demo-1", "--all"], "--all"),
        (["kill"], "ID"),
        (["send", "demo-1"], "TEXT"),
        (["send", "demo-1", "x", "--wait", "gone"], "confirmed"),
        (["logs", "demo-1", "--bytes", "0"], "bytes"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_to_do(words: list[str], hint: str, tmp_path: Path) -> None:
    done = holdfast(*words, "--data", str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert hint in done.stderr


def test_without_a_daemon_every_command_ends_with_3(tmp_path: Path) -> None:
    commands = (
        ["spawn", "demo"], ["ls"], ["ls", "--watch"], ["show", "a-1"], ["explain", "a-1"], ["timeline", "a-1"],
        ["logs", "a-1"], ["attach", "a-1"], ["diff", "a-1"], ["send", "a-1", "x"], ["kill", "a-1"],
        ["restore", "--all"], ["cleanup"], ["kept", "ls"], ["agents", "ls"], ["init", str(tmp_path)],
    )  # fmt: skip
    for words in commands:
        done = holdfast(*words, "--data", str(tmp_path))
        assert (done.returncode, "holdfast up" in done.stderr) == (3, True), words


def test_what_the_daemon_refuses_is_told_in_its_words(shop: Fleet, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"\xff\xfe")
    for words, status, hint in (
        (["spawn", "nothing"], 1, "holdfast project ls"),
        (["spawn", "demo", "--agent", "script"], 2, "'scripted'"),
        (["spawn", "demo", "--branch", "a b"], 2, "branch"),
        (["spawn", "demo", "--prompt-file", str(empty)], 2, "empty"),
        (["spawn", "demo", "--prompt-file", str(wrong)], 2, "UTF-8"),
        (["show", "demo-999"], 1, "holdfast ls"),
        (["show", ".."], 2, "ID"),
        (["kill", "demo-999"], 1, "demo-999"),
        (["diff", "demo-999"], 1, "demo-999"),
    ):
        assert hint in run(shop, *words, status=status)


def test_one_session_that_is_refused_keeps_no_other_from_its_end(shop: Fleet) -> None:
    session = spawned(shop)
    said = run(shop, "kill", "demo-999", session, status=1)
    assert "1 of 2 sessions were left as they are" in said
    shop.until(session, lambda found: found["status"] == "killed")
