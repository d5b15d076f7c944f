"""Owns work on a thread that its caller does not leave before it is done, however often that one is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def uninterrupted(work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """Run `work` on a thread; who was cancelled meanwhile learns of it when `work`, and then `undo`, are done.

    A thread cannot be cancelled. To leave it behind would let the next one in beside what it is still doing.
    """
    result, cancelled = await _outlasted(work)
    if cancelled is None:
        return result
    if undo is not None:
        await _outlasted(lambda: undo(result))
    raise cancelled


async def _outlasted(work: Callable[[], T]) -> tuple[T, asyncio.CancelledError | None]:
    """What `work` gave, and the last cancellation of its caller meanwhile."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    cancelled: asyncio.CancelledError | None = None
    while True:
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
        if running.done():
            if cancelled is not None and (failure := running.exception()) is not None:
                raise cancelled from failure
            return running.result(), cancelled
