"""The frame protocol between the node and a guest, without I/O. `docs/reference/frames.md` is its page.

A frame is an 8-byte header (`length:u32be | kind:u8 | meta_length:u24be`), then the meta (a UTF-8 JSON object, or nothing), then
the payload as raw bytes; `length` counts meta and payload. Payload bytes are never re-encoded on this side.
"""

from enum import IntEnum
from typing import NamedTuple, TypeVar

import msgspec

from lambent.errors import LambentError

HEADER_BYTES = 8
#: The INIT meta holds the environment variables, twice AWS's 4 KB at most; every other meta is far smaller.
META_MAX = 256 * 1024
_LENGTH_MAX = 0xFFFFFFFF


class Kind(IntEnum):
    """What a frame is. Node to guest below 16, guest to node from 16 on."""

    INIT = 1
    INVOKE = 2
    HELLO = 16
    STARTED = 17
    INIT_ERROR = 18
    RESULT = 19
    ERROR = 20
    BAD_EVENT = 21
    LOG = 22
    #: Reserved for response streaming; a guest that sends one today has broken the protocol.
    CHUNK = 23
    END = 24


#: What a guest may send today.
FROM_GUEST = frozenset({Kind.HELLO, Kind.STARTED, Kind.INIT_ERROR, Kind.RESULT, Kind.ERROR, Kind.BAD_EVENT, Kind.LOG})
#: A plain look-up by number: `Kind(number)` costs a microsecond.
_GUEST_KINDS = {int(kind): kind for kind in FROM_GUEST}


class FrameError(LambentError):
    """The guest broke the protocol; its environment cannot be trusted any longer."""


class Init(msgspec.Struct, frozen=True):
    """Meta of INIT: the handler and the complete environment of the function; the facts are in its variables."""

    handler: str
    environment: dict[str, str]
    #: Names of the function's own variables: some have an effect only when a process starts.
    own: list[str] = []


class Invoke(msgspec.Struct, frozen=True, omit_defaults=True):
    """Meta of INVOKE. What is empty is left out; the payload is the event."""

    id: str
    deadline_ms: int
    arn: str
    trace: str = ""
    client_context: str = ""
    identity: str = ""


class Failure(msgspec.Struct, frozen=True):
    """Meta of INIT_ERROR and ERROR. `exiting` says that the guest ends itself after this frame."""

    type: str = ""
    exiting: bool = False


class Hello(msgspec.Struct, frozen=True):
    """Meta of HELLO: what the guest is, such as `python` and `3.11.7`."""

    runtime: str = ""
    version: str = ""


class Frame(NamedTuple):
    """One frame. `size` is the payload's size; with `oversize` the payload was counted but not kept."""

    kind: Kind
    meta: bytes
    payload: bytes
    size: int
    oversize: bool = False


M = TypeVar("M", Failure, Hello)

_encode = msgspec.json.encode
_failure_decoder = msgspec.json.Decoder(Failure)
_hello_decoder = msgspec.json.Decoder(Hello)


def encode(kind: Kind, meta: object = None, payload: bytes = b"") -> bytes:
    """A whole frame. `meta` is a struct or dictionary, or None for none. Raises `FrameError` past the bounds."""
    head = b"" if meta is None else _encode(meta)
    length = len(head) + len(payload)
    if len(head) > META_MAX or length > _LENGTH_MAX:
        raise FrameError(f"a {kind.name} frame of {len(head)} + {len(payload)} bytes is larger than frames can be")
    return b"".join((length.to_bytes(4, "big"), (kind << 24 | len(head)).to_bytes(4, "big"), head, payload))


def failure(frame: Frame) -> Failure:
    """Reads the meta of INIT_ERROR or ERROR. Raises `FrameError`."""
    return _decoded(_failure_decoder, frame, Failure())


def hello(frame: Frame) -> Hello:
    """Reads the meta of HELLO. Raises `FrameError`."""
    return _decoded(_hello_decoder, frame, Hello())


def _decoded(decoder: "msgspec.json.Decoder[M]", frame: Frame, default: M) -> M:
    if not frame.meta:
        return default
    try:
        return decoder.decode(frame.meta)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(f"the meta of a {frame.kind.name} frame is not what it must be: {error}") from error


class FrameReader:
    """Cuts a guest's byte stream into frames. Holds at most one frame's worth of bytes.

    A RESULT or ERROR above `payload_max` is counted to its end without being kept and comes out with `oversize`; anything
    else that breaks a bound raises `FrameError`, after which the reader must not be used.
    """

    __slots__ = ("_chunks", "_held", "_needed", "_oversize", "_payload_max", "_skip")

    def __init__(self, payload_max: int) -> None:
        self._payload_max = payload_max
        self._chunks: list[bytes] = []
        self._held = 0
        #: How many held bytes make progress possible; joining on every read of a large frame would cost its square.
        self._needed = HEADER_BYTES
        #: The oversize frame that is being counted, and how many of its bytes are still to come.
        self._oversize: Frame | None = None
        self._skip = 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with these bytes. Raises `FrameError`."""
        if self._held:
            self._chunks.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._held = 0
        return self._cut(data)

    def _cut(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        position = 0
        available = len(data)
        while position < available:
            if self._oversize is not None:
                position = self._count(position, available, frames)
                continue
            rest = available - position
            if rest < HEADER_BYTES:
                self._hold(data, position, HEADER_BYTES)
                break
            kind, length, meta_length = self._header(data, position)
            oversize = length - meta_length > self._payload_max
            needed = HEADER_BYTES + (meta_length if oversize else length)
            if rest < needed:
                self._hold(data, position, needed)
                break
            body = position + HEADER_BYTES + meta_length
            meta = data[position + HEADER_BYTES : body]
            position += needed
            if oversize:
                self._skip = length - meta_length
                self._oversize = Frame(kind, meta, b"", self._skip, True)
            else:
                frames.append(Frame(kind, meta, data[body:position], length - meta_length))
        return frames

    def _count(self, position: int, available: int, frames: list[Frame]) -> int:
        counted = min(self._skip, available - position)
        self._skip -= counted
        if not self._skip and self._oversize is not None:
            frames.append(self._oversize)
            self._oversize = None
        return position + counted

    def _hold(self, data: bytes, position: int, needed: int) -> None:
        self._chunks.append(data[position:] if position else data)
        self._held = len(data) - position
        self._needed = needed

    def _header(self, data: bytes, position: int) -> tuple[Kind, int, int]:
        number = data[position + 4]
        kind = _GUEST_KINDS.get(number)
        if kind is None:
            raise FrameError(f"the guest sent a frame of the unknown kind {number}")
        length = int.from_bytes(data[position : position + 4], "big")
        meta_length = int.from_bytes(data[position + 5 : position + 8], "big")
        if meta_length > length or meta_length > META_MAX:
            raise FrameError(f"the guest sent a {kind.name} frame whose meta has {meta_length} of {length} bytes")
        if length - meta_length > self._payload_max and kind not in (Kind.RESULT, Kind.ERROR):
            raise FrameError(f"the guest sent a {kind.name} frame of {length} bytes")
        return kind, length, meta_length
