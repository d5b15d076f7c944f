"""`holdfast up --demo`: a small repository of its own under the data folder, and two agents, by the public API."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from holdfast.cli import place
from holdfast.cli.client import Client
from holdfast.cli.failures import CommandError, RefusedError

PROJECT = "demo"
_CONFLICT = 409
CHECK = "sh check.sh"
_FILES = {
    "README.md": "# Demo\n\nA small price list to try Holdfast on. Nothing in it matters.\n",
    "prices.txt": "apples 20\nbread 35\nmilk 5\n",
    "expected.txt": "60\n",
    "total.sh": "# Prints the sum of all prices.\nawk '{ sum += $2 } END { print sum }' prices.txt\n",
    "check.sh": """# Fails unless the prices add up to the last line of expected.txt.
want=$(tail -n 1 expected.txt)
got=$(sh total.sh)
echo "the prices add up to $got, expected are $want"
if [ "$got" != "$want" ]; then
    echo "FAILED: total.sh prints $got; the last line of expected.txt says $want"
    exit 1
fi
echo "ok"
""",
}


@dataclass(frozen=True, slots=True)
class Part:
    """What one of the demo's agents is given: its task, and the steps by which it plays an agent that does it."""

    title: str
    prompt: str
    steps: str


#: One breaks the check, is given its log, mends it, and asks for the merge; the other one asks a question.
PARTS = (
    Part(
        "Sell pears",
        "Add pears at 15 to the price list.",
        """turn:
work 2 4
edit prices.txt pears 15
commit Add pears
say The pears are in.
done
turn:
say The check says that the total is another one now: 75.
work 2 4
edit expected.txt 75
commit Expect the pears in the total
done
""",
    ),
    Part(
        "Sort the prices",
        "Sort the price list.",
        """turn:
work 3 6
ask Shall I sort by name or by price?
work 1 2
say Thank you.
""",
    ),
)


def add_demo(data: Path, url: str, certificate: Path | None = None) -> None:
    """Make the repository, register it, and set two scripted agents to work; what is there already stays as it is."""
    repository = data / PROJECT
    if not _is_made(repository):
        make(repository)
    # Not HOLDFAST_TOKEN, which may be one of another daemon.
    client = Client(url, place.first_token(data), certificate=certificate)
    project = {"id": PROJECT, "path": str(repository), "agent": "scripted", "checks": [CHECK]}
    try:
        client.post("/api/v1/projects", project)
    except RefusedError as error:
        if error.http_status != _CONFLICT:
            raise
    there = {session["title"] for session in client.pages("/api/v1/sessions", project=PROJECT)}
    for part in PARTS:
        if part.title not in there:
            session = {"project": PROJECT, "title": part.title, "prompt": part.prompt, "options": {"steps": part.steps}}
            client.post("/api/v1/sessions", session)


def _is_made(repository: Path) -> bool:
    """Whether it has a commit: that comes last, and without it there is nothing to work on."""
    return repository.is_dir() and _run(repository, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").returncode == 0


def make(repository: Path) -> None:
    """Make the repository."""
    repository.mkdir(parents=True, exist_ok=True)
    for name, text in _FILES.items():
        (repository / name).write_text(text, "utf-8")
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _git(repository, "add", *_FILES)
    _git(repository, "commit", "--quiet", "--message", "Begin")


def _git(repository: Path, *words: str) -> None:
    done = _run(repository, *words)
    if done.returncode:
        message = f"git {words[0]} failed in {repository}: {done.stderr.strip()}"
        raise CommandError(message)


def _run(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # The person's own settings (signing, hooks, templates) must not decide whether the demo works.
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(repository),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(repository.parent),  # a repository around the data folder is not this one
        "GIT_AUTHOR_NAME": "Holdfast",
        "GIT_AUTHOR_EMAIL": "demo@holdfast.invalid",
        "GIT_COMMITTER_NAME": "Holdfast",
        "GIT_COMMITTER_EMAIL": "demo@holdfast.invalid",
    }
    try:
        return subprocess.run(  # noqa: S603 - fixed words
            ["git", *words],  # noqa: S607 - the person's own git, wherever it is
            cwd=repository,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        message = "The demo needs git, which is not installed. See: holdfast doctor"
        raise CommandError(message) from None
