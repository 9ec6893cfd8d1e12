"""Which environment a call gets, which are started, kept and discarded: decided here, without I/O.

The states of a leased environment, from the pool's side:

    starting --> idle <--> busy        a start that succeeded, a call, the end of a call
       |           |         |
       +-----------+---------+--> gone  a failed start, idle too long, evicted, died, its version retired

Rule 1: the most recently used idle environment goes first. Few hot environments beat many cool ones (caches, and the rest
        can age out).
Rule 2: a call that finds none idle waits in line, and one start is made for each waiter that no running start will serve.
        Whatever comes first, a finished start or a freed environment, goes to the first in line.
Rule 3: past the bound of environments, the longest idle environment of any version makes room; when none is idle, the call
        is throttled.
Rule 4: an environment of a retired version is never handed out again: idle ones go at once, busy ones after their call.
"""

from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar


class Idles(Protocol):
    """What the plan needs to know of an environment."""

    idle_since: float
    expires: float


class Waits(Protocol):
    """What the plan needs to know of a waiter: a caller that gave up is passed over."""

    def done(self) -> bool: ...


E = TypeVar("E", bound=Idles)
W = TypeVar("W", bound=Waits)


class Fleet(Generic[E, W]):
    """The environments of one function version, and who waits for one. `repr` shows the state."""

    __slots__ = ("busy", "idle", "key", "retired", "starting", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        #: Least recently used first: `pop()` gives the hottest.
        self.idle: list[E] = []
        self.busy = 0
        self.starting = 0
        self.waiting: deque[W] = deque()
        self.retired = False

    def __repr__(self) -> str:
        retired = " retired" if self.retired else ""
        return (
            f"<Fleet {self.key}: {len(self.idle)} idle, {self.busy} busy, {self.starting} starting, "
            f"{len(self.waiting)} waiting{retired}>"
        )

    @property
    def size(self) -> int:
        return len(self.idle) + self.busy + self.starting

    @property
    def empty(self) -> bool:
        return not (self.idle or self.busy or self.starting or self.waiting)

    def take_idle(self) -> E | None:
        """Rule 1. The environment is busy from here on."""
        if not self.idle:
            return None
        self.busy += 1
        return self.idle.pop()

    def wait(self, waiter: W) -> None:
        self.waiting.append(waiter)

    def next_waiter(self) -> W | None:
        """First in line that has not given up, or None."""
        while self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def starts_needed(self) -> int:
        """Rule 2."""
        waiting = sum(1 for waiter in self.waiting if not waiter.done())
        return max(0, waiting - self.starting)

    def place(self, environment: E, now: float) -> tuple[str, W | None]:
        """A free environment (just started, or its call just ended; not counted as busy or starting any more) goes
        to the first in line ("serve", waiter), to the idle ones ("keep", None), or away ("discard", None).
        """
        if self.retired:
            # The version was replaced while this one started: its waiters asked for exactly this code, so they get it.
            waiter = self.next_waiter()
            if waiter is None:
                return "discard", None
            self.busy += 1
            return "serve", waiter
        waiter = self.next_waiter()
        if waiter is not None:
            self.busy += 1
            return "serve", waiter
        environment.idle_since = now
        self.idle.append(environment)
        return "keep", None

    def retire(self) -> list[E]:
        """Rule 4: gives the idle ones to discard."""
        self.retired = True
        idle, self.idle = self.idle, []
        return idle


def expired(fleet: Fleet[E, W], now: float, idle_seconds: float) -> list[E]:
    """Takes out the environments that were idle for `idle_seconds` or longer, or whose time is over."""
    gone = [e for e in fleet.idle if now - e.idle_since >= idle_seconds or now >= e.expires]
    if gone:
        fleet.idle = [e for e in fleet.idle if e not in gone]
    return gone


def longest_idle(fleets: Iterable[Fleet[E, W]]) -> tuple[Fleet[E, W], E] | None:
    """Rule 3: the environment that makes room; the caller takes it out of its fleet."""
    oldest: tuple[Fleet[E, W], E] | None = None
    for fleet in fleets:
        if fleet.idle and (oldest is None or fleet.idle[0].idle_since < oldest[1].idle_since):
            oldest = (fleet, fleet.idle[0])
    return oldest
