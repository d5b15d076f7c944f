"""Reads requests into declared shapes and encodes answers: msgspec only, each thing validated once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from holdfast.core.errors import Invalid, Malformed
from holdfast.core.web.routes import Reply

T = TypeVar("T")
#: Ends a pattern: `$` alone would let a line end follow, here but not in other languages' schemas.
END = r"$(?!\n)"
#: Text of one line that a person wrote: no control characters.
PLAIN = r"^[^\x00-\x1f\x7f-\x9f]+" + END
#: The most items of a page.
MOST_ITEMS = 500
USUAL_ITEMS = 100
_MOST_PARAMETERS = 200

encode = msgspec.json.Encoder().encode


Cursor = Annotated[
    str, Meta(max_length=200, pattern=r"^[A-Za-z0-9_-]+" + END, description="`next` of the page before.")
]
NumberCursor = Annotated[str, Meta(pattern=r"^[0-9]{1,18}" + END, description="`next` of the page before.")]


class PageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Where a page of a list begins, and how long it is."""

    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ITEMS, description="The most items of the page.")] = USUAL_ITEMS


def answer(value: object, status: int = 200) -> Reply:
    """An answer that is encoded here."""
    return Reply(encode(value), status)


def page(items: list[Any], limit: int, key: str) -> Reply:
    """One page of a list. `items` holds one more than `limit` when there are more."""
    more = len(items) > limit
    items = items[:limit]
    return answer({"items": items, "next": str(items[-1][key]) if more else None})


class QueryReader:
    """Reads the query of an address into a struct: strings as they are, numbers from their digits, lists repeated."""

    def __init__(self, shape: type[Any] | None) -> None:
        fields = msgspec.structs.fields(shape) if shape else ()
        self._shape = shape
        self._names = {field.encode_name for field in fields}
        self._lists = {field.encode_name for field in fields if _is_list(field.type)}

    def read(self, raw: bytes, *, also: frozenset[str] = frozenset()) -> tuple[Any, dict[str, str]]:
        """The struct, and what was given of the parameters in `also` that belong to the web layer itself."""
        if not raw:
            return (self._shape() if self._shape else None), {}
        try:
            pairs = parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
            )
        except ValueError as error:
            message = f"The query of the address cannot be read: {error}."
            raise Malformed(message) from None
        found, apart = self._sorted(pairs, also)
        if self._shape is None:
            return None, apart
        try:
            return msgspec.convert(found, self._shape, strict=False), apart
        except msgspec.ValidationError as error:
            message = f"The query of the address is wrong: {error}."
            raise Malformed(message) from None

    def _sorted(
        self, pairs: Iterable[tuple[str, str]], also: frozenset[str]
    ) -> tuple[dict[str, str | list[str]], dict[str, str]]:
        found: dict[str, str | list[str]] = {}
        apart: dict[str, str] = {}
        for name, value in pairs:
            if "\0" in value:
                message = f"Parameter {name[:40]!r} holds a NUL character, which no value has."
                raise Malformed(message)
            if name in self._lists:
                found[name] = [*found.get(name, ()), value]
            elif name in found or name in apart:
                message = f"Parameter {name[:40]!r} is there twice. Send it once."
                raise Malformed(message)
            elif name in also:
                apart[name] = value
            elif name in self._names:
                found[name] = value
            else:
                raise _unknown(name, self._names)
        return found, apart


def _is_list(declared: object) -> bool:
    return "list[" in str(declared) or "tuple[" in str(declared)


def _unknown(name: str, known: set[str]) -> Malformed:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    advice = f" The nearest that it has is {near[0]!r}." if near else " It has none."
    return Malformed(f"This address has no parameter {name[:40]!r}.{advice}")


class BodyReader:
    """Reads a JSON body into a struct."""

    def __init__(self, shape: type[Any]) -> None:
        self._decode = msgspec.json.Decoder(shape).decode

    def read(self, raw: bytes) -> Any:
        """The struct; bytes that are no JSON are malformed, JSON of another shape is invalid."""
        try:
            # NUL is a character in JSON and nowhere else: PostgreSQL has none, terminals and files stumble.
            if b"\\u0000" in raw and _holds_nul(msgspec.json.decode(raw)):
                message = "The body holds a NUL character, which no value has."
                raise Invalid(message)
            return self._decode(raw)
        except msgspec.ValidationError as error:
            message = f"The body is not what this address takes: {error}."
            raise Invalid(message) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"The body is not JSON: {error}."
            raise Malformed(message) from None


def _holds_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any("\0" in key or _holds_nul(item) for key, item in value.items())
        case list():
            return any(map(_holds_nul, value))
        case _:
            return False
