"""What happens to an asynchronous event after a try: decided here, without I/O (contract 10)."""

from enum import Enum
from typing import NamedTuple

from lambent.errors import SettingsError
from lambent.invocation import OutcomeKind

#: AWS: a throttled event goes back to the queue, first for one second, then doubling up to five minutes.
THROTTLE_FIRST_SECONDS = 1.0
THROTTLE_MAX_SECONDS = 300.0
#: AWS: an event is kept for at most six hours.
AGE_MAX_SECONDS = 6 * 3600


class Action(Enum):
    DONE = "done"
    RETRY = "retry"
    GIVE_UP = "give-up"


class Step(NamedTuple):
    action: Action
    #: For RETRY: the wait before the next try.
    wait_seconds: float = 0.0
    #: For GIVE_UP: AWS's condition, `RetriesExhausted` or `EventAgeExceeded`.
    condition: str = ""


class RetryRules(NamedTuple):
    #: Tries in all when the function fails.
    attempts: int
    #: Waits before the second, third … try; the last one repeats.
    waits_seconds: tuple[float, ...]
    age_max_seconds: float = AGE_MAX_SECONDS


def read_waits(text: str) -> tuple[float, ...]:
    """Reads the setting `async_retry_seconds`. Raises `SettingsError`."""
    try:
        waits = tuple(float(part) for part in text.split(","))
    except ValueError:
        waits = ()
    if not waits or not all(0 <= wait <= AGE_MAX_SECONDS for wait in waits):
        raise SettingsError(f"async_retry_seconds must be seconds separated by commas, such as 60,120, not {text!r}")
    return waits


def next_step(kind: OutcomeKind, failures: int, throttles: int, age_seconds: float, rules: RetryRules) -> Step:
    """`failures` and `throttles` count this event's tries that ended so, the last one included."""
    if kind is OutcomeKind.RESULT:
        return Step(Action.DONE)
    if age_seconds >= rules.age_max_seconds:
        return Step(Action.GIVE_UP, condition="EventAgeExceeded")
    if kind in (OutcomeKind.THROTTLED, OutcomeKind.UNAVAILABLE):
        wait = min(THROTTLE_MAX_SECONDS, THROTTLE_FIRST_SECONDS * 2 ** min(throttles - 1, 16))
        return Step(Action.RETRY, wait)
    if kind is OutcomeKind.BAD_EVENT or failures >= rules.attempts:
        return Step(Action.GIVE_UP, condition="RetriesExhausted")
    return Step(Action.RETRY, rules.waits_seconds[min(failures, len(rules.waits_seconds)) - 1])
