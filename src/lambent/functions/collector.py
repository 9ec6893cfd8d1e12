"""Collects code packages that nothing names any more, for as long as the platform runs."""

import asyncio
import logging

from lambent.bus.tasks import end_task
from lambent.errors import LambentError
from lambent.functions.store import FunctionStore

#: Between two collections: a package is noted as unnamed by one and removed by a later one.
INTERVAL_SECONDS = 3600.0

logger = logging.getLogger("lambent.functions")


class Collector:
    """Owns the task that collects; `start` once, `stop` ends it."""

    def __init__(self, store: FunctionStore, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._store = store
        self._interval_seconds = interval_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="code collector")

    async def stop(self) -> None:
        """Idempotent."""
        if self._task is not None:
            await end_task(self._task)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                gone = await self._store.collect_garbage()
            except (LambentError, OSError) as error:
                logger.warning("code packages were not collected, tried again later: %s", error)
            else:
                if gone:
                    logger.info("%d code packages that nothing names were removed", len(gone))
            await asyncio.sleep(self._interval_seconds)
