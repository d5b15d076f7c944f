"""Talks to the daemon: the standard library's HTTP client, so that a command starts fast."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from holdfast.cli import place
from holdfast.cli.failures import FAILED, USAGE, CommandError, NotRunningError, RefusedError, UsageError

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

#: No answer of the daemon takes longer than its own bounds on a unit of work and a read.
SECONDS = 30.0
#: A stream that is silent for so long is taken for broken, and resumed: four times what keep-alives are usually apart.
#: Where the settings put them farther apart, a quiet stream is resumed without need, which loses nothing.
STREAM_SECONDS = 60.0
_PAGE = 500
_FIRST_ERROR = 400
_FIRST_FAULT = 500
_OK = 200
_NO_CONTENT = 204
_STREAM = "text/event-stream"


class Client:
    """One daemon, signed in."""

    def __init__(self, url: str, token: str | None, *, certificate: Path | None = None) -> None:
        self.url = url
        self._certificate = certificate
        self._token = token
        self._parts = _address(url)

    def get(self, path: str, **query: object) -> Any:
        """What a GET answers."""
        return self._call("GET", _with_query(path, query))

    def post(self, path: str, body: object) -> Any:
        """What a POST answers; sent with a key of its own, so that it is safe to repeat."""
        return self._call("POST", path, body)

    def patch(self, path: str, body: object) -> Any:
        """What a PATCH answers; sent with a key of its own, so that it is safe to repeat."""
        return self._call("PATCH", path, body)

    def delete(self, path: str) -> Any:
        """What a DELETE answers."""
        return self._call("DELETE", path)

    def pages(self, path: str, **query: object) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        following: object = None
        while True:
            page = self.get(path, **query, limit=_PAGE, cursor=following)
            if not isinstance(page.get("items"), list):
                raise self.stranger()
            yield from page["items"]
            following = page.get("next")
            if following is None:
                return

    def raw(self, path: str, *, seconds: float = SECONDS) -> tuple[int, bytes]:
        """Status and body of a GET, whatever the status."""
        with self._ask("GET", path, seconds=seconds) as response:
            return response.status, response.read()

    def stranger(self) -> NotRunningError:
        """What to raise when something answers that no daemon would say."""
        message = f"What answers at {self.url} is not Holdfast. Set HOLDFAST_URL or --data to the right one."
        return NotRunningError(message)

    def serves(self, *, seconds: float = 5.0) -> bool:
        """Whether the daemon answers for real: while it starts or ends, a stand-in answers with 503."""
        return self.raw("/api/v1/status", seconds=seconds)[0] < _FIRST_FAULT

    def stream(self, path: str, *, last_event_id: str | None = None, **query: object) -> Iterator[tuple[str, str, str]]:
        """The events of an SSE stream as (id, event, data), until the daemon closes it."""
        from http.client import HTTPException

        headers = {"Accept": _STREAM}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        with self._ask("GET", _with_query(path, query), headers=headers, seconds=STREAM_SECONDS) as response:
            if response.status >= _FIRST_ERROR:
                raise _refusal(response.status, response.read())
            if response.status != _OK or response.headers.get_content_type() != _STREAM:
                raise self.stranger()
            with suppress(OSError, HTTPException):  # a stream that breaks has ended; the caller resumes
                yield from _events(response)

    def _call(self, method: str, path: str, body: object = None) -> Any:
        headers: dict[str, str] = {}
        encoded = None
        if body is not None:
            encoded = _sent(json.dumps(body, ensure_ascii=False))
            headers["Content-Type"] = "application/json"
        if method != "GET":
            from holdfast.core.ids import new_id

            headers["Idempotency-Key"] = new_id("cli")
        with self._ask(method, path, encoded, headers) as response:
            status, raw = response.status, response.read()
        if status >= _FIRST_ERROR:
            raise _refusal(status, raw)
        if status == _NO_CONTENT:
            return None
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            raise self.stranger() from None
        if not isinstance(found, dict):  # every answer of the daemon is an object
            raise self.stranger()
        return found

    def _connect(self, seconds: float) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection  # a quarter of the time that `--help` takes

        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            import ssl

            # Without a token nothing secret is sent, and whoever asks only wants to know whether somebody is there.
            # With one: a certificate that nobody has signed is trusted by naming it, here or in SSL_CERT_FILE.
            if self._token is None:
                context = ssl._create_unverified_context()  # noqa: S323, SLF001
            else:
                context = ssl.create_default_context(cafile=self._certificate)
            return HTTPSConnection(host, port, timeout=seconds, context=context)
        return HTTPConnection(host, port, timeout=seconds)

    @contextmanager
    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        seconds: float = SECONDS,
    ) -> Iterator[HTTPResponse]:
        """The answer, to be read within: a connection that fails says the same in words, however far it had come."""
        from http.client import HTTPException

        sent = dict(headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        connection = self._connect(seconds)
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, body=body, headers=sent)
            with connection.getresponse() as response:
                yield response
        except UnicodeError:  # from the domain name system: a label that is empty or too long
            message = f"{self.url!r} is not the address of a daemon. Set HOLDFAST_URL to http://HOST:PORT."
            raise UsageError(message) from None
        except ConnectionRefusedError:
            message = f"Nothing answers at {self.url}. Start the daemon with: holdfast up --detach"
            raise NotRunningError(message) from None
        except TimeoutError:
            message = f"The daemon at {self.url} did not answer in time. See: holdfast status"
            raise CommandError(message) from None
        except (OSError, HTTPException) as error:
            if type(error).__name__ == "gaierror":
                message = f"No host is known by the name {self._parts.hostname!r} ({error.args[-1]}). See HOLDFAST_URL."
                raise NotRunningError(message) from None
            if type(error).__name__ == "SSLCertVerificationError":
                message = f"The certificate of {self.url} is signed by nobody known here. Name it in SSL_CERT_FILE."
                raise CommandError(message) from None
            message = f"The daemon at {self.url} ended the connection ({error}). See: holdfast status"
            raise NotRunningError(message) from None
        finally:
            connection.close()


def connect(data: Path | None) -> Client:
    """The daemon of this data folder (or of HOLDFAST_URL), signed in."""
    folder = place.data_folder(data)
    return Client(place.address(folder), place.token(folder))


def _with_query(path: str, query: dict[str, object]) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    for value in given.values():
        _sent(str(value))
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _address(url: str) -> SplitResult:
    with suppress(ValueError):  # a bracket that is not closed, a port that is none
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and url.isprintable():
            return parts
    message = f"{url!r} is not the address of a daemon. Set HOLDFAST_URL to http://HOST:PORT."
    raise UsageError(message)


def _sent(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        message = "What was given is not UTF-8 text, which everything here must be, names and paths too."
        raise UsageError(message) from None


def _refusal(status: int, raw: bytes) -> RefusedError:
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        error = json.loads(raw)["error"]
        code = str(error["code"])
        # A path of the right form that holds the wrong thing is no wrong usage.
        usage = code == "invalid" and error.get("details", {}).get("field") != "path"
        return RefusedError(str(error["message"]), http_status=status, code=code, status=USAGE if usage else FAILED)
    return RefusedError(f"The daemon answered with status {status}.", http_status=status, code="unknown")


def _events(response: HTTPResponse) -> Iterator[tuple[str, str, str]]:
    """Parse `text/event-stream`; an event cut off by the end of the stream is not one."""
    fields: dict[str, str] = {}
    while line := response.readline():
        text = line.decode("utf-8", errors="replace").rstrip("\r\n")
        if text:
            name, _, value = text.partition(":")
            if name:  # a line that starts with a colon is a comment
                value = value.removeprefix(" ")
                fields[name] = f"{fields['data']}\n{value}" if name == "data" and "data" in fields else value
            continue
        if "data" in fields:
            yield fields.get("id", ""), fields.get("event", "message"), fields["data"]
        fields = {}


def segment(text: str) -> str:
    """A word of the person as one segment of a path."""
    if text in {"", ".", ".."}:
        message = f"{text!r} is not an ID."
        raise UsageError(message)
    return quote(_sent(text), safe="")
