"""Says in words what is wrong with a request and where: people are never shown a pattern or a type's name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import msgspec

#: What each pattern asks for, in words.
WORDS: dict[str, str] = {}
_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def spelled(pattern: str, words: str) -> str:
    """The pattern, with the words in which people are told what it takes."""
    WORDS[pattern] = words
    return pattern


def explained(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """What is wrong in words for people, and the field that it is wrong with."""
    said, _, place = str(error).partition(" - at `$")
    field = place.rstrip("`").removeprefix(".") or None
    if named := re.fullmatch(r"Object (contains unknown|missing required) field `(.*)`", said, re.DOTALL):
        whole = f"{field}.{named[2]}" if field else named[2]
        return (f"there is no field {whole!r}" if "unknown" in named[1] else f"the field {whole!r} is missing"), whole
    for form, words in _FORMS:
        if match := re.fullmatch(form, said, re.DOTALL):
            return f"{field or 'it'} {words(match)}", field
    return (f"{field}: {said}" if field else said), field


def _matching(match: re.Match[str]) -> str:
    words = {repr(pattern): said for pattern, said in WORDS.items()}.get(match[1])
    return "is not of the form that it must have" if words is None else f"must be {words}"


def _length(match: re.Match[str]) -> str:
    return f"must have {_BOUNDS[match[2]]} {match[3]} {'characters' if match[1] == 'str' else 'items'}"


def _bound(match: re.Match[str]) -> str:
    return f"must be {_BOUNDS[match[1]]} {match[2]}"


def _kind(match: re.Match[str]) -> str:
    wanted = " or ".join(_KINDS.get(word, word) for word in match[1].split(" | "))
    return f"must be {wanted}" + (f", not {_KINDS.get(match[2], match[2])}" if match[2] else "")


def _choice(match: re.Match[str]) -> str:
    return f"cannot be {match[1]}"


_FORMS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"Expected `str` matching regex (.*)", _matching),
    (r"Expected `(str|array)` of length (>=|<=) (\d+)", _length),
    (r"Expected `(?:int|float)` (>=|<=|>|<) (\S+)", _bound),
    (r"Expected `([^`]*)`(?:, got `([^`]*)`)?", _kind),
    (r"Invalid enum value (.*)", _choice),
)
