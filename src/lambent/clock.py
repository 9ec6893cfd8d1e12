"""Time as a value that is passed in, so that the simulation and the tests own it."""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall clock, Unix milliseconds."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin, never going back."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


class FixedClock:
    """A clock that moves only when told to; for tests and the simulation."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.current_ms = now_ms

    def now_ms(self) -> int:
        return self.current_ms

    def monotonic(self) -> float:
        return self.current_ms / 1000

    def advance(self, seconds: float) -> None:
        self.current_ms += int(seconds * 1000)
