"""`holdfast open` and the page of a real daemon: from the command to a browser that reads, over HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from daemons import Daemon, ask, holdfast
from pages import Page
from sse_reader import Parser

ACCEPT = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for the whole file."""
    made = Daemon(tmp_path_factory.mktemp("open") / "data").up()
    yield made
    made.close()


def printed(daemon: Daemon) -> str:
    """The address that `holdfast open --print` prints."""
    done = holdfast("open", "--print", "--data", str(daemon.data))
    assert (done.returncode, done.stderr) == (0, "")
    (address,) = done.stdout.splitlines()
    assert address.startswith(f"{daemon.url}/?ticket=hfk_")
    return address.removeprefix(daemon.url)


def signed_in(daemon: Daemon) -> str:
    """The cookie of a browser that has opened the printed address."""
    answer = daemon.ask("GET", printed(daemon), token=None, **ACCEPT)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    return answer.headers["set-cookie"].partition(";")[0]


def test_the_printed_address_signs_one_browser_in(daemon: Daemon) -> None:
    address = printed(daemon)
    answer = daemon.ask("GET", address, token=None, **ACCEPT)
    assert answer.status == 303
    cookie = answer.headers["set-cookie"].partition(";")[0]
    page = daemon.ask("GET", "/", token=None, Cookie=cookie, **ACCEPT)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert Page(page.body.decode()).one("h1").text == "Holdfast"
    again = daemon.ask("GET", address, token=None, **ACCEPT)
    assert (again.status, Page(again.body.decode()).one("code").text) == (401, "holdfast open")


def test_the_stream_that_the_page_names_goes_on_where_the_page_ends(daemon: Daemon) -> None:
    cookie = signed_in(daemon)
    page = Page(daemon.ask("GET", "/", token=None, Cookie=cookie, **ACCEPT).body.decode())
    after = page.one("body").attributes["data-after"]
    connection = daemon.connect()
    connection.request(
        "GET", f"/api/v1/events?after={after}", headers={"Cookie": cookie, "Accept": "text/event-stream"}
    )
    stream = connection.getresponse()
    assert stream.status == 200
    daemon.ask("POST", "/api/v1/tokens", {"name": "seen", "scope": "read"})
    parser = Parser()
    for line in iter(stream.readline, b""):
        found = [event for event in parser.feed(line) if event.name == "token_created"]
        if found:
            break
    assert json.loads(found[0].raw)["payload"]["name"] == "seen"
    connection.close()


def test_a_restart_signs_every_browser_out(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data").up()
    try:
        cookie = signed_in(daemon)
        assert daemon.ask("GET", "/", token=None, Cookie=cookie).status == 200
        assert daemon.stop() == 0
        daemon.up()
        assert daemon.ask("GET", "/", token=None, Cookie=cookie).status == 401
        assert signed_in(daemon) != cookie
    finally:
        daemon.close()


def test_open_hands_the_address_to_the_persons_browser(daemon: Daemon, tmp_path: Path) -> None:
    seen, browser = tmp_path / "seen", tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\npathlib.Path({str(seen)!r}).write_text(sys.argv[1])\n"
    )
    browser.chmod(0o755)
    done = holdfast("open", "--data", str(daemon.data), BROWSER=str(browser))
    assert (done.returncode, done.stdout) == (0, f"Opened {daemon.url}/ in your browser.\n")
    parts = urlsplit(seen.read_text())
    connection = HTTPConnection(str(parts.hostname), parts.port or 0)
    assert ask(connection, "GET", f"/?{parts.query}", **ACCEPT).status == 303
    connection.close()


@pytest.mark.parametrize("browser", ["/nothing/there", "false", "it's"])
def test_where_no_browser_can_be_opened_the_address_is_printed(browser: str, daemon: Daemon) -> None:
    done = holdfast("open", "--data", str(daemon.data), BROWSER=browser)
    assert done.returncode == 0
    assert "No browser could be opened here" in done.stderr
    assert done.stdout.startswith(f"{daemon.url}/?ticket=hfk_")


def test_without_a_daemon_open_says_how_to_start_one(tmp_path: Path) -> None:
    done = holdfast("open", "--data", str(tmp_path))
    assert done.returncode == 3
    assert "holdfast up" in done.stderr


def test_the_ticket_stands_in_no_log_of_the_daemon(daemon: Daemon) -> None:
    address = printed(daemon)
    daemon.ask("GET", address, token=None, **ACCEPT)
    daemon.ask("GET", address, token=None, **ACCEPT)
    assert address.partition("=")[2] not in daemon.said()
