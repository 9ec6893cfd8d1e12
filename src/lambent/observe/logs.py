"""The log store: groups, streams and events over one JetStream stream, bounded in bytes.

Groups are records of a table. A stream is whatever was stored under its subject: its last batch describes it.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Collection, Sequence

import msgspec
from nats.aio.msg import Msg

from lambent.bus.faults import BusUnavailable, JetStreamError
from lambent.bus.streams import DIRECT_BATCH_MAX, Stored, StreamConfig, Streams
from lambent.bus.subjects import LOG_STREAM, js_api, log_group, log_stream, logs
from lambent.bus.tasks import end_task
from lambent.clock import Clock
from lambent.errors import LambentError
from lambent.ids import Ids
from lambent.observe import reading
from lambent.observe.appending import Appender
from lambent.observe.faults import (
    LogGroupExists,
    LogGroupMissing,
    LogStreamExists,
    LogStreamMissing,
    LogsUnavailable,
)
from lambent.observe.pattern import compile_pattern
from lambent.observe.put_rules import admit, check_put
from lambent.observe.records import (
    Batch,
    Event,
    EventPage,
    FilterPage,
    LogGroup,
    PutOutcome,
    StreamInfo,
    decode,
    event_id,
    stream_id,
)
from lambent.observe.writer import Events, LogBuffer, LogWriter
from lambent.settings import Settings
from lambent.state.contract import AlreadyThere, Conflict, State, Table
from lambent.state.schema import KEY_BYTES_MAX

_log = logging.getLogger("lambent.observe")

_DAY_MS = 86_400_000
#: Between two looks for events past their retention; reading never shows them anyway.
_SWEEP_INTERVAL_S = 3600.0
#: Bounds of what a tail may hold back for a slow reader; past it events are missing from that tail.
_TAIL_MESSAGES_MAX = 10_000
_TAIL_BYTES_MAX = 64 * 1024 * 1024


class LogStore:
    """`open` makes one that is ready; `stop` stores what waits. All times are Unix milliseconds."""

    @classmethod
    async def open(
        cls, streams: Streams, state: State, settings: Settings, clock: Clock, ids: Ids | None = None
    ) -> "LogStore":
        """Makes the stream when it is new. Raises `BusUnavailable`, `JetStreamError`, `StateUnavailable`."""
        store = cls(streams, state, settings, clock, ids or Ids())
        await store.start()
        return store

    def __init__(self, streams: Streams, state: State, settings: Settings, clock: Clock, ids: Ids) -> None:
        self._streams = streams
        self._state = state
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._appender = Appender(streams, clock)
        self._buffer = LogBuffer(self._append, clock, settings.log_buffer_max)
        self._groups: Table[LogGroup]
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        options = {
            "max_bytes": self._settings.log_bytes_max,
            "discard": "old",
            "storage": "file",
            "allow_direct": True,
            "compression": "s2",
            # Acknowledged before it is synced: a lost moment of log lines is tolerable, a sync for each batch is not.
            "persist_mode": "async",
        }
        await self._streams.ensure(StreamConfig(LOG_STREAM, [logs()], options))
        self._groups = await self._state.table("log_groups", LogGroup)
        self._buffer.start()
        self._sweeper = asyncio.create_task(self._sweep(), name="log retention")

    async def stop(self) -> None:
        if self._sweeper is not None:
            await end_task(self._sweeper)
            self._sweeper = None
        await self._buffer.stop()

    # Writing

    def writer(self, account: str, group: str, stream: str) -> LogWriter:
        """For one environment. Group and stream come into being with the first event that is stored."""
        return LogWriter(self._buffer, account, group, stream)

    async def flush(self) -> None:
        """Everything written on this node before the call is stored when it returns (the bus permitting)."""
        await self._buffer.flush()

    async def put(self, account: str, group: str, stream: str, events: Sequence[tuple[int, str]]) -> PutOutcome:
        """PutLogEvents: (timestamp, message) in time order. Raises `LogGroupMissing`, `LogStreamMissing`, `InvalidEvents`."""
        await self.flush()
        record = self._group(account, group)
        if await self._last(record, stream) is None:
            raise LogStreamMissing("The specified log stream does not exist.")
        check_put(events)
        now_ms = self._clock.now_ms()
        accepted, outcome = admit(events, now_ms, self._retention_days(record))
        if accepted:
            await self._append(account, group, stream, accepted)
        return outcome

    async def _append(self, account: str, group: str, stream: str, events: Events) -> None:
        record = self._groups.get(_key(account, group))
        group_record = record.record if record is not None else await self._make_group(account, group)
        await self._appender.append(group_record.id, stream, events)
        now_ms = self._clock.now_ms()
        late_ms, early_ms = now_ms - min(time for time, _ in events), max(time for time, _ in events) - now_ms
        if late_ms > group_record.late_ms or early_ms > group_record.early_ms:
            await self._widen(account, group, late_ms, early_ms)

    async def _widen(self, account: str, group: str, late_ms: int, early_ms: int) -> None:
        """Remembers how far events were from the time of storing, in doubling steps so that it is seldom written."""
        entry = self._groups.get(_key(account, group))
        while entry is not None:
            record = entry.record
            late, early = record.late_ms, record.early_ms
            while late < late_ms:
                late *= 2
            while early < early_ms:
                early *= 2
            changed = msgspec.structs.replace(record, late_ms=late, early_ms=early)
            if changed == record:
                return
            try:
                await self._groups.replace(entry.key, changed, entry.revision)
                return
            except Conflict:
                await asyncio.sleep(0.01)
                entry = self._groups.get(entry.key)

    # Groups

    async def create_group(
        self, account: str, name: str, retention_days: int | None = None, tags: dict[str, str] | None = None
    ) -> LogGroup:
        """Raises `LogGroupExists`."""
        record = LogGroup(
            account=account,
            name=name,
            id=self._ids.hex(16),
            created_ms=self._clock.now_ms(),
            retention_days=retention_days,
            tags=tags or {},
        )
        try:
            return (await self._groups.create(_key(account, name), record)).record
        except AlreadyThere as error:
            raise LogGroupExists("The specified log group already exists") from error

    async def delete_group(self, account: str, name: str) -> None:
        """With all its events. Raises `LogGroupMissing`."""
        await self.flush()
        record = self._group(account, name)
        await self._groups.remove(_key(account, name))
        self._appender.forget(record.id)
        await self._purge(log_group(record.id))

    async def set_retention(self, account: str, name: str, days: int | None) -> None:
        """None: events do not expire. Raises `LogGroupMissing`."""
        while True:
            record = self._group(account, name)
            entry = self._groups.get(_key(account, name))
            assert entry is not None
            changed = msgspec.structs.replace(record, retention_days=days)
            try:
                await self._groups.replace(entry.key, changed, entry.revision)
            except Conflict:
                await asyncio.sleep(0.01)
                continue
            await self._expire(changed)
            return

    async def set_tags(self, account: str, name: str, tags: dict[str, str]) -> None:
        """Replaces all tags. Raises `LogGroupMissing`, `Conflict`."""
        record = self._group(account, name)
        entry = self._groups.get(_key(account, name))
        assert entry is not None
        await self._groups.replace(entry.key, msgspec.structs.replace(record, tags=tags), entry.revision)

    def group(self, account: str, name: str) -> LogGroup:
        """Raises `LogGroupMissing`."""
        return self._group(account, name)

    async def groups(self, account: str, prefix: str = "") -> list[LogGroup]:
        """By name. Groups of functions that were just called are among them."""
        await self.flush()
        entries = self._groups.entries(f"{account}/{prefix}"[: KEY_BYTES_MAX - 65])
        return [entry.record for entry in entries if entry.record.name.startswith(prefix)]

    async def stored_bytes(self, account: str, name: str) -> int:
        """Bytes of messages ever stored in the streams that are there."""
        return sum(info.stored_bytes for info in await self.streams(account, name))

    # Streams

    async def create_stream(self, account: str, group: str, stream: str) -> None:
        """Raises `LogGroupMissing`, `LogStreamExists`."""
        await self.flush()
        record = self._group(account, group)
        if not await self._appender.create(record.id, stream):
            raise LogStreamExists("The specified log stream already exists")

    async def delete_stream(self, account: str, group: str, stream: str) -> None:
        """Raises `LogGroupMissing`, `LogStreamMissing`."""
        await self.flush()
        record = self._group(account, group)
        if await self._last(record, stream) is None:
            raise LogStreamMissing("The specified log stream does not exist.")
        self._appender.forget(record.id)
        await self._purge(log_stream(record.id, stream_id(stream)))

    async def streams(
        self, account: str, group: str, prefix: str = "", by_last_event: bool = False, descending: bool = False
    ) -> list[StreamInfo]:
        """By name, or by the time of the last event (streams without one first). Raises `LogGroupMissing`."""
        await self.flush()
        record = self._group(account, group)
        infos = [_info(decode(stored.data)) for stored in await self._last_batches(record.id)]
        found = [info for info in infos if info.name.startswith(prefix)]
        found.sort(key=lambda info: (info.last_event_ms or 0 if by_last_event else 0, info.name), reverse=descending)
        return found

    # Reading

    async def read_stream(
        self,
        account: str,
        group: str,
        stream: str,
        start_ms: int | None = None,
        end_ms: int | None = None,
        token: str = "",
        limit: int = reading.EVENTS_MAX,
        from_head: bool = False,
    ) -> EventPage:
        """GetLogEvents: from `start_ms` on, before `end_ms`. Raises `LogGroupMissing`, `LogStreamMissing`, `InvalidToken`."""
        await self.flush()
        record = self._group(account, group)
        oldest_ms = max(start_ms or 0, self._oldest_ms(record))
        reader = reading.StreamReader(self._streams, record.id, stream)
        try:
            return await reader.page(
                token,
                from_head,
                max(1, min(limit, reading.EVENTS_MAX)),
                lambda time: time >= oldest_ms and (end_ms is None or time < end_ms),
                oldest_ms or None,
            )
        except (BusUnavailable, JetStreamError) as error:
            raise LogsUnavailable(f"the log store did not answer: {error}") from error

    async def filter(
        self,
        account: str,
        group: str,
        streams: Collection[str] = (),
        prefix: str = "",
        start_ms: int | None = None,
        end_ms: int | None = None,
        pattern: str = "",
        token: str = "",
        limit: int = reading.EVENTS_MAX,
    ) -> FilterPage:
        """FilterLogEvents: from `start_ms` to `end_ms`, both included; `streams` or `prefix` choose the streams.

        Raises `LogGroupMissing`, `InvalidPattern`, `InvalidToken`.
        """
        matches = compile_pattern(pattern)
        await self.flush()
        record = self._group(account, group)
        oldest_ms = max(start_ms or 0, self._oldest_ms(record))
        search = reading.GroupSearch(self._streams, record.id, streams, prefix)
        try:
            return await search.page(
                token,
                max(1, min(limit, reading.EVENTS_MAX)),
                oldest_ms - record.early_ms,
                None if end_ms is None else end_ms + record.late_ms,
                lambda time, message: time >= oldest_ms and (end_ms is None or time <= end_ms) and matches(message),
            )
        except (BusUnavailable, JetStreamError) as error:
            raise LogsUnavailable(f"the log store did not answer: {error}") from error

    async def tail(self, account: str, group: str, pattern: str = "") -> AsyncIterator[Event]:
        """Events of the group as they are stored from now on, from all nodes, until the caller stops iterating."""
        record = self._group(account, group)
        matches = compile_pattern(pattern)
        waiting: asyncio.Queue[Msg] = asyncio.Queue(_TAIL_MESSAGES_MAX)

        async def receive(message: Msg) -> None:
            if not waiting.full():
                waiting.put_nowait(message)

        client = self._streams.connection.client
        subscription = await client.subscribe(log_group(record.id), cb=receive, pending_bytes_limit=_TAIL_BYTES_MAX)
        try:
            while True:
                message = await waiting.get()
                batch = decode(message.data)
                for index, (timestamp_ms, text) in enumerate(batch.events):
                    if matches(text):
                        # The sequence is not known here; the batch's own id takes its place in the event's id.
                        identity = event_id(int(batch.id, 16), index)
                        yield Event(identity, batch.stream, timestamp_ms, batch.ingestion_ms, text)
        finally:
            if not client.is_closed:
                await subscription.unsubscribe()

    # Inside

    def _group(self, account: str, name: str) -> LogGroup:
        entry = self._groups.get(_key(account, name))
        if entry is None:
            raise LogGroupMissing("The specified log group does not exist.")
        return entry.record

    async def _make_group(self, account: str, name: str) -> LogGroup:
        try:
            return await self.create_group(account, name)
        except LogGroupExists:
            entry = self._groups.get(_key(account, name))
            if entry is None:
                raise LogsUnavailable(f"log group {name} is being made by another node") from None
            return entry.record

    def _retention_days(self, record: LogGroup) -> int:
        """0: for ever."""
        return record.retention_days or self._settings.log_retention_days

    def _oldest_ms(self, record: LogGroup) -> int:
        days = self._retention_days(record)
        return self._clock.now_ms() - days * _DAY_MS if days else 0

    async def _last(self, record: LogGroup, stream: str) -> Batch | None:
        try:
            stored = await self._streams.last(LOG_STREAM, log_stream(record.id, stream_id(stream)))
        except (BusUnavailable, JetStreamError) as error:
            raise LogsUnavailable(f"the log store did not answer: {error}") from error
        return decode(stored.data) if stored is not None else None

    async def _last_batches(self, group_id: str) -> list[Stored]:
        """The last batch of each stream of a group."""
        try:
            info = await self._streams.api(
                js_api("STREAM.INFO", LOG_STREAM), {"subjects_filter": log_group(group_id), "offset": 0}
            )
            subjects = list((info.get("state") or {}).get("subjects") or {})
            while len(subjects) < int(info.get("total", 0)):
                info = await self._streams.api(
                    js_api("STREAM.INFO", LOG_STREAM), {"subjects_filter": log_group(group_id), "offset": len(subjects)}
                )
                more = list((info.get("state") or {}).get("subjects") or {})
                if not more:
                    break
                subjects += more
            found: list[Stored] = []
            for start in range(0, len(subjects), DIRECT_BATCH_MAX):
                part = subjects[start : start + DIRECT_BATCH_MAX]
                found += await self._streams.batch(LOG_STREAM, {"multi_last": part, "batch": len(part)})
            return found
        except (BusUnavailable, JetStreamError) as error:
            raise LogsUnavailable(f"the log store did not answer: {error}") from error

    async def _purge(self, subject: str, before_sequence: int | None = None) -> None:
        request: dict[str, object] = {"filter": subject}
        if before_sequence is not None:
            request["seq"] = before_sequence
        try:
            await self._streams.api(js_api("STREAM.PURGE", LOG_STREAM), request)
        except (BusUnavailable, JetStreamError) as error:
            raise LogsUnavailable(f"the log store did not answer: {error}") from error

    async def _expire(self, record: LogGroup) -> None:
        """Removes what was stored before the retention period began."""
        days = self._retention_days(record)
        if not days:
            return
        subject = log_group(record.id)
        try:
            kept = await self._streams.since(LOG_STREAM, subject, reading.rfc3339(self._oldest_ms(record)))
        except (BusUnavailable, JetStreamError) as error:
            raise LogsUnavailable(f"the log store did not answer: {error}") from error
        await self._purge(subject, kept.sequence if kept is not None else None)

    async def _sweep(self) -> None:
        while True:
            for entry in self._groups.entries():
                try:
                    await self._expire(entry.record)
                except LambentError as error:
                    _log.warning("events of %s past their retention are still there: %s", entry.record.name, error)
            await asyncio.sleep(_SWEEP_INTERVAL_S)


def _key(account: str, group: str) -> str:
    """A group's name may have 512 characters, a key 512 bytes: the longest names are cut and told apart by a hash."""
    key = f"{account}/{group}"
    if len(key) <= KEY_BYTES_MAX:
        return key
    return key[: KEY_BYTES_MAX - 65] + "#" + hashlib.sha256(group.encode()).hexdigest()


def _info(batch: Batch) -> StreamInfo:
    return StreamInfo(
        name=batch.stream,
        created_ms=batch.created_ms,
        first_event_ms=batch.first_event_ms,
        last_event_ms=batch.last_event_ms,
        last_ingestion_ms=batch.ingestion_ms if batch.last_event_ms is not None else None,
        stored_bytes=batch.stored_bytes,
    )
