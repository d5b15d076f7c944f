"""The channel `webhook`: one signed POST to an address of the person's own, as Standard Webhooks describes it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import stat
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from holdfast.core.redact import plain, redact
from holdfast.core.version import VERSION
from holdfast.notify.channels.port import Delivered, Failed, Gone, Sent, Telling
from holdfast.notify.channels.posting import Answer, AnswerWrongError, post
from holdfast.notify.channels.signing import SecretWrongError, keys_of, signature

if TYPE_CHECKING:
    from holdfast.core.clock import Clock

_LONGEST_SECRETS = 4_096
_LONGEST_WORDS = 200
_SHORTEST_WAIT, _LONGEST_WAIT = 1.0, 86_400.0
_TAKEN, _MOVED = range(200, 300), range(300, 400)
_GONE, _TOO_MANY, _UNAVAILABLE = 410, 429, 503


class Webhook:
    """An address, and where the secret is that signs what is sent there. The secret is read anew for every send."""

    def __init__(
        self, name: str, url: str, clock: Clock, *, secret: Path | str, env: Mapping[str, str] = os.environ
    ) -> None:
        self.name = name
        self._url = urlsplit(url)
        self._clock = clock
        #: A file, or the name of a variable.
        self._secret = secret
        self._env = env
        self._tls: ssl.SSLContext | None = None
        #: Of an address only the host is shown: what comes after it often lets in whoever knows it.
        self.where = f"{self._url.scheme}://{self._url.netloc.rpartition('@')[2]}"
        self.mark = hashlib.sha256(url.encode()).hexdigest()[:12]

    async def unavailable(self) -> str | None:
        """Why nothing could be signed."""
        try:
            await asyncio.to_thread(self._keys)
        except SecretWrongError as error:
            return str(error)
        return None

    async def send(self, telling: Telling, seconds: float) -> Sent:
        """Post it; the answer says what came of it."""
        try:
            keys = await asyncio.to_thread(self._keys)
        except SecretWrongError as error:
            return Failed(str(error))
        body = _body(telling)
        timestamp = int(self._clock.now().timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": f"Holdfast/{VERSION}",
            "webhook-id": telling.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(keys, telling.id, timestamp, body),
        }
        try:
            async with asyncio.timeout(seconds):
                return self._came(await post(self._url, headers, body, await self._context()))
        except TimeoutError:
            return Failed(f"{self.where} gave no answer within {seconds:g} s")
        except AnswerWrongError as error:
            return Failed(f"{self.where}: {error}")
        except (OSError, UnicodeError) as error:  # a name that no domain name system takes is a UnicodeError
            return Failed(f"{self.where} cannot be reached: {redact(plain(str(error)), limit=_LONGEST_WORDS)}")

    async def _context(self) -> ssl.SSLContext | None:
        if self._url.scheme == "https" and self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)  # reads all that sign certificates
        return self._tls

    def _came(self, answer: Answer) -> Sent:
        said = f"{self.where} answered with {answer.status}"
        if answer.status in _TAKEN:
            return Delivered()
        if answer.status == _GONE:
            return Gone(f"{said}: nothing is taken there any more")
        if answer.status in _MOVED:
            return Failed(f"{said}, which leads elsewhere and is not followed: set the address that it leads to")
        after = answer.headers.get("retry-after") if answer.status in {_TOO_MANY, _UNAVAILABLE} else None
        words = redact(plain(answer.body.decode("utf-8", "replace")).strip(), limit=_LONGEST_WORDS)
        return Failed(f"{said}: {words}" if words else said, None if after is None else self._wait(after))

    def _wait(self, text: str) -> float | None:
        """The seconds that `Retry-After` asks for, as a number or as a moment; none if it is neither."""
        if text.isascii() and text.isdigit():
            asked = float(text[:10])
        else:
            try:
                moment = parsedate_to_datetime(text)
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                asked = (moment - self._clock.now()).total_seconds()
            except (ValueError, OverflowError):
                return None
        return min(max(asked, _SHORTEST_WAIT), _LONGEST_WAIT)

    def _keys(self) -> list[bytes]:
        if isinstance(self._secret, str):
            text, named = self._env.get(self._secret, ""), f"the variable {self._secret}"
        else:
            text, named = _text_of(self._secret), f"the file {self._secret}"
        try:
            return keys_of(text)
        except SecretWrongError as error:
            message = f"{named} {error}"
            raise SecretWrongError(message) from None


def _text_of(file: Path) -> str:
    """What stands in a file that nobody else may read."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        message = f"the file {file} cannot be read: {error.strerror}"
        raise SecretWrongError(message) from None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            message = f"the file {file} is no plain file"
            raise SecretWrongError(message)
        if stat.S_IMODE(about.st_mode) & 0o077:
            message = f"the file {file} can be read by others: chmod 600 {file}"
            raise SecretWrongError(message)
        return os.read(descriptor, _LONGEST_SECRETS).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def _body(telling: Telling) -> bytes:
    told = {
        "notice": telling.notice,
        "stage": telling.stage,
        "kind": telling.kind,
        "subject": telling.subject,
        "scope": telling.scope,
        "urgency": telling.urgency,
        "text": telling.text,
    }
    return msgspec.json.encode({"type": f"notice.{telling.stage}", "timestamp": telling.at, "data": told})
