"""Adds batches to log streams: in order, each exactly once, with the stream's running description.

A batch is written on the condition that the stream's last batch is the one that it was computed from, so that several
writers of one stream (nodes, PutLogEvents) cannot count wrongly.
"""

import asyncio
import secrets
from collections import OrderedDict

import msgspec

from lambent.bus.faults import BusUnavailable, JetStreamError
from lambent.bus.streams import WRONG_LAST_SEQUENCE, Streams
from lambent.bus.subjects import LOG_STREAM, log_stream
from lambent.clock import Clock
from lambent.observe.faults import LogsUnavailable, NotAllStored
from lambent.observe.records import Batch, decode, encode, stream_id
from lambent.observe.writer import EVENT_OVERHEAD_BYTES, Events

#: Characters of events in one stored message: at four bytes each in UTF-8 still below the smallest usual message bound.
BATCH_CHARACTERS_MAX = 192 * 1024
#: Streams whose last batch is remembered; for others it is read again (one direct get).
_REMEMBERED_MAX = 4096
#: Each round needs another writer of the same stream to have been in between.
_ROUNDS_MAX = 16

SCHEMA = 1


class _Tip:
    """The end of one stream as far as this node knows."""

    __slots__ = ("batch", "known", "lock", "sequence", "unsure")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.known = False
        self.sequence = 0
        self.batch: Batch | None = None
        #: Id and events of a batch whose write got no answer.
        self.unsure: tuple[str, Events] | None = None


class Appender:
    def __init__(self, streams: Streams, clock: Clock) -> None:
        self._streams = streams
        self._clock = clock
        self._tips: OrderedDict[str, _Tip] = OrderedDict()

    async def append(self, group_id: str, stream: str, events: Events) -> None:
        """Raises `NotAllStored`; calling again with the events that it leaves at the front stores none of them twice."""
        stored = 0
        subject = log_stream(group_id, stream_id(stream))
        tip = self._tip(subject)
        async with tip.lock:
            for part in _parts(events):
                try:
                    await self._append_part(subject, tip, stream, part)
                except LogsUnavailable as error:
                    raise NotAllStored(str(error), stored) from error
                stored += len(part)

    async def create(self, group_id: str, stream: str) -> bool:
        """An empty stream. Returns False when it is there already."""
        subject = log_stream(group_id, stream_id(stream))
        tip = self._tip(subject)
        async with tip.lock:
            tip.known = False
            await self._read_tip(subject, tip)
            if tip.sequence:
                return False
            await self._append_part(subject, tip, stream, [])
            return True

    def forget(self, group_id: str) -> None:
        """The group or one of its streams was deleted."""
        prefix = log_stream(group_id, "")
        for subject in [subject for subject in self._tips if subject.startswith(prefix)]:
            del self._tips[subject]

    def _tip(self, subject: str) -> _Tip:
        tip = self._tips.get(subject)
        if tip is None:
            tip = self._tips[subject] = _Tip()
            if len(self._tips) > _REMEMBERED_MAX:
                for old in list(self._tips)[: _REMEMBERED_MAX // 8]:
                    if not self._tips[old].lock.locked() and self._tips[old].unsure is None:
                        del self._tips[old]
        else:
            self._tips.move_to_end(subject)
        return tip

    async def _append_part(self, subject: str, tip: _Tip, stream: str, events: Events) -> None:
        unsure = tip.unsure
        batch_id = unsure[0] if unsure is not None and unsure[1] == events[: len(unsure[1])] else secrets.token_hex(8)
        if unsure is not None and batch_id == unsure[0] and len(events) > len(unsure[1]):
            # More was written since: first settle the part that may be there already.
            await self._append_part(subject, tip, stream, events[: len(unsure[1])])
            await self._append_part(subject, tip, stream, events[len(unsure[1]) :])
            return
        for _ in range(_ROUNDS_MAX):
            if not tip.known:
                await self._read_tip(subject, tip)
                if tip.batch is not None and tip.batch.id == batch_id:
                    break
            batch = _next(tip.batch, batch_id, stream, events, self._clock.now_ms())
            if await self._write(subject, tip, batch, events):
                break
        else:
            raise LogsUnavailable(f"log stream {stream} is being written by others")
        tip.unsure = None

    async def _write(self, subject: str, tip: _Tip, batch: Batch, events: Events) -> bool:
        headers = {"Nats-Expected-Last-Subject-Sequence": str(tip.sequence)}
        # Until the answer is here (it may never come, or the caller may be cancelled) the batch may or may not be stored.
        tip.known, tip.unsure = False, (batch.id, list(events))
        try:
            tip.sequence = await self._streams.publish(subject, _encoded(batch), headers)
        except JetStreamError as error:
            if error.code == WRONG_LAST_SEQUENCE:
                return False
            raise LogsUnavailable(f"the log store took no events: {error}") from error
        except BusUnavailable as error:
            raise LogsUnavailable(f"the log store did not answer: {error}") from error
        tip.known = True
        # The events themselves need not be kept.
        tip.batch = msgspec.structs.replace(batch, events=[], ordinal=batch.ordinal + len(batch.events))
        return True

    async def _read_tip(self, subject: str, tip: _Tip) -> None:
        try:
            last = await self._streams.last(LOG_STREAM, subject)
        except (BusUnavailable, JetStreamError) as error:
            raise LogsUnavailable(f"the log store did not answer: {error}") from error
        tip.known = True
        if last is None:
            # Everything expired: what is remembered (counts, times) still holds.
            tip.sequence = 0
            return
        batch = decode(last.data)
        tip.sequence = last.sequence
        tip.batch = msgspec.structs.replace(batch, events=[], ordinal=batch.ordinal + len(batch.events))


def _next(last: Batch | None, batch_id: str, stream: str, events: Events, now_ms: int) -> Batch:
    """The batch that follows `last` (whose `ordinal` already counts its own events)."""
    times = [time for time, _ in events]
    first = last.first_event_ms if last is not None else None
    newest = last.last_event_ms if last is not None else None
    return Batch(
        schema=SCHEMA,
        id=batch_id,
        stream=stream,
        created_ms=last.created_ms if last is not None else now_ms,
        first_event_ms=min([*times, *([first] if first is not None else [])], default=None),
        last_event_ms=max([*times, *([newest] if newest is not None else [])], default=None),
        ordinal=last.ordinal if last is not None else 0,
        stored_bytes=(last.stored_bytes if last is not None else 0)
        + sum(len(message) + EVENT_OVERHEAD_BYTES for _, message in events),
        ingestion_ms=now_ms,
        events=events,
    )


def _encoded(batch: Batch) -> bytes:
    try:
        return encode(batch)
    except UnicodeEncodeError:
        # A lone surrogate: not text that could be sent to anyone.
        clean = [(time, message.encode("utf-8", "replace").decode()) for time, message in batch.events]
        return encode(msgspec.structs.replace(batch, events=clean))


def _parts(events: Events) -> list[Events]:
    """Cuts events so that each part fits one message."""
    parts: list[Events] = [[]]
    size = 0
    for event in events:
        size += len(event[1]) + EVENT_OVERHEAD_BYTES
        if size > BATCH_CHARACTERS_MAX and parts[-1]:
            parts.append([])
            size = len(event[1]) + EVENT_OVERHEAD_BYTES
        parts[-1].append(event)
    return parts
