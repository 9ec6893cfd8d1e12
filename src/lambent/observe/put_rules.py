"""Which events PutLogEvents takes. No I/O."""

from collections.abc import Sequence
from itertools import pairwise

from lambent.observe.faults import InvalidEvents
from lambent.observe.records import PutOutcome
from lambent.observe.writer import EVENT_OVERHEAD_BYTES, Events

_DAY_MS = 86_400_000
#: PutLogEvents' bounds (API reference): bytes with 26 for each event, events, one event, age, span.
PUT_BYTES_MAX = 1_048_576
PUT_EVENTS_MAX = 10_000
PUT_FUTURE_MS = 2 * 3_600_000
PUT_AGE_MS = 14 * _DAY_MS
PUT_SPAN_MS = _DAY_MS


def check_put(events: Sequence[tuple[int, str]]) -> None:
    """What makes PutLogEvents refuse the whole request. Raises `InvalidEvents`."""
    if len(events) > PUT_EVENTS_MAX:
        raise InvalidEvents(f"Log events in a single PutLogEvents request cannot be more than {PUT_EVENTS_MAX}.")
    size = sum(len(message.encode("utf-8", "replace")) + EVENT_OVERHEAD_BYTES for _, message in events)
    if size > PUT_BYTES_MAX:
        raise InvalidEvents(f"Upload too large: {size} bytes exceeds limit of {PUT_BYTES_MAX}")
    times = [time for time, _ in events]
    if any(later < earlier for earlier, later in pairwise(times)):
        raise InvalidEvents("Log events in a single PutLogEvents request must be in chronological order.")


def admit(events: Sequence[tuple[int, str]], now_ms: int, retention_days: int) -> tuple[Events, PutOutcome]:
    """Leaves out what is too old, expired or too new; the rest must not span more than 24 hours (`InvalidEvents`)."""
    too_old_end = expired_end = too_new_start = None
    accepted: Events = []
    for index, (time, message) in enumerate(events):
        if time < now_ms - PUT_AGE_MS:
            too_old_end = index + 1
        elif retention_days and time < now_ms - retention_days * _DAY_MS:
            expired_end = index + 1
        elif time > now_ms + PUT_FUTURE_MS:
            too_new_start = index if too_new_start is None else too_new_start
        else:
            accepted.append((time, message))
    if accepted and accepted[-1][0] - accepted[0][0] > PUT_SPAN_MS:
        raise InvalidEvents("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
    return accepted, PutOutcome(too_old_end, expired_end, too_new_start)
