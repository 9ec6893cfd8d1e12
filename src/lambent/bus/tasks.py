"""Ends a task for certain."""

import asyncio
from typing import Any

#: Between two cancellations of a task that did not end at the first.
_AGAIN_S = 0.5


async def end_task(task: "asyncio.Task[Any]") -> None:
    """Cancels `task` until it has ended; what it raises is dropped.

    One `cancel` is not enough on Python 3.11: `asyncio.wait_for` loses a cancellation that arrives together with the result
    that it waits for, and a task that loops would then go on for ever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_S)
    if not task.cancelled():
        task.exception()
