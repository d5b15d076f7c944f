"""What a route is: one row of a literal table that carries its method, path, access rule, act and shapes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from holdfast.core.access.tokens import Identity
    from holdfast.core.errors import HoldfastError
    from holdfast.core.web.boundary import ErrorBody
    from holdfast.core.web.deps import Deps

Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
JSON = b"application/json"
#: What a caller came with. A cookie is a browser's, and good for nothing but `Access.BROWSER`.
Came = Literal["token", "ticket", "cookie"]


class ClientGoneError(Exception):
    """The client left before its request was whole; there is nobody to answer."""


class Access(Enum):
    """Who may use a route. Every route names one; there is no default."""

    #: Anybody who can connect. Only what gives nothing away.
    PUBLIC = "public"
    #: Tokens of scope `read` or `admin`.
    READ = "read"
    #: As `READ`, and browsers by the cookie that they were given for a ticket. Only what reads.
    BROWSER = "browser"
    #: Tokens of scope `admin`.
    ADMIN = "admin"
    #: Tokens of scope `session:<id>` whose id is the path's `{session}`, and those of scope `admin`.
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, encoded already."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    media: bytes = JSON


@dataclass(slots=True)
class Call:
    """One request as a handler sees it: authenticated, admitted, and read into the declared shapes."""

    deps: Deps
    request_id: str
    identity: Identity | None
    scope: Scope
    path: dict[str, str]
    query: Any  # an instance of the route's `query`
    body: Any  # an instance of the route's `body`
    raw_body: bytes
    came: Came = "token"
    #: How many seconds more what it came with is good, where that has an end.
    seconds: float | None = None

    @property
    def caller(self) -> Identity:
        """Who is calling. A public route knows of nobody, and must not ask."""
        if self.identity is None:
            raise AssertionError(self.scope["path"])
        return self.identity

    def header(self, name: bytes) -> str | None:
        """The value of a request header, by its lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value, "latin-1")
        return None


Handler = Callable[[Call], Awaitable[Reply]]
#: Answers by itself on the ASGI channels: streams.
RawHandler = Callable[[Call, "Receive", "Send"], Awaitable[None]]
#: Says what went wrong, with which status, in the form of a page.
Refusal = Callable[[int, "ErrorBody", "Scope"], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of a route table. `audit` names the registered act that a write leaves on record.

    A `raw` handler answers with server-sent events.
    """

    method: Method
    path: str
    access: Access
    handler: Handler | None = None
    raw: RawHandler | None = None
    audit: str | None
    summary: str
    #: msgspec structs: query parameters, JSON body, JSON answer.
    query: type[Any] | None = None
    body: type[Any] | None = None
    reply: type[Any] | None = None
    #: The statuses that come with `reply`, the usual one first.
    status: int | tuple[int, ...] = 200
    #: What can go wrong beyond what can go wrong everywhere.
    errors: tuple[type[HoldfastError], ...] = ()

    @property
    def statuses(self) -> tuple[int, ...]:
        """The statuses of answers that are no error envelope."""
        return self.status if isinstance(self.status, tuple) else (self.status,)

    @property
    def takes_tickets(self) -> bool:
        """Whether a browser may come with `?ticket=`: it can send no header when it opens a stream."""
        return self.raw is not None

    def __post_init__(self) -> None:
        """Refuse a row that could not be served."""
        if (self.handler is None) == (self.raw is None):
            message = f"{self.method} {self.path} needs either a handler or a raw handler"
            raise ValueError(message)
        if self.method == "GET" and (self.audit is not None or self.body is not None):
            message = f"GET {self.path} reads: it has neither an act nor a body"
            raise ValueError(message)
        if self.access is Access.BROWSER and self.method != "GET":
            message = f"{self.method} {self.path} writes: a browser's cookie reads, and nothing else"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute(Route):
    """A route that answers for people's eyes: a page, or what belongs to one."""

    media: str
    #: Whether a browser signs in here: it comes with a ticket, and leaves with a cookie.
    signs_in: bool = False
    #: How a browser is told what went wrong here; everybody else gets the envelope.
    refusal: Refusal | None = None

    @property
    def takes_tickets(self) -> bool:
        """Whether a browser may come with `?ticket=`."""
        return self.signs_in
