"""Tables and blobs, to the rest of the program. `jetstream.py` is real, `memory.py` is the double; one contract suite runs on both."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from lambent.errors import LambentError, NotReady

R = TypeVar("R", bound=msgspec.Struct)


class AlreadyThere(LambentError):
    """`create` of a key that has a record."""


class Conflict(LambentError):
    """The record was changed or removed by another writer since it was read; read again and decide again."""


class StateUnavailable(NotReady):
    """The bus did not confirm a write. It may or may not have happened."""


class Entry(msgspec.Struct, Generic[R], frozen=True):
    """A record with the revision that the next conditional write names."""

    key: str
    record: R
    revision: int


class Table(Protocol[R]):
    """Records of one type by key. A key is any text up to 512 bytes. A write that returned is seen by the next read on
    this node at once, on other nodes within milliseconds.
    """

    def get(self, key: str) -> Entry[R] | None:
        """From memory."""

    def entries(self, prefix: str = "") -> list[Entry[R]]:
        """All whose key starts with `prefix`, sorted by key. From memory."""

    async def create(self, key: str, record: R) -> Entry[R]:
        """Raises `AlreadyThere`."""

    async def replace(self, key: str, record: R, revision: int) -> Entry[R]:
        """Raises `Conflict` when the record's revision is another one."""

    async def put(self, key: str, record: R) -> Entry[R]:
        """Creates or overwrites whatever is there."""

    async def remove(self, key: str, revision: int | None = None) -> None:
        """Removing what is not there is no error. Raises `Conflict` when a revision is given and is not the current one."""

    def subscribe(self, callback: Callable[[str, R | None], None]) -> None:
        """Calls back with (key, record or None) after the mirror has changed, in order, also for this node's own writes.
        Does not replay what is there already.
        """


class Blobs(Protocol):
    """Bytes by their SHA-256 (lower-case hex). Writing the same content twice is one blob."""

    async def put(self, data: bytes) -> str:
        """Stores and returns the digest; on disk when it returns."""

    async def get(self, digest: str) -> bytes | None: ...

    async def remove(self, digest: str) -> None: ...


class State(Protocol):
    async def table(self, name: str, record: type[R]) -> Table[R]:
        """Opens (creating it when new) the table `name`; returns when the mirror holds everything that is there."""

    async def blobs(self, name: str) -> Blobs: ...
