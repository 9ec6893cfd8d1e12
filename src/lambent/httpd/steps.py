"""Runs a coroutine on the spot, for as long as it does not have to wait.

`asyncio.Task` always starts in the next turn of the loop, and Python 3.11 has no eager tasks; one object per connection
that is used again for every request saves both the turn and the task. To the code inside it is the current task, so that
`asyncio.timeout`, task groups and cancellation work as they do everywhere.
"""

import asyncio
from asyncio import tasks
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Steps(Generic[T]):
    """One coroutine at a time. `done(result, error)` is called once for each; exactly one of the two is None.

    `start` must be called from a callback of the loop, never from within a task.
    """

    __slots__ = (
        "__weakref__",
        "_asyncio_future_blocking",
        "_cancelling",
        "_coroutine",
        "_done",
        "_loop",
        "_must_cancel",
        "_waits_for",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Callable[[T | None, BaseException | None], None]) -> None:
        self._loop = loop
        self._done = done
        self._coroutine: Generator[Any, None, T] | None = None
        self._waits_for: asyncio.Future[Any] | None = None
        self._must_cancel = False
        self._cancelling = 0

    def start(self, awaitable: Awaitable[T]) -> None:
        """Runs up to the first wait, or to the end."""
        assert self._coroutine is None, "one coroutine at a time"
        # A coroutine is stepped as it is; anything else that can be awaited through its iterator.
        coroutine = awaitable if hasattr(awaitable, "send") else awaitable.__await__()
        self._coroutine = cast("Generator[Any, None, T]", coroutine)
        self._must_cancel = False
        self._cancelling = 0
        self._step(None)

    @property
    def running(self) -> bool:
        return self._coroutine is not None

    def _step(self, error: BaseException | None) -> None:
        coroutine = self._coroutine
        assert coroutine is not None
        self._waits_for = None
        if self._must_cancel:
            self._must_cancel = False
            if not isinstance(error, asyncio.CancelledError):
                error = asyncio.CancelledError()
        result: T | None = None
        me = cast("asyncio.Task[Any]", self)
        tasks._enter_task(self._loop, me)
        try:
            future = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration as stop:
            result, error = stop.value, None
        except (KeyboardInterrupt, SystemExit):
            self._coroutine = None
            raise
        except BaseException as raised:
            error = raised
        else:
            self._wait(future)
            return
        finally:
            tasks._leave_task(self._loop, me)
        self._coroutine = None
        self._done(result, error)

    def _wait(self, future: Any) -> None:
        if future is None:
            # A bare yield, as `asyncio.sleep(0)` does.
            self._loop.call_soon(self._step, None)
        elif getattr(future, "_asyncio_future_blocking", None):
            future._asyncio_future_blocking = False
            future.add_done_callback(self._wake)
            self._waits_for = future
            if self._must_cancel and future.cancel():
                self._must_cancel = False
        else:
            self._loop.call_soon(self._step, RuntimeError(f"awaited {future!r}, which is not a future of this loop"))

    def _wake(self, future: "asyncio.Future[Any]") -> None:
        try:
            future.result()
        except BaseException as error:
            self._step(error)
        else:
            self._step(None)

    # What asyncio asks of a current task.

    def cancel(self, msg: object = None) -> bool:
        """Asks what runs to stop: `CancelledError` is raised in it. False if nothing runs."""
        if self._coroutine is None:
            return False
        self._cancelling += 1
        if self._waits_for is None or not self._waits_for.cancel():
            self._must_cancel = True
        return True

    def cancelling(self) -> int:
        return self._cancelling

    def uncancel(self) -> int:
        if self._cancelling > 0:
            self._cancelling -= 1
        return self._cancelling

    def done(self) -> bool:
        return self._coroutine is None

    def cancelled(self) -> bool:
        return False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def get_name(self) -> str:
        return "http connection"
