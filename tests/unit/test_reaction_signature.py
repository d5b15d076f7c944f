"""What tells one failure from another: logs without times, places, addresses and counts; quickly in any case."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.redact import plain
from holdfast.fleet.reactions.signature import digest, normalise

#: Two forms of each that say the same.
SAME = {
    "escape codes": ("\x1b[31;1mFAILED\x1b[0m test", "FAILED test"),
    "escape codes without the escape": (plain("\x1b[31;1mFAILED\x1b[0m test\x1b[K"), "FAILED test"),
    "titles": ("\x1b]0;make test\x07FAILED", "FAILED"),
    "timestamps": ("2026-11-21T16:42:33.123456Z broken", "2026-11-22T01:02:03Z broken"),
    "timestamps with spaces": ("2026-11-21 16:42:33,123 broken", "2026-01-01 06:02:03,999 broken"),
    "zones": ("2026-11-21T16:42:33+01:00 broken", "2026-11-21T16:42:33-05:30 broken"),
    "clock times": ("[16:42:33] broken", "[6:02:03] broken"),
    "dates in words": ("Sat Nov 21 16:42:33 UTC 2026 broken", "Mon Dec 1 06:02:03 CET 2025 broken"),
    "mail dates": ("Sat, 21 Nov 2026 16:42:33 +0000 broken", "Mon, 1 Dec 2025 06:02:03 +0100 broken"),
    "epochs": ("at 1763743353 broken", "at 1763743999 broken"),
    "milliseconds of epochs": ("at 1763743353123 broken", "at 1763743999456 broken"),
    "durations": ("1 failed in 0.12s", "1 failed in 12.34s"),
    "long durations": ("took 1m23s", "took 2h 3m 4s"),
    "durations in words": ("after 3 seconds", "after 14.5 seconds"),
    "milliseconds": ("roof (12 ms)", "roof (3 ms)"),
    "counts of time": ("elapsed: 1.25", "elapsed: 17.5"),
    "rates": ("3.2 MB/s", "120 KB/s"),
    "temporary paths": ("open /tmp/tmpab12cd/x.py: no", "open /tmp/tmpzz99yy/x.py: no"),
    "temporary paths of tests": ("/tmp/pytest-of-ada/pytest-7/roof0 gone", "/tmp/pytest-of-bob/pytest-12/roof1 gone"),
    "temporary paths of macs": ("/private/var/folders/zz/aa/T/x gone", "/var/folders/qq/bb/T/y gone"),
    "addresses": ("<Roof object at 0x7f1f7f48de50>", "<Roof object at 0x55d0c0ffee00>"),
    "process ids": ("pid 1234 died", "pid 99 died"),
    "bracketed process ids": ("roofd[1234]: died", "roofd[99]: died"),
    "ports": ("connect to 127.0.0.1:45123 failed", "connect to 127.0.0.1:60001 failed"),
    "ports of localhost": ("http://localhost:45123/x", "http://localhost:601/x"),
    "ports in words": ("listening on port 45123", "listening on port 8"),
    "uuids": ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-e89b-12d3-a456-4266141740ff"),
    "commits": ("at 3f2a9c1 in", "at 0b1d4e77aa in"),
    "run counters": ("run #12 failed", "run #13 failed"),
    "attempts": ("attempt 2 of it", "attempt 3 of it"),
    "seeds": ("random seed: 12345", "random seed: 7"),
    "spaces": ("a  b\n\n\nc", "a b \n c"),
}
DIFFERENT = {
    "what was expected": ("assert 3 == 4", "assert 3 == 5"),
    "the line": ("roof.py:12: error", "roof.py:13: error"),
    "the column": ("roof.c:12:34: error", "roof.c:12:35: error"),
    "the test": ("FAILED test_roof", "FAILED test_wall"),
    "the number of failures": ("2 failed", "3 failed"),
    "the version": ("needs python 3.11", "needs python 3.12"),
    "words like numbers": ("deadbeef", "defaced"),
    "the exit status": ("exit status 1", "exit status 2"),
}


@pytest.mark.parametrize("what", SAME)
@pytest.mark.guards(
    "Escape codes, timestamps, durations, temporary paths, addresses, process ids, ports and counters of runs are no "
    "part of what tells one failure from another.",
    against="A re-run of the same failure wakes the agent eight times in forty minutes.",
    breaks=("reaction-signs-noise",),
)
def test_what_differs_from_run_to_run_is_left_out(what: str) -> None:
    first, second = SAME[what]
    assert normalise(first) == normalise(second)
    assert digest("make test", first) == digest("make test", second)


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_failed_is_kept(what: str) -> None:
    first, second = DIFFERENT[what]
    assert normalise(first) != normalise(second)


def test_the_step_counts_and_is_kept_apart_from_the_log() -> None:
    assert digest("make test", "no") != digest("make lint", "no")
    assert digest("a", "b") != digest("ab", "")


@given(st.text(alphabet=st.sampled_from("ab 01:9./-\n\x1b[m;tmpT#")))
def test_what_is_normal_is_normal(text: str) -> None:
    once = normalise(text)
    assert once == once.strip()
    assert "\x1b" not in once
    assert "\n" not in once


@given(st.text(max_size=300), st.sampled_from(sorted(SAME)))
def test_noise_makes_no_difference_wherever_it_stands(text: str, what: str) -> None:
    first, second = (f"{text}\n{each}\n{text}" for each in SAME[what])
    assert digest("", first) == digest("", second)


#: What could make a pattern go back and forth.
HARD = (
    "1",
    "1:",
    "1.1,",
    " ",
    "\n ",
    "abcdef",
    "\x1b[",
    "\x1b]",
    "/tmp",
    "pid ",
    "1 m ",
    "/private/var",
    "-1-",
    "jan ",
)


@pytest.mark.parametrize("piece", HARD)
def test_time_grows_with_the_length_of_a_log_alone(piece: str) -> None:
    def cost(length: int) -> float:
        text = (piece * length)[:length]
        spent = []
        for _ in range(3):
            begun = time.process_time()
            normalise(text)
            spent.append(time.process_time() - begun)
        return min(spent)

    assert cost(131_072) < 40 * cost(8_192) + 0.01
