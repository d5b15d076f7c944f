"""The scripted agent, played in a terminal: everything that its scripts can make it do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from acting import PASTE, Stage
from holdfast.fleet.agents.scripted import SCRIPTED
from holdfast.fleet.agents.scripted_steps import STEPS

NASTY = {
    "quotes": """it's "quoted" `now` $HOME $(id) \\ ; & | > <""",
    "lines": "first\n\n  third\n",
    "control": "bell \x07 escape \x1b[31m red \x01\x02",
    "unicode": "żółć 漢字 🦀 \u202e\u0301 e\u0301",
    "option": "--resume=x",
    "empty": "",
}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.guards(
    "What the scripted agent was given it notes exactly, whatever is in it.",
    against="tests of deliveries that compare with something else than what was delivered",
    breaks=("scripted-trims-its-prompt",),
)
@pytest.mark.parametrize("text", [*NASTY.values(), "\x00", "é" * 500_000], ids=[*NASTY, "null", "megabyte"])
def test_a_prompt_is_taken_exactly(stage: Stage, text: str) -> None:
    with stage.play("turn:\nexit", prompt=text) as play:
        assert play.end() == 0
    assert stage.texts("prompt") == [text]


@pytest.mark.parametrize("text", [NASTY["quotes"], NASTY["lines"], NASTY["unicode"], "long é " * 30_000, "\n" * 50])
def test_a_pasted_message_is_taken_exactly(stage: Stage, text: str) -> None:
    with stage.play() as play:
        play.shows("\x1b[?2004h\r\x1b[K> ")
        play.say(text)
        play.told("stop")
    assert stage.texts("message") == [text]
    assert [signal["event"] for signal in stage.signals()] == ["start", "submit", "stop"]


def test_a_multiplexer_pastes_line_feeds_as_carriage_returns(stage: Stage) -> None:
    with stage.play() as play:
        play.say("one\rtwo\r\nthree")
        play.noted("message")
    assert stage.texts("message") == ["one\ntwo\nthree"]


def test_a_paste_that_comes_in_pieces_is_one_text(stage: Stage) -> None:
    whole = PASTE % "żółw\r".encode()
    with stage.play() as play:
        play.shows("> ")
        for at in range(len(whole)):
            play.type(whole[at : at + 1])
        play.shows("[Pasted text: 5 characters, 2 lines]")
        play.type(b"\r")
        play.noted("message")
    assert stage.texts("message") == ["żółw\n"]


def test_the_box_shows_what_is_typed_and_a_long_paste_by_its_size(stage: Stage) -> None:
    with stage.play() as play:
        play.type(b"hallo\x7f\x7fp")
        play.shows("> halp")
        play.type(b"\x15" + PASTE % b"x\ny")
        play.shows("> [Pasted text: 3 characters, 2 lines]")
    assert SCRIPTED.input.pasted is not None
    assert SCRIPTED.input.pasted.search("> [Pasted text: 3 characters, 2 lines]")


def test_enters_that_are_swallowed_leave_the_text_in_the_box(stage: Stage) -> None:
    with stage.play("start:\nswallow 2") as play:
        play.say("again")
        play.noted("swallowed")
        assert stage.journal("message") == []
        play.type(b"\r")
        play.noted("swallowed", 2)
        play.type(b"\r")
        play.noted("message")
    assert stage.texts("swallowed") == ["again", "again"]
    assert stage.texts("message") == ["again"]


@pytest.mark.guards(
    "Whatever is typed while a permission is asked for is noted as typed into the dialog, and answers it.",
    against="a test that proves nothing was typed into a dialog by an agent that would not have noticed",
    breaks=("scripted-forgets-what-answers",),
)
def test_what_is_typed_while_a_permission_is_asked_for_answers_it(stage: Stage) -> None:
    with stage.play("turn:\npermit Bash") as play:
        play.say("go")
        play.told("permission")
        play.shows("? Allow Bash [y/n]")
        play.say("no, wait")
        play.shows("Bash: denied")
        play.told("stop")
    assert [line["text"] for line in stage.journal("typed_into_dialog")] == ["no, wait", ""]
    assert [(line["answer"], line["answered"]) for line in stage.journal("dialog")] == [("no, wait", True)]
    assert stage.texts("message") == ["go"]
    assert stage.events() == ["start", "submit", "permission", "resolved", "stop"]


def test_a_dialog_can_be_answered_elsewhere_and_then_nothing_was_typed_into_it(stage: Stage) -> None:
    with stage.play("turn:\npermit Bash answered") as play:
        play.say("go")
        play.told("permission")
        (stage.home / "answered").touch()
        play.told("stop")
    assert stage.journal("typed_into_dialog") == []
    assert [line["answered"] for line in stage.journal("dialog")] == [False]


def test_a_question_is_answered_by_the_next_message(stage: Stage) -> None:
    with stage.play("turn:\nask Which colour?\nsay thanks") as play:
        play.say("paint")
        play.told("ask")
        play.say("green")
        play.told("stop")
    assert stage.texts("message") == ["paint", "green"]
    assert [line.get("answers") for line in stage.journal("message")] == [None, "Which colour?"]
    assert stage.events() == ["start", "submit", "ask", "submit", "stop"]


def test_messages_that_come_while_it_works_wait_for_their_turn(stage: Stage) -> None:
    with stage.play("turn:\ntouch busy\nwait go\nevery:\nwork 0 2") as play:
        play.say("first")
        play.until((stage.home / "busy").exists)
        play.say("second")
        play.say("third")
        (stage.home / "go").touch()
        play.told("stop", 3)
    assert stage.texts("message") == ["first", "second", "third"]
    assert stage.events() == ["start", *["submit", "stop"] * 3]


@pytest.mark.parametrize("before", [True, False], ids=["made-before", "made-after"])
def test_it_waits_for_a_fifo_to_be_written(stage: Stage, before: bool) -> None:
    fifo = stage.home / "gate"
    os.mkfifo(fifo)
    with stage.play("turn:\nwait gate\nevery:\nwait gate", prompt="go") as play:
        play.told("submit")
        fifo.write_text("now", encoding="utf-8")
        play.told("stop")


@pytest.mark.parametrize(
    ("steps", "status"),
    [("exit", 0), ("exit 3", 3), ("fail", 1), ("fail 7", 7), ("die KILL", -9), ("die SEGV", -11), ("die TERM", -15)],
)
def test_it_ends_as_the_script_says(stage: Stage, steps: str, status: int) -> None:
    with stage.play(f"turn:\n{steps}", prompt="go") as play:
        assert play.end() == status
    assert (stage.events()[-1] == "end") == steps.startswith("exit")


def test_hanging_it_works_for_ever_without_a_word(stage: Stage) -> None:
    with stage.play("turn:\ntouch hangs\nhang", prompt="go") as play:
        play.until((stage.home / "hangs").exists)
        while play.look(0):
            pass
        shown = play.output
        play.type(b"x")
        play.shows("> x")
        assert play.output.removeprefix(shown) == b"\r\x1b[K> x"
        assert play.alive()
        play.type(b"\x03")
        play.told("stop")
    assert len(stage.journal("interrupted")) == 1


def test_a_silent_agent_gives_no_signal(stage: Stage) -> None:
    with stage.play("start:\nsilent", prompt="go") as play:
        play.shows("working, line 1 of 1")
        play.say("more")
        play.noted("message")
    assert not stage.spool.exists()


def test_a_signal_can_get_lost_and_another_come_late(stage: Stage) -> None:
    with stage.play("turn:\nlose stop\nlate end\nlate idle 1\ndone", prompt="go", launch=4) as play:
        play.noted("lost")
    told = [(signal["launch"], signal["event"]) for signal in stage.signals()]
    assert told == [(4, "start"), (4, "submit"), (3, "end"), (1, "idle"), (4, "done")]


@pytest.mark.parametrize("how", ["tty", "daemon"])
def test_it_leaves_a_process_behind(stage: Stage, how: str) -> None:
    with stage.play(f"turn:\nleave {how}\nexit 5", prompt="go") as play:
        assert play.end() == 5
        (left,) = stage.journal("left")
        assert os.getsid(left["pid"]) == (play.pid if how == "tty" else os.getpgid(left["pid"]))
        held = {str(Path(f"/proc/{left['pid']}/fd/{number}").readlink()) for number in (0, 1, 2)}
        assert (held == {"/dev/null"}) == (how == "daemon")
        assert f"HOLDFAST_SPOOL={stage.spool}".encode() in Path(f"/proc/{left['pid']}/environ").read_bytes()


def test_signals_of_the_system_can_be_ignored(stage: Stage) -> None:
    with stage.play("start:\nignore TERM HUP") as play:
        play.told("start")
        os.kill(play.pid, signal.SIGTERM)
        os.kill(play.pid, signal.SIGHUP)
        play.say("still there")
        play.told("stop")
        assert play.alive()


def test_a_flood_is_as_large_as_it_was_asked_to_be(stage: Stage) -> None:
    with stage.play("turn:\nflood 1000000\nexit", prompt="go") as play:
        assert play.end() == 0
        play.until(lambda: play.terminal < 0)
    assert play.output.count(b"\r\n") == pytest.approx(10_000, abs=20)


def test_it_edits_and_commits(stage: Stage) -> None:
    subprocess.run(["git", "init", "-q", str(stage.workspace)], check=True)
    with stage.play("turn:\nedit notes.txt one line\ncommit The note\nedit notes.txt two", prompt="go") as play:
        play.told("stop")
    git = ["git", "-C", str(stage.workspace)]
    assert subprocess.check_output([*git, "log", "--format=%s", "--", "notes.txt"], text=True) == "The note\n"
    assert subprocess.check_output([*git, "show", "HEAD:notes.txt"], text=True) == "one line\n"
    assert (stage.workspace / "notes.txt").read_text() == "one line\ntwo\n"


def test_a_conversation_goes_on_in_the_next_launch(stage: Stage) -> None:
    script = "turn:\nsay turn one\nturn:\nsay turn two\nresume:\nsay back again"
    with stage.play(script, prompt="remember me") as play:
        play.told("stop")
    with stage.play(script, resume="fresh-1", launch=2, notice="You were interrupted.") as play:
        play.shows("I remember 1 messages; the last is: remember me")
        play.told("stop", 2)
        play.say("what now")
        play.told("stop", 3)
        play.shows("back again")
        play.shows("turn two")
    assert stage.texts("notice") == ["You were interrupted."]
    assert {signal["detail"]["conversation"] for signal in stage.signals()} == {"fresh-1"}


def test_a_conversation_that_nobody_knows_cannot_be_resumed(stage: Stage) -> None:
    with stage.play(resume="other") as play:
        assert play.end() == 3
        play.shows("No conversation other is known here.")
    assert stage.journal() == []


@pytest.mark.parametrize("steps", ["turn:\n  dance", "nonsense:"])
def test_a_script_that_cannot_be_read_is_refused_with_its_line(stage: Stage, steps: str) -> None:
    with stage.play(steps) as play:
        assert play.end() == 2
        play.shows("is no step; known are work, say,")


def test_every_step_is_played_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    played = set(re.findall(rf"(?:\\n|:\\n|\(\"|f\")({'|'.join(STEPS)})\b", text))
    assert played == set(STEPS)
    assert [name for name, step in STEPS.items() if not (step.__doc__ or "").startswith(f"`{name}")] == []
