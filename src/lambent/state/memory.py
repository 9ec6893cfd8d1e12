"""The double: tables and blobs in memory, with the same semantics as the real ones. For tests and the simulation.

Records pass through the stored form, so that a record that could not be stored fails here too. Two `MemoryState` objects
share nothing; opening a table twice gives the same table, as two nodes on one bus would see it.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from lambent.state.contract import AlreadyThere, Blobs, Conflict, Entry, StateUnavailable, Table
from lambent.state.mirror import Mirror
from lambent.state.schema import Codec, check_key

R = TypeVar("R", bound=msgspec.Struct)


class MemoryState:
    """Implements `State`. Setting `available` to False makes every write raise `StateUnavailable`, as a lost bus does."""

    def __init__(self) -> None:
        self.available = True
        self._tables: dict[str, MemoryTable[Any]] = {}
        self._blobs: dict[str, MemoryBlobs] = {}

    async def table(self, name: str, record: type[R]) -> Table[R]:
        if name not in self._tables:
            self._tables[name] = MemoryTable(name, record, self)
        return self._tables[name]

    async def blobs(self, name: str) -> Blobs:
        return self._blobs.setdefault(name, MemoryBlobs(self))

    def check_available(self) -> None:
        if not self.available:
            raise StateUnavailable("the state store is not available")


class MemoryTable(Generic[R]):
    """Implements `Table`."""

    def __init__(self, name: str, record: type[R], state: MemoryState) -> None:
        self._name = name
        self._codec = Codec(name, record)
        self._state = state
        self._mirror: Mirror[R] = Mirror()
        self._revision = 0

    def get(self, key: str) -> Entry[R] | None:
        return self._mirror.get(key)

    def entries(self, prefix: str = "") -> list[Entry[R]]:
        return self._mirror.entries(prefix)

    def subscribe(self, callback: Callable[[str, R | None], None]) -> None:
        self._mirror.subscribe(callback)

    async def create(self, key: str, record: R) -> Entry[R]:
        data = self._prepare(key, record)
        if self._mirror.get(key) is not None:
            raise AlreadyThere(f"{self._name} has {key!r} already")
        return self._write(key, data)

    async def replace(self, key: str, record: R, revision: int) -> Entry[R]:
        data = self._prepare(key, record)
        self._check_revision(key, revision)
        return self._write(key, data)

    async def put(self, key: str, record: R) -> Entry[R]:
        return self._write(key, self._prepare(key, record))

    async def remove(self, key: str, revision: int | None = None) -> None:
        check_key(key)
        self._state.check_available()
        if self._mirror.get(key) is None:
            return
        if revision is not None:
            self._check_revision(key, revision)
        self._revision += 1
        self._mirror.apply_removal(key, self._revision, passed=True)

    def _prepare(self, key: str, record: R) -> bytes:
        check_key(key)
        data = self._codec.encode(record)
        self._state.check_available()
        return data

    def _check_revision(self, key: str, revision: int) -> None:
        current = self._mirror.get(key)
        if current is None or current.revision != revision:
            raise Conflict(f"{key!r} of {self._name} was changed by another writer")

    def _write(self, key: str, data: bytes) -> Entry[R]:
        self._revision += 1
        return self._mirror.apply(key, self._codec.decode(key, data), self._revision)


class MemoryBlobs:
    """Implements `Blobs`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._data: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        self._state.check_available()
        digest = hashlib.sha256(data).hexdigest()
        self._data[digest] = bytes(data)
        return digest

    async def get(self, digest: str) -> bytes | None:
        return self._data.get(digest)

    async def remove(self, digest: str) -> None:
        self._state.check_available()
        self._data.pop(digest, None)
