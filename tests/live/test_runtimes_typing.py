"""What every runtime does with text and keys for an agent, and what it shows of its terminal."""

from __future__ import annotations

import pytest

from holdfast.fleet.runtimes.port import ROWS, NotThere
from runtimes import Actor, Stage, written

# Reads raw bytes from its terminal, says how many it waits for first, and keeps them in a file.
READER = """
import os, sys, tty
path, wanted, bracketed = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "bracketed"
tty.setraw(0)
os.write(1, b"\\x1b[?2004h" * bracketed + b"ready")
got = b""
while len(got) < wanted:
    got += os.read(0, 65536)
with open(path + ".new", "wb") as file:
    file.write(got)
os.rename(path + ".new", path)
os.read(0, 1)
"""

TEXTS = {
    "words": "do the work",
    "quotes": """it's "so" `x` $HOME ${HOME} $(id) \\ \\n \\" !! #{pid} #[x] %H %% ~ ~root {} ; & | < > * ? [a]""",
    "semicolon at the end": "a ;",
    "lines": "one\ntwo\r\nthree\n\n",
    "blank": " \t ",
    "dashes": "-d -b x",
    "unicode": "é 漢字 🎉 \u202e \u200b ﷽ e\u0301",
    "control": "".join(map(chr, range(1, 32))) + "\x7f\x1b[31m",
    "end of an answer": "%end 1 1 1\n%exit\n%begin 1 2 1",
    "broken surrogate": "a\udcffb",
    "long line": "x" * 10_000,
}


async def reader(stage: Stage, name: str, wanted: int, how: str = "plain") -> Actor:
    actor = await stage.python(name, READER, str(stage.folder / name), str(wanted), how)
    await actor.shows(b"ready")
    return actor


async def got(actor: Actor) -> bytes:
    path = actor.stage.folder / actor.place.name
    await written(path.parent, path.exists)
    return path.read_bytes()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_paste_arrives_byte_for_byte(stage: Stage, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    actor = await reader(stage, "hf0-paste-1", len(data))
    await stage.runtime.paste(actor.handle, text)
    assert await got(actor) == data


@pytest.mark.guards(
    "text is put into an agent's terminal exactly, as one paste where it asks for pastes",
    against="a line of a message taken for an Enter, or a quote for the end of a command",
    breaks=("tmux-pastes-unquoted",),
)
async def test_a_large_paste_is_one_paste_for_an_agent_that_asks_for_pastes(stage: Stage) -> None:
    text = "".join(f'{number}: it\'s "so"; #{{pid}} 漢\n' for number in range(8_000))
    data = b"\x1b[200~" + text.encode() + b"\x1b[201~"
    assert len(data) > 200_000
    actor = await reader(stage, "hf0-large-1", len(data), "bracketed")
    await stage.runtime.paste(actor.handle, text)
    assert await got(actor) == data


async def test_pastes_and_keys_arrive_in_order_and_once(stage: Stage) -> None:
    wanted = b"".join(f"<{number}>".encode() for number in range(50)) + b"\r\x1b\x03"
    actor = await reader(stage, "hf0-order-1", len(wanted))
    for number in range(50):
        await stage.runtime.paste(actor.handle, f"<{number}>")
    await stage.runtime.paste(actor.handle, "")
    for key in ("enter", "escape", "interrupt"):
        await stage.runtime.press(actor.handle, key)  # type: ignore[arg-type]
    assert await got(actor) == wanted


async def test_nothing_is_typed_at_an_agent_that_has_ended(stage: Stage) -> None:
    other = await stage.shell("hf0-other-1", "exec sleep 1000")
    actor = await stage.shell("hf0-ended-1", "exit 0")
    await actor.end_of()
    with pytest.raises(NotThere):
        await stage.runtime.paste(actor.handle, "hello")
    with pytest.raises(NotThere):
        await stage.runtime.press(actor.handle, "enter")
    await stage.runtime.forget("hf0-ended-1")
    with pytest.raises(NotThere):
        await stage.runtime.paste(actor.handle, "hello")
    with pytest.raises(NotThere):
        await stage.runtime.screen(actor.handle)
    assert (await stage.runtime.look()).panes[other.place.name].verdict == "alive"


async def test_the_screen_is_what_a_person_would_see(stage: Stage) -> None:
    script = r"printf 'gone\033[2J\033[Hfirst\r\nsecond \033[1;31mred\033[0m 漢字\033[10;5Hten\033[3;8H'; echo; read x"
    actor = await stage.shell("hf0-screen-1", f"{script}; echo; echo done; exec sleep 1000")
    await actor.shows(b"ten")
    screen = await stage.runtime.screen(actor.handle)
    while screen.row != 3:  # the last byte may still be on its way to it
        screen = await stage.runtime.screen(actor.handle)
    assert len(screen.lines) == ROWS
    assert [line.rstrip() for line in screen.lines[:2]] == ["first", "second red 漢字"]
    assert screen.lines[9].rstrip() == "    ten"
    assert (screen.row, screen.column) == (3, 0)
    await stage.runtime.press(actor.handle, "enter")
    await actor.shows(b"done")


async def test_a_screen_that_looks_like_the_end_of_an_answer_is_a_screen(stage: Stage) -> None:
    lines = "".join(f"%%end {number} {number} 1\\n%%error 1 {number} 1\\n" for number in range(20))
    actor = await stage.shell("hf0-evil-1", f"printf '{lines}'; printf ready; exec sleep 1000")
    await actor.shows(b"ready")
    screen = await stage.runtime.screen(actor.handle)
    while "ready" not in screen.lines[40]:
        screen = await stage.runtime.screen(actor.handle)
    assert screen.lines[0].rstrip() == "%end 0 0 1"
    assert screen.lines[39].rstrip() == "%error 1 19 1"


async def test_the_last_screen_is_there_after_the_end(stage: Stage) -> None:
    actor = await stage.shell("hf0-last-1", "printf 'last words'; exit 3")
    await actor.end_of()
    assert (await stage.runtime.screen(actor.handle)).lines[0].rstrip() == "last words"
