"""The real state: one key-value bucket per table, mirrored in memory by a watch; blobs in object stores.

Buckets have the form that NATS's own tools read (`nats kv`, `nats object`), keys as `bus.subjects.token` writes them.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from lambent.bus.faults import BusUnavailable, JetStreamError
from lambent.bus.streams import WRONG_LAST_SEQUENCE, StreamConfig, Streams
from lambent.bus.subjects import kv_key, kv_keys, kv_prefix, kv_stream, untoken
from lambent.state.blobs import JetStreamBlobs
from lambent.state.contract import AlreadyThere, Blobs, Conflict, Entry, StateUnavailable, Table
from lambent.state.mirror import Mirror
from lambent.state.schema import Codec, UnreadableRecord, check_key
from lambent.state.watch import Watch

R = TypeVar("R", bound=msgspec.Struct)

_log = logging.getLogger("lambent.state")

#: Removal markers are kept this long for nodes that follow the table; one that was away longer resynchronises anyway.
_MARKER_SECONDS = 3600
#: A create that races with removals reads the marker again; each round needs another writer to have been in between.
_CREATE_ROUNDS_MAX = 8
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_OPERATION = "KV-Operation"


class JetStreamState:
    """Implements `State` on the JetStream of Lambent's account. `replicas` is 1 on one server, 3 on a cluster."""

    def __init__(self, streams: Streams, replicas: int = 1) -> None:
        self._streams = streams
        self._replicas = replicas
        self._tables: dict[str, JetStreamTable[Any]] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    async def table(self, name: str, record: type[R]) -> Table[R]:
        """Raises `StateUnavailable`, `UnreadableRecord`. Different tables open at the same time."""
        async with self._opening.setdefault(name, asyncio.Lock()):
            if name not in self._tables:
                table = JetStreamTable(name, record, self._streams)
                try:
                    await table.open(self._replicas)
                except (BusUnavailable, TimeoutError) as error:
                    await table.close()
                    raise StateUnavailable(f"table {name} cannot be opened: {error or 'timed out'}") from error
                self._tables[name] = table
            return self._tables[name]

    async def blobs(self, name: str) -> Blobs:
        blobs = JetStreamBlobs(name, self._streams)
        try:
            await blobs.open(self._replicas)
        except BusUnavailable as error:
            raise StateUnavailable(f"blob store {name} cannot be opened: {error}") from error
        return blobs

    async def stop(self) -> None:
        """Ends the watches."""
        await asyncio.gather(*(table.close() for table in self._tables.values()))
        self._tables.clear()


class JetStreamTable(Generic[R]):
    """Implements `Table`; also the reader of its own watch."""

    def __init__(self, name: str, record: type[R], streams: Streams) -> None:
        self._name = name
        self._codec = Codec(name, record)
        self._streams = streams
        self._prefix = kv_prefix(name)
        self._mirror: Mirror[R] = Mirror()
        self._watch = Watch(streams, kv_stream(name), self)
        #: During a (re)load: the keys that were given, and the highest sequence seen.
        self._seen: set[str] | None = None
        self._sequence_at_begin = 0
        self._sequence = 0
        #: Set when the first load met a record that cannot be read.
        self._unreadable: UnreadableRecord | None = None
        self._opened = False

    async def open(self, replicas: int) -> None:
        """Makes the bucket when it is new and loads it. Raises `UnreadableRecord`, `BusUnavailable`, `JetStreamError`."""
        options = {
            "max_msgs_per_subject": 1,
            "discard": "new",
            "storage": "file",
            "num_replicas": replicas,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
            "allow_msg_ttl": True,
            "duplicate_window": 120 * 10**9,
        }
        await self._streams.ensure(StreamConfig(kv_stream(self._name), [kv_keys(self._name)], options))
        await self._watch.start()
        if self._unreadable is not None:
            await self._watch.stop()
            raise self._unreadable
        self._opened = True

    async def close(self) -> None:
        await self._watch.stop()

    # Table

    def get(self, key: str) -> Entry[R] | None:
        return self._mirror.get(key)

    def entries(self, prefix: str = "") -> list[Entry[R]]:
        return self._mirror.entries(prefix)

    def subscribe(self, callback: Callable[[str, R | None], None]) -> None:
        self._mirror.subscribe(callback)

    async def create(self, key: str, record: R) -> Entry[R]:
        check_key(key)
        data = self._codec.encode(record)
        if self._mirror.get(key) is not None:
            raise AlreadyThere(f"{self._name} has {key!r} already")
        expected = 0
        for _ in range(_CREATE_ROUNDS_MAX):
            try:
                sequence = await self._publish(key, data, {_EXPECTED: str(expected)})
                return self._mirror.apply(key, self._codec.decode(key, data), sequence)
            except _WrongSequence:
                expected = await self._sequence_of_marker(key)
        raise Conflict(f"{key!r} of {self._name} is being changed by other writers")

    async def replace(self, key: str, record: R, revision: int) -> Entry[R]:
        check_key(key)
        data = self._codec.encode(record)
        if self._mirror.get(key) is None:
            raise Conflict(f"{key!r} of {self._name} is not there any more")
        try:
            sequence = await self._publish(key, data, {_EXPECTED: str(revision)})
        except _WrongSequence as error:
            raise Conflict(f"{key!r} of {self._name} was changed by another writer") from error
        return self._mirror.apply(key, self._codec.decode(key, data), sequence)

    async def put(self, key: str, record: R) -> Entry[R]:
        check_key(key)
        data = self._codec.encode(record)
        sequence = await self._publish(key, data, {})
        return self._mirror.apply(key, self._codec.decode(key, data), sequence)

    async def remove(self, key: str, revision: int | None = None) -> None:
        check_key(key)
        if self._mirror.get(key) is None:
            return
        headers = {_OPERATION: "PURGE", "Nats-Rollup": "sub", "Nats-TTL": str(_MARKER_SECONDS)}
        if revision is not None:
            headers[_EXPECTED] = str(revision)
        try:
            sequence = await self._publish(key, b"", headers)
        except _WrongSequence as error:
            raise Conflict(f"{key!r} of {self._name} was changed by another writer") from error
        self._mirror.apply_removal(key, sequence, passed=False)

    # Reader of the watch

    def begin(self) -> None:
        self._seen = set()
        self._sequence_at_begin = self._sequence

    def record(self, subject: str, headers: Mapping[str, str], data: bytes, sequence: int) -> None:
        key = untoken(subject.removeprefix(self._prefix))
        self._sequence = max(self._sequence, sequence)
        # A marker that the server wrote when a message expired says so in its own header.
        if headers.get(_OPERATION) in ("DEL", "PURGE") or "Nats-Marker-Reason" in headers:
            self._mirror.apply_removal(key, sequence, passed=True)
            return
        if self._seen is not None:
            self._seen.add(key)
        try:
            self._mirror.apply(key, self._codec.decode(key, data), sequence)
        except UnreadableRecord as error:
            self._note_unreadable(error)

    def complete(self) -> None:
        """After a reload: what was not given and was known before the reload began is gone."""
        if self._seen is not None:
            self._mirror.retain(self._seen, self._sequence_at_begin)
        self._seen = None

    def _note_unreadable(self, error: UnreadableRecord) -> None:
        """While opening it fails the start; later (a newer node wrote it) the last readable record stays, loudly."""
        if self._opened:
            _log.error("%s", error)
        else:
            self._unreadable = error

    # Writes

    async def _publish(self, key: str, data: bytes, headers: Mapping[str, str]) -> int:
        try:
            return await self._streams.publish(kv_key(self._name, key), data, headers or None)
        except JetStreamError as error:
            if error.code == WRONG_LAST_SEQUENCE:
                raise _WrongSequence from error
            raise StateUnavailable(f"table {self._name} took no write: {error}") from error
        except BusUnavailable as error:
            raise StateUnavailable(f"table {self._name} did not confirm the write: {error}") from error

    async def _sequence_of_marker(self, key: str) -> int:
        """The sequence that a create after a removal must name. Raises `AlreadyThere` when a record is there."""
        try:
            last = await self._streams.last(kv_stream(self._name), kv_key(self._name, key))
        except (BusUnavailable, JetStreamError) as error:
            raise StateUnavailable(f"table {self._name} did not answer: {error}") from error
        if last is None:
            return 0
        if last.headers.get(_OPERATION) in ("DEL", "PURGE") or "Nats-Marker-Reason" in last.headers:
            return last.sequence
        self._mirror.apply(key, self._codec.decode(key, last.data), last.sequence)
        raise AlreadyThere(f"{self._name} has {key!r} already")


class _WrongSequence(Exception):
    """The key's last sequence is not the one that the write named."""
