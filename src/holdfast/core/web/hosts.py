"""Host and Origin: which requests were meant for us, and whose pages may make a browser send them."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from holdfast.core.errors import Forbidden, Malformed

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Names by which only this machine can mean us.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class Hosts:
    """Whose names are ours. A web page that points its own name at our address is told by it, and refused."""

    def __init__(self, address: tuple[str, int], hosts: Iterable[str], origins: Iterable[str]) -> None:
        listened = address[0].lower()
        self._names = LOOPBACK | {listened, f"[{listened}]", *(host.lower() for host in hosts)}
        self._origins = frozenset(origin.lower() for origin in origins)
        # Beyond loopback an address written out is as good as a name that is ours: it cannot be pointed elsewhere.
        self._literals = listened not in LOOPBACK

    def admit(self, host: str | None, origin: str | None) -> bool:
        """Refuse what was not meant for us or comes from somebody's page; whether it comes from a page let in."""
        if host is None:
            message = "The request has no Host header. HTTP/1.1 asks for one."
            raise Malformed(message)
        host = host.lower()
        name = host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
        if name not in self._names and not (self._literals and _is_address(name)):
            message = f"Host {host[:100]!r} is not ours. Add it to access.hosts if it is."
            raise Forbidden(message)
        if origin is not None and not self._ours(origin.lower(), host):
            message = f"Origin {origin[:100]!r} may not call. Add it to access.origins if it may."
            raise Forbidden(message)
        return origin is not None and origin.lower() in self._origins

    def _ours(self, origin: str, host: str) -> bool:
        if origin in self._origins:
            return True
        # Compared as text: what somebody sends as an Origin need not be an address that can be taken apart.
        return origin in {f"http://{host}", f"https://{host}"}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
