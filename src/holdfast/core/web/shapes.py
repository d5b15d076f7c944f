"""Reads requests into declared shapes and encodes answers: msgspec only, each thing validated once."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from holdfast.core.errors import Invalid, Malformed
from holdfast.core.web.routes import Reply
from holdfast.core.web.words import explained, spelled

T = TypeVar("T")
#: Ends a pattern: `$` alone would let a line end follow, here but not in other languages' schemas.
END = r"$(?!\n)"
#: Text of one line that a person wrote: no control characters.
PLAIN = spelled(r"^[^\x00-\x1f\x7f-\x9f]+" + END, "text of one line, without control characters")
_UNSEEN = r"\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
#: What people tell things apart by: something can be seen of it, and nothing in it hides or turns the text around.
LABEL = spelled(
    rf"^[^{_UNSEEN}]*[^\s{_UNSEEN}][^{_UNSEEN}]*" + END,
    "text of one line that can be seen, without control characters and marks that turn its direction",
)
#: The most items of a page.
MOST_ITEMS = 500
USUAL_ITEMS = 100
_MOST_PARAMETERS = 200

encode = msgspec.json.Encoder().encode


#: Leads every cursor of a list that is ordered by id, so that an id or anything made up is not taken for one.
_BEHIND = "after-"
_NEXT = "`next` of the page before, as it is"
_CURSOR = spelled(rf"^{_BEHIND}[A-Za-z0-9_-]{{1,200}}" + END, _NEXT)
_NUMBER = spelled(r"^[0-9]{1,18}" + END, _NEXT)
Cursor = Annotated[str, Meta(pattern=_CURSOR, description="`next` of the page before.")]
NumberCursor = Annotated[str, Meta(pattern=_NUMBER, description="`next` of the page before.")]


class PageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Where a page of a list begins, and how long it is."""

    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ITEMS, description="The most items of the page.")] = USUAL_ITEMS

    @property
    def behind(self) -> str:
        """The key that the page begins behind; the empty text is before all."""
        return (self.cursor or "").removeprefix(_BEHIND)


def answer(value: object, status: int = 200) -> Reply:
    """An answer that is encoded here."""
    return Reply(encode(value), status)


def page(items: list[Any], limit: int, key: str) -> Reply:
    """One page of a list. `items` holds one more than `limit` when there are more."""
    more = len(items) > limit
    items = items[:limit]
    following = None
    if more:
        last = items[-1][key]
        following = str(last) if isinstance(last, int) else _BEHIND + last
    return answer({"items": items, "next": following})


class QueryReader:
    """Reads the query of an address into a struct: strings as they are, numbers from their digits, lists repeated."""

    def __init__(self, shape: type[Any] | None) -> None:
        fields = msgspec.structs.fields(shape) if shape else ()
        self._shape = shape
        self._names = {field.encode_name for field in fields}
        self._lists = {field.encode_name for field in fields if _is_list(field.type)}
        self._numbers = {field.encode_name for field in fields if _is_number(field.type)}

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
            what, field = explained(error)
            raise Malformed(f"The query of the address is wrong: {what}.", **_at(field)) from None

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
                if name in self._numbers and not _DIGITS.fullmatch(value):
                    raise Malformed(f"The query of the address is wrong: {name} must be a whole number.", field=name)
                found[name] = value
            else:
                raise _unknown(name, self._names)
        return found, apart


def _is_list(declared: object) -> bool:
    return "list[" in str(declared) or "tuple[" in str(declared)


def _is_number(declared: object) -> bool:
    return "int" in re.findall(r"\w+", str(getattr(declared, "__origin__", declared)))


def _at(field: str | None) -> dict[str, str]:
    return {} if field is None else {"field": field}


_DIGITS = re.compile(r"-?[0-9]{1,40}")


def _unknown(name: str, known: set[str]) -> Malformed:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    advice = f" The nearest that it has is {near[0]!r}." if near else " It has none."
    return Malformed(f"This address has no parameter {name[:40]!r}.{advice}")


class BodyReader:
    """Reads a JSON body into a struct."""

    def __init__(self, shape: type[Any]) -> None:
        self._shape = shape
        self._decode = msgspec.json.Decoder(shape).decode

    def read(self, raw: bytes) -> Any:
        """The struct; bytes that are no JSON are malformed, JSON of another shape is invalid."""
        try:
            # NUL is a character in JSON and nowhere else: PostgreSQL has none, terminals and files stumble.
            if b"\\u0000" in raw and _holds_nul(msgspec.json.decode(raw)):
                message = "The body holds a NUL character, which no value has."
                raise Invalid(message)
            return self._read(raw)
        except msgspec.ValidationError as error:
            what, field = explained(error)
            raise Invalid(f"The body is not what this address takes: {what}.", **_at(field)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"The body is not JSON: {error}."
            raise Malformed(message) from None

    def _read(self, raw: bytes) -> Any:
        try:
            return self._decode(raw)
        except msgspec.ValidationError:
            # 5.0 is a whole number in JSON, also where null could stand instead.
            if (whole := _whole_numbers(raw)) is None:
                raise
            return msgspec.convert(whole, self._shape)


def _whole_numbers(raw: bytes) -> Any:
    """The same JSON with every number that is whole as one; none where that makes no difference."""
    found = 0

    def number(text: str) -> float | int:
        nonlocal found
        value = float(text)
        found += value.is_integer()
        return int(value) if value.is_integer() else value

    try:
        value = json.loads(raw, parse_float=number)
    except (ValueError, RecursionError):
        return None
    return value if found else None


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
