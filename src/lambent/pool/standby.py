"""Sandboxes that stand by: per interpreter a few with the runtime up, belonging to no function yet, refilled when taken."""

import asyncio
import logging
from collections.abc import Callable

from lambent.errors import LambentError
from lambent.runtimes.contract import Environment, Environments, Family, Runtime

logger = logging.getLogger("lambent.pool")

#: A taken standby is replaced after this pause, so that starting an interpreter (30-40 ms of CPU) does not compete with
#: the first call that it was taken for.
REFILL_DELAY_SECONDS = 0.1
#: After failed starts the pause doubles from the first to the second of these.
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0

Key = tuple[Family, str]


class Shelf:
    """The standby environments of one interpreter."""

    __slots__ = ("failures", "level", "ready", "runtime", "starting")

    def __init__(self, runtime: Runtime, level: int) -> None:
        self.runtime = runtime
        #: How many are to stand by.
        self.level = level
        self.ready: list[Environment] = []
        self.starting = 0
        #: Failed starts in a row.
        self.failures = 0

    def missing(self) -> int:
        return max(0, self.level - len(self.ready) - self.starting)

    def pause_seconds(self) -> float:
        """How long to wait before the next start."""
        if self.failures == 0:
            return REFILL_DELAY_SECONDS
        return min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(self.failures - 1, 16))


class Standby:
    """Keeps the shelves filled. Starts tasks only in its own set, which `stop` ends."""

    def __init__(self, environments: Environments, level_of: Callable[[Runtime], int]) -> None:
        self._environments = environments
        self._level_of = level_of
        self._shelves: dict[Key, Shelf] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Removals of environments that died; `stop` waits for them and cuts none short.
        self._removals: set[asyncio.Task[None]] = set()
        self._stopping = False

    def levels(self) -> dict[str, int]:
        """Ready environments by runtime version, for people and metrics."""
        return {f"{s.runtime.family.value} {s.runtime.version}".strip(): len(s.ready) for s in self._shelves.values()}

    async def fill(self, runtime: Runtime) -> None:
        """Opens the shelf of a runtime and waits until its first environments stand by (or failed to). Never raises."""
        shelf = self._shelf(runtime)
        await asyncio.gather(*(self._start_one(shelf) for _ in range(shelf.missing())))

    def want(self, runtime: Runtime) -> None:
        """Opens the shelf of a runtime, filling it in the background."""
        self._refill(self._shelf(runtime), pause_seconds=0.0)

    async def take(self, runtime: Runtime) -> Environment:
        """A standby environment, made now when none is ready. Raises `SandboxError`."""
        shelf = self._shelf(runtime)
        while shelf.ready:
            environment = shelf.ready.pop(0)
            if environment.alive:
                self._refill(shelf, shelf.pause_seconds())
                return environment
        self._refill(shelf, shelf.pause_seconds())
        return await self._environments.standby(runtime)

    async def stop(self) -> None:
        """Ends the refilling and discards what stands by. Idempotent."""
        self._stopping = True
        # Once each, not `end_task`: a start that is cut off discards its sandbox, and a second cancellation would end that.
        # None of them runs for ever; one that missed the cancellation sees `_stopping`.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        ready = [environment for shelf in self._shelves.values() for environment in shelf.ready]
        self._shelves.clear()
        await asyncio.gather(*(environment.discard() for environment in ready), *self._removals)

    def _shelf(self, runtime: Runtime) -> Shelf:
        shelf = self._shelves.get(runtime.standby_key)
        if shelf is None:
            shelf = self._shelves[runtime.standby_key] = Shelf(runtime, self._level_of(runtime))
        return shelf

    def _refill(self, shelf: Shelf, pause_seconds: float) -> None:
        if self._stopping:
            return
        for _ in range(shelf.missing()):
            shelf.starting += 1
            task = asyncio.create_task(self._start_after(shelf, pause_seconds))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start_after(self, shelf: Shelf, pause_seconds: float) -> None:
        try:
            await asyncio.sleep(pause_seconds)
        finally:
            shelf.starting -= 1
        await self._start_one(shelf)

    async def _start_one(self, shelf: Shelf) -> None:
        shelf.starting += 1
        try:
            environment = await self._environments.standby(shelf.runtime)
        except LambentError as error:
            shelf.failures += 1
            logger.warning("a standby %s could not be started: %s", shelf.runtime.identifier, error)
        else:
            shelf.failures = 0
            if self._stopping:
                await environment.discard()
                return
            shelf.ready.append(environment)
            environment.on_death(lambda: self._died(shelf, environment))
        finally:
            shelf.starting -= 1
        if shelf.failures:
            self._refill(shelf, shelf.pause_seconds())

    def _died(self, shelf: Shelf, environment: Environment) -> None:
        if environment not in shelf.ready:
            return
        shelf.ready.remove(environment)
        shelf.failures += 1
        task = asyncio.create_task(environment.discard())
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)
        self._refill(shelf, shelf.pause_seconds())
