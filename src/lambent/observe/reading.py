"""Reads log streams and searches groups: batch direct gets over the stored batches, oldest first.

Positions in one stream are ordinals (events before it), which every batch carries; a position is found by halving the
sequences between the stream's first and last batch, some 20 direct gets at worst.
"""

import re
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime
from typing import NamedTuple

from lambent.bus.faults import BusUnavailable, JetStreamError
from lambent.bus.streams import Stored, Streams
from lambent.bus.subjects import LOG_STREAM, log_group, log_stream
from lambent.observe.faults import InvalidToken, LogStreamMissing, LogsUnavailable
from lambent.observe.records import Batch, Event, EventPage, FilterPage, decode, event_id, stream_id
from lambent.observe.writer import EVENT_OVERHEAD_BYTES

#: AWS: a page has at most 10,000 events or 1 MB.
EVENTS_MAX = 10_000
PAGE_BYTES_MAX = 1024 * 1024
#: Stored bytes that one search looks at before it answers with a token.
SCAN_BYTES_MAX = 32 * 1024 * 1024
#: What one direct get may bring.
_GET_BATCH = 256
_GET_BYTES = 2 * 1024 * 1024


class _Found(NamedTuple):
    sequence: int
    batch: Batch


class StreamReader:
    """One stream of one group."""

    def __init__(self, streams: Streams, group_id: str, stream: str) -> None:
        self._streams = streams
        self._stream = stream
        self._subject = log_stream(group_id, stream_id(stream))

    async def page(
        self, token: str, from_head: bool, limit: int, wanted: Callable[[int], bool], oldest_ms: int | None
    ) -> EventPage:
        """`wanted` decides by timestamp; looking backward stops before `oldest_ms`. Raises `LogStreamMissing`."""
        first, last = await self._ends()
        start, end = first.batch.ordinal, last.batch.ordinal + len(last.batch.events)
        forward, position = parse_token(token) if token else (from_head, start if from_head else end)
        position = max(start, min(position, end))
        if forward:
            return await self._forward(first, last, position, limit, wanted)
        return await self._backward(first, last, position, limit, wanted, oldest_ms)

    async def _forward(
        self, first: _Found, last: _Found, position: int, limit: int, wanted: Callable[[int], bool]
    ) -> EventPage:
        events: list[Event] = []
        size, reached = 0, position
        async for found in self._from(await self._seek(first, last, position)):
            for index, (timestamp_ms, message) in enumerate(found.batch.events):
                if found.batch.ordinal + index < reached:
                    continue
                if wanted(timestamp_ms):
                    size += len(message) + EVENT_OVERHEAD_BYTES
                    if len(events) >= limit or (events and size > PAGE_BYTES_MAX):
                        return _page(events, reached, position)
                    events.append(_event(found, index))
                reached = found.batch.ordinal + index + 1
        return _page(events, reached, position)

    async def _backward(
        self,
        first: _Found,
        last: _Found,
        position: int,
        limit: int,
        wanted: Callable[[int], bool],
        oldest_ms: int | None,
    ) -> EventPage:
        """Looks at windows of `limit` events from `position` backward until the page is full."""
        events: list[Event] = []
        size, low, start = 0, position, first.batch.ordinal
        while low > start:
            window_start = max(start, low - limit)
            window = await self._window(first, last, window_start, low)
            for ordinal, event in reversed(window):
                if wanted(event.timestamp_ms):
                    size += len(event.message) + EVENT_OVERHEAD_BYTES
                    if len(events) >= limit or (events and size > PAGE_BYTES_MAX):
                        return _page(events[::-1], position, low)
                    events.append(event)
                low = ordinal
            low = window_start
            if oldest_ms is not None and window and max(event.timestamp_ms for _, event in window) < oldest_ms:
                low = start
        return _page(events[::-1], position, low)

    async def _window(self, first: _Found, last: _Found, start: int, end: int) -> list[tuple[int, Event]]:
        """Events with ordinals from `start` to before `end`."""
        window: list[tuple[int, Event]] = []
        async for found in self._from(await self._seek(first, last, start)):
            if found.batch.ordinal >= end:
                break
            for index in range(len(found.batch.events)):
                if start <= found.batch.ordinal + index < end:
                    window.append((found.batch.ordinal + index, _event(found, index)))
        return window

    async def _ends(self) -> tuple[_Found, _Found]:
        last = await self._streams.last(LOG_STREAM, self._subject)
        first = await self._streams.at(LOG_STREAM, 1, self._subject) if last is not None else None
        if last is None or first is None:
            raise LogStreamMissing("The specified log stream does not exist.")
        return _found(first), _found(last)

    async def _seek(self, first: _Found, last: _Found, ordinal: int) -> int:
        """The sequence of the last batch that begins at or before `ordinal`."""
        low, high = first.sequence, last.sequence
        if last.batch.ordinal <= ordinal:
            return high
        if first.batch.ordinal + len(first.batch.events) > ordinal:
            return low
        while low + 1 < high:
            middle = (low + high) // 2
            stored = await self._streams.at(LOG_STREAM, middle, self._subject)
            if stored is None:
                high = middle
                continue
            found = _found(stored)
            if found.batch.ordinal <= ordinal:
                low = max(found.sequence, middle)
            else:
                high = middle
        return low

    async def _from(self, sequence: int) -> AsyncIterator[_Found]:
        async for stored in scan(self._streams, self._subject, sequence):
            yield _found(stored)


class GroupSearch:
    """Looks through all streams of a group in the order of storing."""

    def __init__(self, streams: Streams, group_id: str, names: Collection[str] = (), prefix: str = "") -> None:
        self._streams = streams
        self._names = frozenset(names)
        self._prefix = prefix
        self._subject = log_group(group_id)
        if len(self._names) == 1:
            self._subject = log_stream(group_id, stream_id(next(iter(self._names))))

    async def page(
        self,
        token: str,
        limit: int,
        stored_from_ms: int,
        stored_until_ms: int | None,
        wanted: Callable[[int, str], bool],
    ) -> FilterPage:
        """`wanted` decides by timestamp and message. What was stored outside of the two times is not looked at."""
        sequence, skip = parse_position(token) if token else (await self._first_since(stored_from_ms), 0)
        events: list[Event] = []
        scanned = size = 0
        if sequence:
            async for stored in scan(self._streams, self._subject, sequence):
                found = _found(stored)
                if stored_until_ms is not None and found.batch.ingestion_ms > stored_until_ms:
                    break
                if scanned > SCAN_BYTES_MAX:
                    return _filter_page(events, f"{stored.sequence}-0")
                scanned += len(stored.data)
                if not self._selects(found.batch.stream):
                    continue
                begin = skip if stored.sequence == sequence else 0
                for index in range(begin, len(found.batch.events)):
                    timestamp_ms, message = found.batch.events[index]
                    if wanted(timestamp_ms, message):
                        size += len(message) + EVENT_OVERHEAD_BYTES
                        if len(events) >= limit or (events and size > PAGE_BYTES_MAX):
                            return _filter_page(events, f"{stored.sequence}-{index}")
                        events.append(_event(found, index))
        return _filter_page(events, "")

    def _selects(self, stream: str) -> bool:
        if self._names:
            return stream in self._names
        return stream.startswith(self._prefix)

    async def _first_since(self, since_ms: int) -> int:
        if since_ms <= 0:
            return 1
        stored = await self._streams.since(LOG_STREAM, self._subject, rfc3339(since_ms))
        return stored.sequence if stored is not None else 0


async def scan(streams: Streams, subject: str, sequence: int) -> AsyncIterator[Stored]:
    """Messages of `subject` from `sequence` on. Raises `LogsUnavailable`."""
    while True:
        request = {"seq": sequence, "next_by_subj": subject, "batch": _GET_BATCH, "max_bytes": _GET_BYTES}
        try:
            found = await streams.batch(LOG_STREAM, request)
        except (BusUnavailable, JetStreamError) as error:
            raise LogsUnavailable(f"the log store did not answer: {error}") from error
        for stored in found:
            yield stored
        if not found or found[-1].pending == 0:
            return
        sequence = found[-1].sequence + 1


def parse_token(token: str) -> tuple[bool, int]:
    """`f/…` or `b/…` with 56 digits, as CloudWatch's look. Gives (forward, ordinal). Raises `InvalidToken`."""
    match = re.fullmatch(r"([fb])/([0-9]{1,56})/s", token)
    if match is None:
        raise InvalidToken("The specified nextToken is invalid.")
    return match[1] == "f", int(match[2])


def parse_position(token: str) -> tuple[int, int]:
    """A position of a search. Raises `InvalidToken`."""
    match = re.fullmatch(r"([0-9]{1,19})-([0-9]{1,9})", token)
    if match is None or not int(match[1]):
        raise InvalidToken("The specified nextToken is invalid.")
    return int(match[1]), int(match[2])


def rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _found(stored: Stored) -> _Found:
    return _Found(stored.sequence, decode(stored.data))


def _event(found: _Found, index: int) -> Event:
    timestamp_ms, message = found.batch.events[index]
    return Event(event_id(found.sequence, index), found.batch.stream, timestamp_ms, found.batch.ingestion_ms, message)


def _page(events: list[Event], forward: int, backward: int) -> EventPage:
    events.sort(key=lambda event: (event.timestamp_ms, event.id))
    return EventPage(events, f"f/{forward:056d}/s", f"b/{backward:056d}/s")


def _filter_page(events: list[Event], token: str) -> FilterPage:
    events.sort(key=lambda event: (event.timestamp_ms, event.id))
    return FilterPage(events, token)
