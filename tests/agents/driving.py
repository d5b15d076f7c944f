"""One agent under way in a worktree of its own, started, spoken to and ended as the product does it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pane as panes
from model import Model, Server
from pane import Late, Pane, pause, wait
from seeds import Place, Seed, plant

from holdfast.fleet.agents.declare import Agent, Heard, Plan, Start
from holdfast.fleet.messages import evidence
from holdfast.fleet.runtimes.port import Screen
from holdfast.fleet.signals import hook

#: An Enter that comes right behind a pasted text is a line break for gemini (for 40 ms), as if it were pasted too.
_SETTLE = 0.15


@dataclass
class Driving:
    """One agent under way: its launches, its signals, what was seen."""

    agent: Agent
    seed: Seed
    folder: Path
    programs: Path
    model: Model = field(default_factory=Model)
    seen: list[str] = field(default_factory=list)
    launch: int = 0
    conversation: str | None = None
    said: int = 0
    presses: int = 0

    def __post_init__(self) -> None:
        self.server = Server(self.model)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.place = Place(self.folder / "home", self.folder / "repository", self.server.url)
        self.workspace = self.folder / "worktree"
        self.session = self.folder / "session"
        self.mark = f"HOLDFAST_STORE={uuid.uuid4()}"
        self.spool = self.folder / "spool"
        self.pane = Pane()
        for folder in (self.place.home, self.session):
            folder.mkdir(parents=True)
        self.planted = plant(self.seed, self.place)
        _repository(self.place.repository, self.workspace)
        self.before = checkout(self.place.repository)

    # --- starting and ending ---------------------------------------------------------------------------------------

    def start(self, prompt: str | None, resume: str | None = None, notice: str | None = None) -> Plan:
        """One launch, by the agent's own plan."""
        self.launch += 1
        start = Start(
            session="demo-1",
            launch=self.launch,
            workspace=self.workspace,
            home=self.session,
            prompt=prompt,
            resume=resume,
            fresh=str(uuid.uuid4()),
            notice=notice,
            hook=hook.command(),
            options=self.seed.options,
        )
        plan = self.agent.plan(start)
        for path, content in plan.files.items():
            assert path.is_relative_to(self.session) or path.is_relative_to(self.workspace / ".holdfast"), path
            path.write_bytes(content)
        self.pane.close()
        self.pane = Pane()
        argv = (shutil.which(plan.argv[0], path=str(self.programs)) or plan.argv[0], *plan.argv[1:])
        self.pane.run(self.folder / f"launch-{self.launch}.sh", argv, {**self._env(), **plan.env}, self.workspace)
        self.conversation = plan.conversation or self.conversation
        if plan.typed is not None:
            self.ready("at the start")
            self.say(plan.typed)
        return plan

    def _env(self) -> dict[str, str]:
        mark, _, store = self.mark.partition("=")
        return {
            "HOME": str(self.place.home),
            "PATH": f"{self.programs}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            mark: store,
            "HOLDFAST_SESSION": "demo-1",
            "HOLDFAST_PROJECT": "demo",
            "HOLDFAST_LAUNCH": str(self.launch),
            # Nobody is there: its hooks must do without the daemon.
            "HOLDFAST_URL": "http://127.0.0.1:9",
            "HOLDFAST_TOKEN": "none",
            "HOLDFAST_SPOOL": str(self.spool),
            **self.seed.env(self.place),
        }

    def stop(self, how: signal.Signals | None) -> str:
        """End it, by a signal or by taking its terminal away; how that went."""
        begun = time.monotonic()
        if how is None:
            self.pane.hang_up()
            left = panes.end(self.mark, None)
            if left:
                left = panes.end(self.mark, signal.SIGTERM)
                way = "outlives its terminal and ends when asked to"
            else:
                way = "ends when its terminal goes"
        else:
            left = panes.end(self.mark, how)
            way = f"ends at {how.name}"
        took = time.monotonic() - begun
        if left:
            names = ", ".join(sorted({Path(command).name for command in left.values()}))
            panes.end(self.mark, signal.SIGKILL)
            way = f"has to be killed ({names})"
        self.pane.close()
        try:
            wait("nothing is left", lambda: not panes.strangers(), 5)
        except Late:
            raise Late(f"left behind: {panes.strangers()}") from None
        print(f"    ({took:.1f} s to end)")
        return f"{way}, nothing left"

    # --- looking ---------------------------------------------------------------------------------------------------

    def heard(self) -> list[tuple[str, Heard]]:
        """What its hooks have said in this launch, in order."""
        lines = self.spool.read_text().splitlines() if self.spool.exists() else []
        told = [json.loads(line) for line in lines]
        told = sorted((one for one in told if one["launch"] == self.launch), key=lambda one: int(one["seq"]))
        return [(one["event"], self.agent.read(one["event"], one["detail"])) for one in told]

    def now(self) -> str | None:
        """What it does, as its hooks say."""
        kinds = [heard.kind for _, heard in self.heard() if heard.kind]
        return kinds[-1] if kinds else None

    def until(self, kind: str, seconds: float = 40) -> None:
        try:
            wait(f"{self.agent.name} says {kind}", lambda: self.now() == kind, seconds)
        except Late:
            raise Late(f"it never said {kind}; heard {[(e, h.kind) for e, h in self.heard()][-8:]}") from None

    def submitted(self, text: str) -> None:
        """Wait until its hooks tell that exactly this was submitted."""

        def texts() -> list[str]:
            return [heard.submitted for _, heard in self.heard() if heard.submitted]

        try:
            wait("the text is submitted", lambda: any(evidence.is_submission(text, one) for one in texts()))
        except Late:
            raise Late(f"it never told of the text; it told of {[one[:80] for one in texts()]}") from None

    def ready(self, when: str) -> None:
        shown = lambda: self.pane.shows(self.agent.input.ready) and not self.pane.shows(self.agent.input.dialog)
        wait(f"the box is there {when}", shown)

    def asks(self, kind: str) -> str:
        """Wait until it says that it asks, and shows a dialog; what the event said."""
        self.until(kind)
        wait("the dialog shows", lambda: self.pane.shows(self.agent.input.dialog))
        return next(heard.detail for _, heard in reversed(self.heard()) if heard.kind == kind)

    def say(self, text: str) -> None:
        """A message as the product sends it: pasted, seen in the box, submitted; once more while it provably is not."""
        self.pane.paste(text)
        holds = lambda: evidence.holds(self.screen(), text, self.agent.input, whole=True)
        wait("the text stands in the box", holds)
        self.press_until(lambda: not holds())

    def press_until(self, gone: Callable[[], bool]) -> None:
        self.said += 1
        pause(_SETTLE)
        for _ in range(4):
            self.pane.press("Enter")
            self.presses += 1
            try:
                wait("the box lets the text go", gone, 2)
            except Late:
                continue
            return
        raise Late("Enter does not submit the text")

    def screen(self) -> Screen:
        lines, (row, column) = self.pane.lines, self.pane.cursor
        return Screen(tuple(lines), row, column)

    def answer(self) -> None:
        """Take a dialog's first answer. A key that comes too soon may be dropped: it was meant for the box."""
        for _ in range(8):
            self.pane.press("Enter")
            try:
                wait("the dialog closes", lambda: not self.pane.shows(self.agent.input.dialog), 3)
            except Late:
                continue
            return
        raise Late("the dialog stays")

    def file(self, name: str) -> str:
        path = self.workspace / name
        return wait(f"{name} is written", lambda: path.read_text() if path.exists() else "").strip()

    def note(self, what: str) -> None:
        self.seen.append(what)
        print(f"    {what}", flush=True)

    def close(self) -> None:
        """End what is left of it, whatever has happened."""
        for gate in list(self.model.gates.values()):
            gate.set()
        self.pane.close()
        panes.end(self.mark, signal.SIGKILL)
        self.server.stop()


# --- the repository ---------------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    argv = ["git", *who, "-C", str(folder), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=env, timeout=30).stdout


def _repository(folder: Path, workspace: Path) -> None:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "README.md").write_text("A project.\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "The beginning")
    git(folder, "worktree", "add", "-q", "-b", "holdfast/demo-1", str(workspace))


def status(folder: Path) -> set[str]:
    return set(git(folder, "status", "--porcelain", "--ignored").splitlines())


def checkout(folder: Path) -> dict[str, Any]:
    """What of the user's checkout must stay, and what is in its git folder."""
    config = (folder / ".git" / "config").read_bytes()
    exclude = (folder / ".git" / "info" / "exclude").read_bytes()
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return {"files": (config, exclude, files), "git": {path.name for path in (folder / ".git").iterdir()}}
