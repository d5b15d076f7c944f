"""`holdfast up --demo`: a small repository of its own under the data folder, registered by the public API."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from holdfast.cli import place
from holdfast.cli.client import Client
from holdfast.cli.failures import CommandError, RefusedError

PROJECT = "demo"
_CONFLICT = 409
_README = "# Demo\n\nA small repository to try Holdfast on. Nothing in it matters.\n"


def add_demo(data: Path, url: str, certificate: Path | None = None) -> None:
    """Make the repository and register it; what is there already stays as it is."""
    repository = data / PROJECT
    if not _is_made(repository):
        _make(repository)
    # Not HOLDFAST_TOKEN, which may be one of another daemon.
    client = Client(url, place.first_token(data), certificate=certificate)
    try:
        client.post("/api/v1/projects", {"id": PROJECT, "path": str(repository), "agent": "scripted"})
    except RefusedError as error:
        if error.http_status != _CONFLICT:
            raise


def _is_made(repository: Path) -> bool:
    """Whether it has a commit: that comes last, and without it there is nothing to work on."""
    return repository.is_dir() and _run(repository, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").returncode == 0


def _make(repository: Path) -> None:
    repository.mkdir(parents=True, exist_ok=True)
    (repository / "README.md").write_text(_README, "utf-8")
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _git(repository, "add", "README.md")
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
