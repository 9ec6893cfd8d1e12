"""A bus of its own for each test: an embedded server on a free port in the test's folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lambent.bus.bus import Bus
from lambent.settings import Settings, load


def bus_settings(folder: Path, **changes: Any) -> Settings:
    """Settings for one instance below `folder`. Durability is relaxed unless a test says otherwise: tests do not lose power."""
    flags = {"data_dir": str(folder / "data"), "nats_port": 0, "relaxed_durability": True, **changes}
    return load(flags, environment={})


@asynccontextmanager
async def running_bus(folder: Path, **changes: Any) -> AsyncIterator[Bus]:
    bus = Bus(bus_settings(folder, **changes))
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()
