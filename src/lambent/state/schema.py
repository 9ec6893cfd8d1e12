"""The stored form of a record: JSON with the number of the schema that wrote it.

`{"schema": 1, "record": {...}}`. A record type whose meaning changes in a way that defaults cannot express declares
`SCHEMA: ClassVar[int]` with a higher number and `upgrade(schema, fields) -> fields`, which turns an older record's fields
into today's. Fields that were added with a default need neither.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from lambent.errors import LambentError

R = TypeVar("R", bound=msgspec.Struct)

#: Longest key, bytes of UTF-8 (state contract).
KEY_BYTES_MAX = 512


class UnreadableRecord(LambentError):
    """A stored record is damaged, or was written by a newer Lambent."""


class KeyTooLong(LambentError):
    """A key of more than 512 bytes."""


class _Envelope(msgspec.Struct):
    schema: int
    record: msgspec.Raw


class Codec(Generic[R]):
    """Turns records of one type into bytes and back. `table` names it in errors."""

    def __init__(self, table: str, record: type[R]) -> None:
        self._table = table
        self._schema = int(getattr(record, "SCHEMA", 1))
        self._upgrade: Callable[[int, dict[str, Any]], dict[str, Any]] | None = getattr(record, "upgrade", None)
        self._record = record
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(record)
        self._envelopes = msgspec.json.Decoder(_Envelope)

    def encode(self, record: R) -> bytes:
        if not isinstance(record, self._record):
            raise TypeError(f"table {self._table} holds {self._record.__name__}, not {type(record).__name__}")
        return self._encoder.encode(_Envelope(self._schema, msgspec.Raw(self._encoder.encode(record))))

    def decode(self, key: str, data: bytes) -> R:
        """Raises `UnreadableRecord`, naming table and key."""
        try:
            envelope = self._envelopes.decode(data)
            if envelope.schema > self._schema:
                raise UnreadableRecord(
                    f"record {key!r} of table {self._table} has schema {envelope.schema}; this version of Lambent reads up "
                    f"to {self._schema}: start the newer version that wrote it"
                )
            if envelope.schema < self._schema and self._upgrade is not None:
                fields = self._upgrade(envelope.schema, msgspec.json.decode(envelope.record))
                return msgspec.convert(fields, self._record)
            return self._decoder.decode(envelope.record)
        except msgspec.MsgspecError as error:
            raise UnreadableRecord(f"record {key!r} of table {self._table} is damaged: {error}") from error


def check_key(key: str) -> None:
    """Raises `KeyTooLong`."""
    size = len(key.encode())
    if size > KEY_BYTES_MAX:
        raise KeyTooLong(f"a key may have {KEY_BYTES_MAX} bytes, {key[:60]!r}… has {size}")
