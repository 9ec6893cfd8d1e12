"""What log groups, streams and events are: stored forms and the forms that callers get."""

import hashlib

import msgspec


class LogGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One group. `id` is part of its subjects and new for every creation, so that a deleted group's events never return."""

    account: str
    name: str
    id: str
    created_ms: int
    #: None: events do not expire, unless the platform's default says so.
    retention_days: int | None = None
    tags: dict[str, str] = {}
    #: The furthest that events were stored after and before their own time; bounds what a search must look at.
    late_ms: int = 3_600_000
    early_ms: int = 5_000


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as DescribeLogStreams tells it. Times are Unix milliseconds, None without events."""

    name: str
    created_ms: int
    first_event_ms: int | None
    last_event_ms: int | None
    last_ingestion_ms: int | None
    #: Bytes of messages that were ever stored.
    stored_bytes: int


class Event(msgspec.Struct, frozen=True):
    """One log event as a reader gets it."""

    id: str
    stream: str
    timestamp_ms: int
    ingestion_ms: int
    message: str


class EventPage(msgspec.Struct, frozen=True):
    """Events of one stream, oldest first. A token that equals the one passed in means that there is no more that way."""

    events: list[Event]
    forward_token: str
    backward_token: str


class FilterPage(msgspec.Struct, frozen=True):
    """Events of a group by time. `next_token` is empty at the end; a page with a token may be empty."""

    events: list[Event]
    next_token: str


class PutOutcome(msgspec.Struct, frozen=True):
    """Which events were refused, as PutLogEvents tells it; None where none was."""

    too_old_end: int | None = None
    expired_end: int | None = None
    too_new_start: int | None = None


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """One stored message: events of one stream, and what was known of the stream when they were added.

    The last batch of a stream thereby describes the whole stream; no second record has to be kept in step. A batch without
    events is the creation of a stream. Stored as MessagePack; members are only ever added at the end, with defaults.
    """

    schema: int
    #: Unique, so that a writer that got no answer recognises its own batch.
    id: str
    stream: str
    created_ms: int
    first_event_ms: int | None
    last_event_ms: int | None
    #: Number of events of the stream before this batch.
    ordinal: int
    #: Bytes of messages of the stream, this batch included.
    stored_bytes: int
    ingestion_ms: int
    #: (timestamp in Unix milliseconds, message)
    events: list[tuple[int, str]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Batch)


def encode(batch: Batch) -> bytes:
    return _encoder.encode(batch)


def decode(data: bytes) -> Batch:
    """Raises `msgspec.MsgspecError` for what is no batch."""
    return _decoder.decode(data)


def stream_id(name: str) -> str:
    """The token of a stream in its subject: 96 bits of a hash, as a name may be longer than a subject."""
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:24]


def event_id(sequence: int, index: int) -> str:
    """56 digits, as CloudWatch's: grows with the order of storing."""
    return f"{sequence * 1_000_000 + index:056d}"
