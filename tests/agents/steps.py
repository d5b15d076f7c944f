"""What every agent is put through, step by step; what was expected and did not come is an error."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from driving import Driving, checkout, status
from pane import Late, wait
from seeds import THEIRS, Seed, changed

from holdfast.fleet.agents.declare import Agent

#: What lets the model go on is one gate a turn.
FIRST = "Please do the first thing: {{hold first}} {{write made.txt the first file}}"
ASK = "Now the second thing: {{ask touch asked.txt}}"
QUESTION = "And then: {{question Which way shall it go?}}"
LONG = (
    "\n".join(f"This is line {n} of a message that is longer than a box shows." for n in range(40)) + "\n{{hold long}}"
)
QUEUED = "One more while you work."
LEFT = "This one is not allowed: {{ask touch left.txt}}"
FAILING = "And this fails for a while: {{fail mended}}"
NOTICE = "You were interrupted. Go on: {{write again.txt the second file}}"


def drive(agent: Agent, seed: Seed, folder: Path, programs: Path) -> list[str]:
    """All that a session does, once; what was seen."""
    driving = Driving(agent, seed, folder, programs)
    try:
        _first(driving)
        _permission(driving)
        if seed.questions:
            _question(driving)
        _messages(driving)
        driving.note(f"terminal taken away: it {driving.stop(None)}")
        _resume(driving)
        _left(driving)
        _failing(driving)
        told = driving.stop(signal.SIGTERM)
        said = "says `exited`" if driving.now() == "exited" else "says nothing"
        driving.note(f"asked to end: it {told}, and {said}")
        _untouched(driving)
    except BaseException:
        _evidence(driving)
        raise
    finally:
        driving.close()
    return driving.seen


def _first(it: Driving) -> None:
    it.start(FIRST)
    it.submitted(FIRST)
    it.until("working")
    events = [event for event, _ in it.heard()]
    it.note(f"start with a prompt: {', '.join(events)}; `working` while its model answers, the prompt told exactly")
    it.model.gate("first").set()
    assert it.file("made.txt") == "the first file"
    it.until("idle")
    told = {heard.conversation for _, heard in it.heard() if heard.conversation}
    assert len(told) == 1, told
    known = "chosen by us" if it.conversation else "told by its hooks"
    assert it.conversation in {None, *told}
    it.conversation = told.pop()
    it.note(f"one file written in the worktree, then `idle`; the conversation's id is {known}")
    it.ready("after the first turn")
    assert status(it.workspace) == {"?? made.txt"}, status(it.workspace)


def _permission(it: Driving) -> None:
    it.say(ASK)
    it.submitted(ASK)
    detail = it.asks("blocked")
    it.note(f"a command that needs permission: `blocked` ({detail!r}), its dialog known on the screen")
    it.answer()
    wait("the command has run", (it.workspace / "asked.txt").exists)
    it.until("idle")
    it.note("allowed at the screen: `working`, then `idle`")
    it.ready("after the dialog")


def _question(it: Driving) -> None:
    it.say(QUESTION)
    detail = it.asks("waiting_input")
    it.note(f"a question of its model: `waiting_input` ({detail!r})")
    it.answer()
    it.until("idle")
    it.ready("after the question")


def _messages(it: Driving) -> None:
    shows = it.agent.input.pasted
    it.pane.paste(LONG)
    wait("the long text shows as pasted", lambda: it.pane.shows(shows))
    it.press_until(lambda: not it.pane.shows(shows))
    it.submitted(LONG)
    it.until("working")
    it.note(f"a message of {len(LONG)} characters: shown as pasted, submitted exactly")
    it.say(QUEUED)
    wait("the second message has left the box or is queued", lambda: it.pane.shows(re.compile(re.escape(QUEUED))))
    told = lambda: any((heard.submitted or "").strip() == QUEUED for _, heard in it.heard())
    try:
        early = wait("it tells of the message", told, 3)
    except Late:
        early = False
    it.model.gate("long").set()
    it.submitted(QUEUED)
    wait("its model has it", lambda: any(QUEUED in asked.prompts[-1] for asked in it.model.asked if asked.prompts))
    it.until("idle")
    it.note(f"a message while it works: queued by itself, told of {'at once' if early else 'when its turn comes'}")
    it.ready("after the messages")
    again = it.presses - it.said
    it.note(f"{it.said} messages typed; Enter was {'swallowed and pressed again' if again else 'taken each time'}")


def _resume(it: Driving) -> None:
    before = it.conversation
    plan = it.start(None, before, NOTICE)
    it.submitted(NOTICE)
    assert it.file("again.txt") == "the second file"
    it.until("idle")
    told = {heard.conversation for _, heard in it.heard() if heard.conversation}
    assert told == {before}, (told, before)
    prompts = it.model.asked[-1].prompts
    assert any(FIRST in prompt for prompt in prompts), "it remembers nothing of its first turn"
    way = "typed" if plan.typed is not None else "on the command line"
    it.note(f"resumed: the same conversation, what was said before is sent to its model again; told of it {way}")


def _left(it: Driving) -> None:
    """A person leaves a permission dialog by Esc: whether anything tells of that."""
    it.say(LEFT)
    it.submitted(LEFT)
    it.asks("blocked")
    heard = len(it.heard())
    for _ in range(4):
        it.pane.press("Escape")
        try:
            wait("the dialog closes", lambda: not it.pane.shows(it.agent.input.dialog), 3)
        except Late:
            continue
        break
    it.ready("after Esc")
    try:
        wait("it says something", lambda: it.now() == "idle", 6)
    except Late:
        said = [event for event, _ in it.heard()[heard:]]
        it.note(f"a dialog left by Esc: told by {', '.join(said) or 'nothing'}, and read as `{it.now()}`")
    else:
        it.note(f"a dialog left by Esc: `idle`, told by {it.heard()[-1][0]}")
    assert not (it.workspace / "left.txt").exists()


def _failing(it: Driving) -> None:
    """Its model answers with errors for a while: what it says meanwhile, and whether it goes on by itself."""
    it.say(FAILING)
    it.submitted(FAILING)
    asked = len(it.model.failures)
    wait("it has asked in vain", lambda: len(it.model.failures) > asked, 20)
    try:
        wait("it gives up", lambda: it.now() != "working", 8)
    except Late:
        it.model.gate("mended").set()
        try:
            it.until("idle", 60)
            after = "goes on by itself once its model answers"
        except Late:
            after = "does not go on by itself within a minute"
        it.note(f"its model fails: it stays `working` and asks again, and {after}")
    else:
        it.note(f"its model fails: it gives up and is `{it.now()}`")
    it.model.gate("mended").set()


def _untouched(it: Driving) -> None:
    """Nothing of the user's has changed but what is the agent's own doing, which is named."""
    expected = {"?? made.txt", "?? again.txt", "?? asked.txt"}
    assert status(it.workspace) == expected, status(it.workspace)
    assert (it.place.home / THEIRS).exists(), "the user's own hook did not run beside ours"
    now = checkout(it.place.repository)
    new = {f".git/{name}" for name in now["git"] - it.before["git"]}
    touched = changed(it.place, it.planted)
    assert now["files"] == it.before["files"], "the user's checkout has changed"
    assert new | touched <= set(it.seed.own), (new, touched)
    own = ", ".join(f"`{name}`" for name in sorted(new | touched)) or "nothing"
    it.note(f"the user's hooks ran beside ours; of the user's files it changed itself: {own}")


def _evidence(it: Driving) -> None:
    print("    --- the screen, and what was heard:")
    try:
        print("\n".join(f"    | {line}" for line in it.pane.lines if line.strip()))
    except (AssertionError, subprocess.SubprocessError) as error:
        print(f"    (no screen: {error})")
    print("    " + ", ".join(f"{event}={heard.kind}" for event, heard in it.heard()))
    print("    " + ", ".join(it.model.paths[-8:]))
