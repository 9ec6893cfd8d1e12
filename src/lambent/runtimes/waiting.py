"""A future whose waiter goes on in the moment in which the result comes, not in the loop's next turn.

`asyncio.Future` schedules its callbacks, so that a call would wait for one more look at every descriptor between its answer
and its response. Here the callback that brought the answer runs the rest of the call.
"""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Waiter(Generic[T]):
    """Resolved at most once, awaited by one. Understood by `asyncio.Task` and by the HTTP server's steps.

    From inside a task the waiter is scheduled as usual: two tasks cannot run inside each other.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_done", "_loop", "_result")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._done = False
        self._cancelled = False
        self._result: T
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled

    def result(self) -> T:
        if self._cancelled:
            raise asyncio.CancelledError
        assert self._done, "the result is not there yet"
        return self._result

    def exception(self) -> None:
        """Never fails; may be cancelled."""
        self.result()

    def set_result(self, result: T) -> None:
        self._result = result
        self._done = True
        self._call_back()

    def cancel(self, msg: object = None) -> bool:
        """What a task does that is cancelled while it waits."""
        if self._done:
            return False
        self._done = self._cancelled = True
        self._call_back()
        return True

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        assert self._callback is None, "awaited by one"
        self._callback, self._context = callback, context
        if self._done:
            self._call_back()

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        if self._callback != callback:
            return 0
        self._callback = None
        return 1

    def _call_back(self) -> None:
        callback, self._callback = self._callback, None
        if callback is None:
            return
        if self._cancelled or asyncio.current_task(self._loop) is not None:
            self._loop.call_soon(callback, self, context=self._context)
        elif self._context is None:
            callback(self)
        else:
            self._context.run(callback, self)

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        return self.result()
