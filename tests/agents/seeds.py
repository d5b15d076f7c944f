"""What each agent finds where it is driven: a home that has been used before, and the address of its model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.fleet.agents.codex import hook_hash

#: An agent's own hooks of the user's write here that they ran.
THEIRS = "theirs"


@dataclass(frozen=True)
class Place:
    """Where one agent is driven."""

    home: Path
    repository: Path
    url: str


@dataclass(frozen=True)
class Seed:
    """How one agent is set up as a person would have done it."""

    package: str
    #: Files of the home, by path from there.
    files: Callable[[Place], Mapping[str, Any]]
    env: Callable[[Place], Mapping[str, str]]
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Whether its model may ask the person something in the mode in which it is driven.
    questions: bool = True
    #: What it changes in its own home of what was there, and in the repository's git folder.
    own: tuple[str, ...] = ()


def _their_hook(place: Place) -> str:
    return f"/bin/touch {place.home / THEIRS}"


def _claude(place: Place) -> Mapping[str, Any]:
    hook = {"hooks": [{"type": "command", "command": _their_hook(place)}]}
    return {
        ".claude/settings.json": {"hooks": {"UserPromptSubmit": [hook]}},
        ".claude.json": {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "customApiKeyResponses": {"approved": ["sk-ant-none"], "rejected": []},
            "projects": {str(place.repository): {"hasTrustDialogAccepted": True}},
        },
    }


def _codex(place: Place) -> Mapping[str, Any]:
    source = str(place.home / ".codex" / "config.toml")
    mark = hook_hash("user_prompt_submit", _their_hook(place), 7)
    return {
        ".codex/config.toml": "\n".join(
            (
                'model_provider = "stand"',
                "[model_providers.stand]",
                'name = "stand-in"',
                f'base_url = "{place.url}/v1"',
                'wire_api = "responses"',
                "[[hooks.UserPromptSubmit]]",
                f'hooks = [{{type = "command", command = "{_their_hook(place)}", timeout = 7}}]',
                f'[hooks.state."{source}:user_prompt_submit:0:0"]',
                f'trusted_hash = "{mark}"',
                "",
            )
        )
    }


def _gemini(place: Place) -> Mapping[str, Any]:
    hook = {"matcher": "*", "hooks": [{"type": "command", "name": "theirs", "command": _their_hook(place)}]}
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "hooks": {"BeforeAgent": [hook]}}
    return {".gemini/settings.json": settings}


def _opencode(place: Place) -> Mapping[str, Any]:
    plugin = place.home / "theirs.js"
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Stand-in",
        "options": {"baseURL": f"{place.url}/v1", "apiKey": "none"},
        "models": {"scripted": {"name": "Scripted", "limit": {"context": 100_000, "output": 8_000}}},
    }
    settings = {
        "$schema": "https://opencode.ai/config.json",
        "model": "stand/scripted",
        "small_model": "stand/scripted",
        "permission": {"bash": "ask"},
        "plugin": [plugin.as_uri()],
        "provider": {"stand": provider},
    }
    body = (
        f'import {{ writeFileSync }} from "node:fs"\nexport const Theirs = async () => '
        f'{{ writeFileSync({json.dumps(str(place.home / THEIRS))}, ""); return {{}} }}\n'
    )
    return {
        ".config/opencode/opencode.json": settings,
        "theirs.js": body,
        # It installs a package beside every configuration; without a network it would wait a minute for that.
        ".npmrc": "offline=true\nfetch-retries=0\n",
    }


SEEDS: Mapping[str, Seed] = {
    "claude-code": Seed(
        package="@anthropic-ai/claude-code",
        files=_claude,
        env=lambda place: {"ANTHROPIC_BASE_URL": place.url, "ANTHROPIC_API_KEY": "sk-ant-none"},
        # Its own choice of today lets a model answer for the person; here the person is asked about commands.
        options={"arguments": ["--permission-mode", "manual", "--allowedTools=Write"]},
        own=(".claude.json",),
    ),
    "codex": Seed(
        package="@openai/codex", files=_codex, env=lambda _place: {}, questions=False, own=(".codex/config.toml",)
    ),
    "gemini": Seed(
        package="@google/gemini-cli",
        files=_gemini,
        env=lambda place: {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": place.url},
        options={"arguments": ["--approval-mode", "auto_edit"]},
    ),
    "opencode": Seed(
        package="opencode-ai",
        files=_opencode,
        env=lambda _place: {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"},
        own=(".git/opencode",),
    ),
}


def plant(seed: Seed, place: Place) -> dict[str, str]:
    """Write the home; the digest of each of its files."""
    digests = {}
    for name, content in seed.files(place).items():
        text = content if isinstance(content, str) else json.dumps(content, indent=1)
        path = place.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        digests[name] = hashlib.sha256(text.encode()).hexdigest()
    return digests


def changed(place: Place, digests: Mapping[str, str]) -> set[str]:
    """Which of the planted files are no longer as they were."""
    now = {name: hashlib.sha256((place.home / name).read_bytes()).hexdigest() for name in digests}
    return {name for name, digest in digests.items() if now[name] != digest}
