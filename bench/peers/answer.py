"""How a measured process talks with the harness: a JSON question a line on stdin, a JSON answer a line on stdout."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Answer = dict[str, Any]


def _own_stdout() -> Callable[[Answer], None]:
    """Keep stdout for answers alone: whatever else prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: Answer) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    return say


def _imports_ours() -> Answer:
    """Lets the harness see that a floor is a floor."""
    return {"imports_holdfast": any(name.split(".")[0] == "holdfast" for name in sys.modules)}


def serve(handlers: Mapping[str, Callable[..., Answer]]) -> None:
    """Answer questions until stdin ends."""
    say = _own_stdout()
    for line in sys.stdin:
        question = json.loads(line)
        verb = question.pop("do")
        begin = time.process_time()
        answer = _imports_ours() if verb == "whoami" else handlers[verb](**question)
        say({**answer, "cpu_seconds": time.process_time() - begin})


async def _who() -> Answer:
    return _imports_ours()


async def serve_async(handlers: Mapping[str, Callable[..., Awaitable[Answer]]]) -> None:
    """Answer questions until stdin ends, on an event loop that does other things too."""
    say = _own_stdout()
    loop = asyncio.get_running_loop()
    answers = {"whoami": _who, **handlers}
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        question = json.loads(line)
        verb = question.pop("do")
        begin = time.process_time()  # of all threads; unlike the time that passes, other programs hardly change it
        answer = await answers[verb](**question)
        say({**answer, "cpu_seconds": time.process_time() - begin})
