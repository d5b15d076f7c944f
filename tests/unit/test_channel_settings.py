"""Channels in the settings: wrong ones are refused by name, and what gives access is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.settings import Settings, SettingsWrong

GOOD = """
[channels.desk]
type = "desktop"
kinds = ["agent-stuck"]

[channels.phone]
type = "webhook"
url = "https://ntfy.example/topic-8f3a1c?auth=tk_hunter2"
secret_file = "secrets/phone"
raised = false
"""


def in_file(data: Path, text: str) -> Settings:
    data.joinpath("holdfast.toml").write_text(text, "utf-8")
    return Settings.load(data)


def test_channels_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    channels = in_file(tmp_path, GOOD).channels
    assert [(name, one.type, one.kinds) for name, one in channels.items()] == [
        ("desk", "desktop", ("agent-stuck",)),
        ("phone", "webhook", ("*",)),
    ]
    assert channels["phone"].secret_file == tmp_path / "secrets/phone"


def test_a_variable_holds_them_as_json(tmp_path: Path) -> None:
    env = {"HOLDFAST_CHANNELS": json.dumps({"desk": {"type": "desktop"}})}
    assert Settings.load(tmp_path, env=env).channels["desk"].type == "desktop"


@pytest.mark.guards(
    "What gives access to a channel's address is not shown.",
    against="`config show` in a bug report hands out the address.",
    breaks=("notice-settings-show-the-address",),
)
def test_what_gives_access_is_not_shown(tmp_path: Path) -> None:
    shown = {key: value for key, value, _ in in_file(tmp_path, GOOD).shown() if key.startswith("channels")}
    assert shown["channels.phone"] == {
        "type": "webhook", "url": "https://ntfy.example/...", "secret_file": str(tmp_path / "secrets/phone"),
        "raised": False,
    }  # fmt: skip
    assert "hunter2" not in str(shown)
    assert "8f3a1c" not in str(shown)


WEBHOOK = '[channels.x]\ntype = "webhook"\nsecret_env = "S"\nurl = '


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[channels.x]\ntype = "pigeon"', "channels.x.type"),
        ("[channels.x]\nkinds = []\ntype = 'desktop'", "channels.x.kinds"),
        ('[channels.x]\ntype = "desktop"\nkind = "*"', "nearest known one is 'kinds'"),
        ('[channels."X Y"]\ntype = "desktop"', "small letters, digits and hyphens"),
        ('[channels.x]\ntype = "desktop"\nurl = "https://a.example"', "a desktop has no url"),
        ('[channels.x]\ntype = "webhook"\nsecret_env = "S"', "a webhook needs a url"),
        ('[channels.x]\ntype = "webhook"\nurl = "https://a.example"', "either secret_file or secret_env"),
        (f'{WEBHOOK}"https://a.example"\nsecret_file = "s"', "either secret_file or secret_env"),
        (f'{WEBHOOK}"ftp://a.example"', "is not an address"),
        (f'{WEBHOOK}"https://[a"', "is not an address"),
        (f'{WEBHOOK}"https://a.example/ä"', "percent-encoded"),
        (f'{WEBHOOK}"https://me:hunter2@a.example"', "a name, a password"),
        (f'{WEBHOOK}"http://a.example"', "http:// to another machine"),
    ],
)
@pytest.mark.guards(
    "A channel that cannot be is refused, with its name and what is wrong with it.",
    against="A channel that silently tells nobody, or tells everybody on the way.",
    breaks=("notice-settings-take-any-address",),
)
def test_a_channel_that_cannot_be_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong) as caught:
        in_file(tmp_path, text)
    assert words in caught.value.message
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("url", ["http://localhost:1/x", "http://127.0.0.9/x", "http://[::1]:80/", "https://a.example"])
def test_this_machine_may_be_told_without_tls(url: str, tmp_path: Path) -> None:
    assert in_file(tmp_path, f'{WEBHOOK}"{url}"').channels["x"].url == url


def test_elsewhere_it_needs_a_word(tmp_path: Path) -> None:
    assert in_file(tmp_path, f'{WEBHOOK}"http://a.example"\ninsecure = true').channels["x"].insecure
