"""A model on the loopback: answers as prompts say, in the four dialects in which agents ask; keeps every question."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dialects
from dialects import Answer, Asked

#: What a prompt can ask of the model, anywhere in its text: `{{write FILE TEXT}}`, `{{hold NAME}}` and the like.
_ORDER = re.compile(r"\{\{(write|run|ask|question|hold|fail)\s+(.*?)\}\}")


@dataclass
class Model:
    """The scripted model: the last prompt says what it does, and once that has been done it answers with text."""

    #: Every question that came with tools, in order: what an agent remembers is what it sends.
    asked: list[Asked] = field(default_factory=list)
    #: Every address that was asked for, known or not.
    paths: list[str] = field(default_factory=list)
    #: Every question that was answered with an error.
    failures: list[Asked] = field(default_factory=list)
    gates: dict[str, threading.Event] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def gate(self, name: str) -> threading.Event:
        """What an answer waits for whose prompt says `{{hold NAME}}`."""
        with self._lock:
            return self.gates.setdefault(name, threading.Event())

    def answer(self, asked: Asked) -> Answer:
        """What is said to this question."""
        if asked.form:
            return Answer(text=json.dumps(dialects.formed(asked.form)))
        if not asked.tools:
            return Answer(text="A scripted title")
        with self._lock:
            self.asked.append(asked)
        orders = _ORDER.findall(asked.prompt)
        for verb, rest in orders:
            if verb == "hold":
                self.gate(rest).wait(60)
            if verb == "fail" and not self.gate(rest).is_set():
                self.failures.append(asked)
                return Answer(fails=True)
        doing = [order for order in orders if order[0] not in {"hold", "fail"}]
        if len(asked.results) < len(doing):
            verb, rest = doing[len(asked.results)]
            return Answer(tool=verb, arguments=rest)
        return Answer(text=f"The scripted model has heard {len(asked.prompts)} prompts and ends its turn.")


class Server(ThreadingHTTPServer):
    """The stand-in's server; every connection has a thread that does not outlive the process."""

    daemon_threads = True

    def __init__(self, model: Model, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.model = model
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of an agent that hung up: it was ended while it waited for an answer."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(5)


_ROUTES: tuple[
    tuple[re.Pattern[str], Callable[[dict[str, Any]], Asked], Callable[[Asked, Answer], Iterator[Any]]], ...
] = (
    (re.compile(r"/v1/messages(\?|$)"), dialects.messages_asked, dialects.messages_answer),
    (re.compile(r"/responses(\?|$)"), dialects.responses_asked, dialects.responses_answer),
    (re.compile(r"/chat/completions(\?|$)"), dialects.chat_asked, dialects.chat_answer),
    (re.compile(r":(streamG|g)enerateContent(\?|$)"), dialects.gemini_asked, dialects.gemini_answer),
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing: the pane belongs to the agent."""

    def do_GET(self) -> None:
        self.server.model.paths.append(f"GET {self.path}")
        self._json(200 if "/models" in self.path else 404, {"data": [], "models": []})

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def do_POST(self) -> None:
        self.server.model.paths.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for pattern, read, write in _ROUTES:
            if pattern.search(self.path):
                asked = read(json.loads(body))
                asked.streams = asked.streams or "streamGenerate" in self.path
                answer = self.server.model.answer(asked)
                if answer.fails:
                    self._json(503, {"error": {"type": "api_error", "code": 503, "message": "It fails as scripted."}})
                else:
                    self._say(asked, write(asked, answer))
                return
        if "count_tokens" in self.path or "countTokens" in self.path:
            self._json(200, {"input_tokens": 100, "totalTokens": 100})
        else:
            self._json(404, {"error": {"type": "not_found_error", "message": "the stand-in has no such address"}})

    def _say(self, asked: Asked, chunks: Iterator[Any]) -> None:
        if not asked.streams:
            self._json(200, list(chunks)[-1])
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in chunks:
            name = f"event: {chunk['type']}\n" if isinstance(chunk, dict) and "type" in chunk else ""
            text = chunk if isinstance(chunk, str) else json.dumps(chunk)
            self.wfile.write(f"{name}data: {text}\n\n".encode())
        self.wfile.flush()
        self.close_connection = True

    def _json(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
