"""What tells one failure from another: logs without what differs from run to run. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

# Every pattern begins with characters that are rare, or that the engine can leap to, and none of them looks back at
# more than a word: the time that a log takes grows with its length alone. The text is in lower case by then.
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?[ap]m\b)?"
_ZONE = r"(?: ?(?:z|utc|gmt|[cew]es?t|[aecmp][ds]t|ae[ds]t|[bij]st|msk|[+-]\d\d:?\d\d)\b)?"
_UNIT = (
    r"(?:ns|us|µs|μs|ms|m?secs?|seconds?|milliseconds?|microseconds?|nanoseconds?|s|mins?|minutes?|m|hrs?|hours?|h"
    r"|days?|d)"
)
#: What ends a path in a log.
_REST = r"[^\s'\"<>|:;,()\[\]{}`]*"

#: Escape codes, whole or as they are left when the escape character itself was taken out.
_CODES = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]?|[\]px^_][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\)?|[ -/]{0,8}[0-~]?)"
    r"|\[(?:\d{1,3}(?:;\d{1,3}){0,15}[mkjhabcdg]|[mk](?![a-z]))"
)
#: What drives a terminal or stands for nothing.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: The same for texts of ASCII alone, of which a table makes quick work, and slow work of others.
_NOTHING = dict.fromkeys([*range(0x09), *range(0x0B, 0x20), 0x7F])
_PLACES = re.compile(
    rf"/(?:private/)?(?:(?:var/)?tmp(?![\w.])(?:/{_REST})?|var/folders/{_REST}|dev/shm/{_REST}|run/user/\d{_REST}"
    r"|proc/\d+)"
)
_WINDOWS_PLACES = re.compile(rf"\\appdata\\local\\temp\\{_REST}")
#: Numbers after a word that counts runs, processes or places. Every branch begins with a letter, by which the engine
#: leaps over most of a text, and only a whole word is asked for what stands before it, which is dear.
_COUNTS = re.compile(
    r"(attempt(?<![a-z]attempt)|build(?<![a-z]build)|container(?<![a-z]container)|duration(?<![a-z]duration)"
    r"|elapsed(?<![a-z]elapsed)|gw(?<![a-z]gw)|iteration(?<![a-z]iteration)|job(?<![a-z]job)"
    r"|p(?:id(?<![a-z]pid)|pid(?<![a-z]ppid)|rocess(?<![a-z]process)|ort(?<![a-z]port))"
    r"|r(?:un(?:ner(?<![a-z]runner)|(?<![a-z]run))|etr(?:y(?<![a-z]retry)|ies(?<![a-z]retries)))"
    r"|se(?:ed(?<![a-z]seed)|ssion(?<![a-z]session))"
    r"|t(?:id(?<![a-z]tid)|hread(?<![a-z]thread)|ry(?<![a-z]try)|ask(?<![a-z]task))|worker(?<![a-z]worker)"
    r")[ =:#/\-]{0,3}\d+(?:\.\d+)?(?![\w.]*[a-z/])",
    re.ASCII,
)
_NUMBERS = re.compile(
    # Everything that begins with a digit, the longest forms first; a digit inside a word or a number begins nothing.
    # A run of digits is taken as a whole (`}+`): less of it is followed by a digit, with which nothing goes on here.
    r"\d(?<![\w.:/\-]\d)(?:"
    rf"\d{{3}}[-/]\d\d[-/]\d\d(?:[t ]{_CLOCK}{_ZONE})?"
    rf"|\d{{0,3}}+[-/. ]{_MONTH}[-/. ,]{{1,2}}\d{{4}}(?:[: ]{_CLOCK}{_ZONE})?"
    rf"|\d?:\d\d(?::\d\d(?:[.,]\d{{1,9}})?{_ZONE}|(?: ?[ap]m\b|(?![\d:])){_ZONE})(?: \d{{4}}\b)?"
    rf"|[\d.,]{{0,15}}+ ?{_UNIT}(?: ?\d[\d.]{{0,8}} ?{_UNIT}){{0,3}}(?![\w/])"
    r"|[\d.]{0,15}+ ?[kmgt]?i?b(?:/s|ps)(?![\w/])"
    r"|\d{8,}+(?:\.\d+)?(?![\w])"
    r")",
    re.ASCII,
)
_WEEKDAYS = re.compile(
    rf"(?:mon|tue|wed|thu|fri|sat|sun)(?<![a-z]{{4}})[a-z]{{0,6}},? (?:\d{{1,2}} {_MONTH}|{_MONTH} {{1,2}}\d{{1,2}})"
    rf"(?:,? \d{{4}})?(?:,? {_CLOCK}{_ZONE})?(?: \d{{4}})?",
    re.ASCII,
)
_HEX = re.compile(
    # The first one apart: the engine leaps to it.
    r"[0-9a-f][0-9a-f]{6}(?<!\w[0-9a-f]{7})"
    r"(?:[0-9a-f]-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{0,57})(?!\w)",
    re.ASCII,
)
_ADDRESSES = re.compile(r"0x[0-9a-f]+", re.ASCII)
_HOSTS = re.compile(
    r":(?:(?<=localhost:)|(?<=\d\.\d\.\d\.\d:)|(?<=0\.0\.1:)|(?<=\]:))\d{2,5}|\[\d{2,7}\]",
    re.ASCII,
)


def normalise(text: str) -> str:
    """A log without escape codes, times, durations, temporary places, addresses, and what counts runs.

    What is left, in lower case and with single spaces, is the same for two runs that failed alike, and differs where
    what failed does.
    """
    text = text.lower()
    text = _CODES.sub("", text)
    text = text.translate(_NOTHING) if text.isascii() else _UNSEEN.sub("", text)
    text = _PLACES.sub("<tmp>", text)
    if "\\appdata" in text:
        text = _WINDOWS_PLACES.sub("<tmp>", text)
    text = _WEEKDAYS.sub("<time>", text)
    text = _NUMBERS.sub("<n>", text)
    text = _HEX.sub(_hidden, text)
    text = _ADDRESSES.sub("<hex>", text)
    text = _HOSTS.sub("<at>", text)
    text = _COUNTS.sub(r"\1 <n>", text)
    return " ".join(text.split())


def _hidden(match: re.Match[str]) -> str:
    """A word of these letters alone is a word; one with a digit in it is an address or a name of a commit."""
    found = match[0]
    return found if found.isalpha() else "<hex>"


def digest(step: str, tail: str) -> str:
    """One failure, in a word: what failed and how, without what differs from run to run."""
    return signed((normalise(step), normalise(tail)))


def signed(parts: Iterable[str]) -> str:
    """These texts, in a word."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.encode("utf-8", "surrogatepass"))
        whole.update(b"\0")
    return whole.hexdigest()[:16]
