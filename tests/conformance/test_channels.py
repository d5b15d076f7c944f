"""One suite for every type of channel: what each promises whoever gives it notices."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.clock import SYSTEM
from holdfast.notify.channels.desktop import Desktop
from holdfast.notify.channels.port import Channel, Delivered, Failed, Telling
from holdfast.notify.channels.registry import TYPES, Channels
from holdfast.sections import ChannelSettings
from hooks import Address, address, answer

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
TELLING = Telling(
    id="eff_1",
    stage="raised",
    notice=1,
    kind="agent-needs-input",
    subject="session:shop-1",
    scope="shop",
    text="It asks: <rm -rf /> & more?\n-- $(touch owned)",
    urgency="normal",
    at="2026-01-02T03:04:05.000000Z",
)


@dataclass
class Case:
    """A channel of a type, and a hand on the world behind it."""

    channel: Channel
    folder: Path
    address: Address | None = None

    def program(self, text: str) -> None:
        """The desktop's program does this."""
        file = self.folder / "notify-send"
        file.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        file.chmod(0o755)

    def trouble(self) -> None:
        """The next notice is refused."""
        if self.address is not None:
            self.address.answers.append(answer("500 No", b"token=abcdefghij"))
        else:
            self.program("echo token=abcdefghij >&2; exit 3")

    def hang(self) -> None:
        """The next notice is never answered."""
        if self.address is not None:
            self.address.answers.append(None)
        else:
            self.program(f"echo $$ > {self.folder}/pid; exec sleep 1000")

    def got(self) -> str:
        """What came out on the other side."""
        if self.address is not None:
            return b"".join(each.body for each in self.address.got).decode()
        file = self.folder / "told"
        return file.read_text("utf-8") if file.exists() else ""


@pytest.fixture(params=sorted(TYPES))
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    """Each type as the registry makes it."""
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere", "SECRET": SECRET}
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(address()) if request.param == "webhook" else None
        given: dict[str, Any] = {"type": request.param}
        if here is not None:
            given |= {"url": here.url, "secret_env": "SECRET"}
        channels = Channels({"mine": ChannelSettings(**given)}, SYSTEM, env)
        found = Case(channels.named["mine"], tmp_path, here)
        found.program(f'for word in "$@"; do echo "$word"; done >> {tmp_path}/told')
        yield found


async def test_what_it_is_given_comes_out_on_the_other_side(case: Case) -> None:
    assert await case.channel.unavailable() is None
    assert await case.channel.send(TELLING, 10) == Delivered()
    for words in ("agent-needs-input", "session:shop-1", "$(touch owned)"):
        assert words in case.got()
    assert not (case.folder / "owned").exists()


@pytest.mark.guards(
    "A channel that refuses a notice says so in words without secrets; it never raises.",
    against="A send that counts as made, or a secret in a job's error.",
    breaks=("notice-any-answer-is-well", "notice-desktops-never-fail"),
)
async def test_what_is_refused_has_failed_and_says_why_without_secrets(case: Case) -> None:
    case.trouble()
    came = await case.channel.send(TELLING, 10)
    assert isinstance(came, Failed)
    assert "[redacted]" in came.why
    assert "abcdefghij" not in came.why


async def test_what_hangs_is_given_up_in_time_and_leaves_nothing(case: Case) -> None:
    case.hang()
    came = await case.channel.send(TELLING, 1.0)
    assert isinstance(came, Failed)
    assert "1 s" in came.why
    pid = case.folder / "pid"
    if case.address is None:
        number = int(pid.read_text())
        async with asyncio.timeout(10):
            while Path(f"/proc/{number}").exists():
                await asyncio.sleep(0)


async def test_it_says_where_it_goes_and_names_its_place_without_giving_it_away(case: Case) -> None:
    assert case.channel.name == "mine"
    assert case.channel.where
    assert case.channel.mark.isalnum()
    assert SECRET not in case.channel.where + case.channel.mark


# --- the desktop alone -----------------------------------------------------------------------------------------


async def test_notification_servers_are_given_no_markup_and_the_urgency(tmp_path: Path) -> None:
    case = Case(
        Desktop("desk", {"PATH": f"{tmp_path}:/bin", "DBUS_SESSION_BUS_ADDRESS": "x"}, platform="linux"), tmp_path
    )
    case.program(f'for word in "$@"; do echo "$word"; done >> {tmp_path}/told')
    assert await case.channel.send(TELLING, 10) == Delivered()
    lines = case.got().splitlines()
    assert lines[:4] == [
        "--app-name=Holdfast", "--urgency=normal", "--", "Holdfast: agent-needs-input, session:shop-1",
    ]  # fmt: skip
    assert lines[4] == "It asks: &lt;rm -rf /&gt; &amp; more?"


async def test_on_macos_the_words_are_arguments_of_a_script(tmp_path: Path) -> None:
    case = Case(Desktop("desk", {"PATH": f"{tmp_path}:/bin"}, platform="darwin"), tmp_path)
    case.program(f'for word in "$@"; do echo "$word"; done >> {tmp_path}/told')
    (tmp_path / "notify-send").rename(tmp_path / "osascript")
    assert await case.channel.send(TELLING, 10) == Delivered()
    lines = case.got().splitlines()
    assert lines[0] == "-e"
    assert "display notification (item 2 of argv) with title (item 1 of argv)" in lines
    assert lines[-4:] == [
        "--", "Holdfast: agent-needs-input, session:shop-1", "It asks: <rm -rf /> & more?", "-- $(touch owned)",
    ]  # fmt: skip


async def test_without_a_desktop_the_terminals_bell_rings(tmp_path: Path) -> None:
    terminal = tmp_path / "tty"
    terminal.touch()
    channel = Desktop("desk", {"PATH": ""}, platform="linux", terminal=terminal)
    assert await channel.unavailable() is None
    assert await channel.send(TELLING, 10) == Delivered()
    assert terminal.read_bytes().startswith(b"\a\rHoldfast: agent-needs-input, session:shop-1: It asks")


@pytest.mark.parametrize(
    ("platform", "env", "words"),
    [
        ("linux", {"PATH": ""}, "started outside a desktop session"),
        ("linux", {"PATH": "", "DBUS_SESSION_BUS_ADDRESS": "x"}, "apt install libnotify-bin"),
        ("darwin", {"PATH": ""}, "osascript"),
    ],
)
async def test_where_nothing_can_be_shown_it_says_why(
    platform: str, env: dict[str, str], words: str, tmp_path: Path
) -> None:
    channel = Desktop("desk", env, platform=platform, terminal=tmp_path / "none" / "tty")
    why = await channel.unavailable()
    assert why is not None
    assert words in why
    assert "no terminal" in why
    assert await channel.send(TELLING, 10) == Failed(why)
