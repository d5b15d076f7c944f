"""The command line before something that answers and is no daemon, or breaks off: said in a line, never a traceback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from daemons import PATIENCE, holdfast

HTML = "text/html"
JSON = "application/json"


@dataclass
class Stranger:
    """Answers every GET with what it was told for that path, and keeps what it was asked."""

    url: str = ""
    #: By path, the answers in their order, each as status, type and body; the last one is given again and again.
    answers: dict[str, list[tuple[int, str, bytes]]] = field(default_factory=dict)
    #: How many bytes more than it sends it says it would.
    withheld: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def says(self, path: str, *bodies: bytes, status: int = 200, kind: str = JSON) -> None:
        self.answers[path] = [(status, kind, body) for body in bodies]

    def answer(self, path: str) -> tuple[int, str, bytes]:
        left = self.answers.get(urlsplit(path).path) or [(404, HTML, b"nothing here")]
        return left.pop(0) if len(left) > 1 else left[0]

    def run(self, *words: str, status: int, **env: str) -> tuple[str, str]:
        """Run a command against it that must end with this status and no traceback; what it printed and complained."""
        named = {"HOLDFAST_URL": self.url, "HOLDFAST_TOKEN": "hft_x"} | env
        done = holdfast(*words, seconds=PATIENCE, **named)
        assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
        return done.stdout, done.stderr


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """A server on loopback."""
    made = Stranger()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers["Authorization"]))
            status, kind, body = made.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) + made.withheld))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("words", "path", "status"),
    [
        (["project", "ls"], "/api/v1/projects", 200),
        (["project", "ls"], "/api/v1/projects", 500),
        (["status"], "/readyz", 200),
        (["events", "-f", "--after", "0"], "/api/v1/events", 500),
    ],
)
def test_a_body_that_is_cut_short_is_a_connection_that_ended(
    stranger: Stranger, words: list[str], path: str, status: int
) -> None:
    stranger.says(path, b'{"items": [', status=status)
    stranger.withheld = 100
    assert "ended the connection" in stranger.run(*words, status=3)[1]


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b"null", b"[]", b"[" * 100_000, b"\xff", b'{"items": 1}'])
def test_an_answer_that_no_daemon_gives_is_told_as_such(stranger: Stranger, body: bytes) -> None:
    stranger.says("/api/v1/projects", body)
    said = stranger.run("project", "ls", status=3)[1]
    assert f"{stranger.url} is not Holdfast" in said


def test_a_page_in_place_of_the_stream_is_told_as_such(stranger: Stranger) -> None:
    stranger.says("/api/v1/events", b"<html>hello</html>", kind=HTML)
    assert "is not Holdfast" in stranger.run("events", "-f", "--after", "0", status=3)[1]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>", b"[]", b"3", b"{}", b"[" * 100_000, b'{"overall": "ok", "checks": 1}',
        b'{"overall": "ok", "checks": [1]}', b'{"overall": "ok", "checks": ["a"]}',
        b'{"overall": "ok", "checks": [[]]}',
    ],
)  # fmt: skip
def test_status_tells_what_is_no_readiness(stranger: Stranger, body: bytes) -> None:
    stranger.says("/readyz", body)
    for how in ([], ["--json"]):
        assert "is not Holdfast" in stranger.run("status", *how, status=3)[1]


@pytest.mark.guards(
    "the token of a data folder is sent to nobody but the daemon that runs on it",
    against="an admin token handed to whatever host HOLDFAST_URL names",
    breaks=("cli-sends-its-token-anywhere",),
)
def test_the_token_of_the_folder_is_not_sent_to_another_host(stranger: Stranger, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hft_of_this_machine\n")
    stranger.says("/api/v1/projects", b'{"items": [], "next": null}')
    here = ["--data", str(tmp_path)]
    assert "set HOLDFAST_TOKEN" in stranger.run("project", "ls", *here, status=2, HOLDFAST_TOKEN="")[1]
    assert stranger.asked == []
    stranger.run("project", "ls", *here, status=0, HOLDFAST_TOKEN="hft_of_that_one")
    assert [token for _, token in stranger.asked] == ["Bearer hft_of_that_one"]


def test_the_acts_of_one_actor_are_asked_for_and_told_oldest_first(stranger: Stranger) -> None:
    def act(seq: int) -> dict[str, object]:
        return {
            "seq": seq, "kind": "token.created", "subject": f"tok_{seq}", "detail": {"name": f"n{seq}"},
            "actor": "token:a b&c", "cause": "req_1", "at": f"2026-01-01T00:00:0{seq}.000000Z",
        }  # fmt: skip

    pages = ({"items": [act(3), act(2)], "next": "2"}, {"items": [act(1)], "next": None})
    stranger.says("/api/v1/audit", *(json.dumps(page).encode() for page in pages))
    shown = stranger.run("audit", "--json", "--actor", "token:a b&c", status=0)[0]
    assert [json.loads(line)["seq"] for line in shown.splitlines()] == [1, 2, 3]
    asked = [(urlsplit(path).path, dict(parse_qsl(urlsplit(path).query))) for path, _ in stranger.asked]
    first = {"actor": "token:a b&c", "limit": "500"}
    assert asked == [("/api/v1/audit", first), ("/api/v1/audit", first | {"cursor": "2"})]
    stranger.says("/api/v1/audit", *(json.dumps(page).encode() for page in pages))
    lines = stranger.run("audit", "--actor", "token:a b&c", status=0)[0].splitlines()
    assert lines[0] == "2026-01-01T00:00:01.000000Z  token:a b&c  token.created  tok_1  name=n1"
