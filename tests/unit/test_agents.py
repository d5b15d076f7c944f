"""The registry by name, the agent `command`, and how the scripted agent's options and signals read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import Invalid
from holdfast.fleet.agents.command import COMMAND
from holdfast.fleet.agents.declare import SIGNAL_KINDS, Heard, Start
from holdfast.fleet.agents.registry import AGENTS, agent, installed
from holdfast.fleet.agents.scripted import SCRIPTED


def start(tmp_path: Path, text: str | None = "Go.", /, **options: Any) -> Start:
    return Start("a-1", 1, tmp_path, tmp_path, text, None, "fresh", None, ("hook",), options)


def test_there_are_six_agents() -> None:
    assert set(AGENTS) == {"scripted", "command", "claude-code", "codex", "gemini", "opencode"}
    assert [name for name, known in AGENTS.items() if known.name != name] == []


@pytest.mark.parametrize(
    ("name", "near"), [("claude", "claude-code"), ("Codex", "codex"), ("gemni", "gemini"), ("open-code", "opencode")]
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(name: str, near: str) -> None:
    with pytest.raises(Invalid, match=f"There is no agent '{name}'. Did you mean '{near}'?"):
        agent(name)


@pytest.mark.parametrize("name", ["", "zzz", "x" * 10_000])
def test_a_name_that_is_like_none_is_answered_with_all(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        agent(name)
    assert "Did you mean" not in refused.value.message
    assert all(known in refused.value.message for known in AGENTS)
    assert len(refused.value.message) < 300


def test_the_option_command_is_looked_for_in_place_of_the_binary(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\n", encoding="utf-8")
    other.chmod(0o700)
    assert installed(agent("codex"), {}, str(tmp_path)) is None
    assert installed(agent("codex"), {"command": "other --fast"}, str(tmp_path)) == str(other)
    assert installed(agent("codex"), {"command": str(other)}, "") == str(other)
    assert installed(COMMAND, {}, str(tmp_path)) is None
    other.chmod(0o600)
    assert installed(agent("codex"), {"command": ["other"]}, str(tmp_path)) is None


# --- command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "argv", "typed"),
    [
        ({"command": "my-agent --fast 'two words'"}, ("my-agent", "--fast", "two words"), "Go."),
        ({"command": ["my-agent"]}, ("my-agent",), "Go."),
        ({"command": ["my-agent"], "prompt": "none"}, ("my-agent",), None),
        ({"command": ["my-agent"], "prompt": "argument"}, ("my-agent", "Go."), None),
        ({"command": ["my-agent", "--say={prompt}", "-x"]}, ("my-agent", "--say=Go.", "-x"), None),
        ({"command": "my-agent {prompt}"}, ("my-agent", "Go."), None),
        ({"command": ["my-agent", "{prompt}"], "prompt": "typed"}, ("my-agent", "{prompt}"), "Go."),
    ],
)
def test_a_command_gets_its_prompt_as_its_options_say(
    options: dict[str, Any], argv: tuple[str, ...], typed: str | None, tmp_path: Path
) -> None:
    plan = COMMAND.plan(start(tmp_path, **options))
    assert (plan.argv, plan.typed) == (argv, typed)


def test_a_placeholder_without_a_prompt_is_empty(tmp_path: Path) -> None:
    assert COMMAND.plan(start(tmp_path, None, command=["a", "{prompt}"])).argv == ("a", "")
    assert COMMAND.plan(start(tmp_path, None, command=["a"], prompt="argument")).argv == ("a",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs the option command"),
        ({"command": ""}, "is no command"),
        ({"command": []}, "is no command"),
        ({"command": [""]}, "is no command"),
        ({"command": ["a", 1]}, "is no command"),
        ({"command": [1]}, "is no command"),
        ({"command": {"a": 1}}, "is no command"),
        ({"command": ["a\0b"]}, "is no command"),
        ({"command": "a 'b"}, "cannot be split"),
        ({"command": "a", "prompt": "shouted"}, "it can be typed, argument, none"),
        ({"command": "a", "prompt": ["typed"]}, "it can be typed, argument, none"),
    ],
)
def test_options_that_say_no_command_are_refused_in_words(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=said):
        COMMAND.plan(start(tmp_path, **options))


@pytest.mark.parametrize("prompt", ["x" * 100_001, "a\0b", "\ud800 alone"])
def test_a_prompt_that_no_command_line_carries_is_refused(prompt: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no word of a command line"):
        COMMAND.plan(start(tmp_path, prompt, command=["a"], prompt="argument"))


@pytest.mark.parametrize("kind", SIGNAL_KINDS)
def test_a_command_may_say_what_it_does_in_the_words_of_signals(kind: Any) -> None:
    said = {"conversation": "c", "submitted": "s", "detail": "d"}
    assert COMMAND.read(kind, said) == Heard(kind, "c", "s", "d")
    assert COMMAND.read(kind, {"conversation": 1, "detail": None}) == Heard(kind)
    assert COMMAND.read("else", said) == Heard()


# --- scripted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "bytes_"), [("x" * 100_000, False), ("x" * 100_001, True), ("é" * 50_001, True)])
def test_a_long_prompt_goes_into_a_file(text: str, bytes_: bool, tmp_path: Path) -> None:
    plan = SCRIPTED.plan(start(tmp_path, text))
    assert list(plan.files.values()) == ([text.encode()] if bytes_ else [])
    assert (text in plan.argv) != bytes_


@pytest.mark.parametrize("options", [{"script": 3}, {"steps": ["work"]}, {"script": "a\0b"}])
def test_options_that_are_no_texts_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="it takes a text"):
        SCRIPTED.plan(start(tmp_path, **options))


def test_a_script_is_looked_for_in_the_worktree_unless_it_is_given_whole(tmp_path: Path) -> None:
    assert str(tmp_path / "play.txt") in SCRIPTED.plan(start(tmp_path, script="play.txt")).argv
    assert "/else/play.txt" in SCRIPTED.plan(start(tmp_path, script="/else/play.txt")).argv
    assert SCRIPTED.plan(start(tmp_path, steps="turn:\nwork")).files == {tmp_path / "script": b"turn:\nwork"}


@pytest.mark.parametrize(
    ("event", "payload", "heard"),
    [
        ("start", {"conversation": "c", "prompted": ""}, Heard("idle", "c")),
        ("start", {"conversation": "c", "prompted": "yes"}, Heard(None, "c")),
        ("submit", {"prompt": "Go."}, Heard("working", None, "Go.")),
        ("stop", {}, Heard("idle")),
        ("ask", {"question": "Which?"}, Heard("waiting_input", detail="Which?")),
        ("permission", {"tool": "Bash"}, Heard("blocked", detail="Bash")),
        ("resolved", {"tool": "Bash"}, Heard("working", detail="Bash")),
        ("done", {}, Heard("done")),
        ("end", {"reason": "exit"}, Heard("exited", detail="exit")),
    ],
)
def test_the_signals_of_the_scripted_agent_read(event: str, payload: dict[str, str], heard: Heard) -> None:
    assert SCRIPTED.read(event, payload) == heard


@pytest.mark.parametrize(
    ("line", "ready", "dialog"),
    [(">", True, False), ("> halp", True, False), ("» > x", False, False), ("? Allow Bash [y/n]", False, True)],
)
def test_the_box_and_the_dialog_of_the_scripted_agent_are_told_apart(line: str, ready: bool, dialog: bool) -> None:
    assert SCRIPTED.input.ready is not None
    assert SCRIPTED.input.dialog is not None
    assert bool(SCRIPTED.input.ready.search(line)) == ready
    assert bool(SCRIPTED.input.dialog.search(line)) == dialog
