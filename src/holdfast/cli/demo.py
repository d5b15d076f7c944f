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
    if not (repository / ".git").is_dir():
        _make(repository)
    try:
        Client(url, place.token(data), certificate=certificate).post(
            "/api/v1/projects", {"id": PROJECT, "path": str(repository)}
        )
    except RefusedError as error:
        if error.http_status != _CONFLICT:
            raise


def _make(repository: Path) -> None:
    repository.mkdir(parents=True, exist_ok=True)
    (repository / "README.md").write_text(_README, "utf-8")
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _git(repository, "add", "README.md")
    _git(repository, "commit", "--quiet", "--message", "Begin")


def _git(repository: Path, *words: str) -> None:
    # The person's own settings (signing, hooks, templates) must not decide whether the demo works.
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(repository),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Holdfast",
        "GIT_AUTHOR_EMAIL": "demo@holdfast.invalid",
        "GIT_COMMITTER_NAME": "Holdfast",
        "GIT_COMMITTER_EMAIL": "demo@holdfast.invalid",
    }
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
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
    if done.returncode:
        message = f"git {words[0]} failed in {repository}: {done.stderr.strip()}"
        raise CommandError(message)
