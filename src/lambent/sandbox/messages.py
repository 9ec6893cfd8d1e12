"""Messages between node and spawner: a 4-byte big-endian length and JSON, with file descriptors beside them.

Standard library only: both sides import it. A message says in `"fds"` how many descriptors belong to it. On a stream
socket descriptors arrive no later than the first byte they were sent with and in order, so that a queue pairs them.
"""

import array
import json
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

Message = dict[str, Any]

#: Largest message. A sandbox's argv and environment are at most 128 KiB (`ARGUMENTS_MAX`); the rest is names and numbers.
MESSAGE_MAX = 1024 * 1024
#: argv and environment of a sandbox's first process, bytes: what one packet to a sandbox's first process holds.
ARGUMENTS_MAX = 128 * 1024
#: Descriptors of one message: a channel, a pipe, a memory counter and the listeners.
FDS_MAX = 32
#: Listening sockets of one sandbox (custom runtimes need one, the platform's endpoint another).
LISTEN_PORTS_MAX = 16

_LENGTH = struct.Struct(">I")
_READ_BYTES = 64 * 1024


class MessageError(Exception):
    """The other side does not speak this protocol: too long a message, or fewer descriptors than it promised."""


def encode(message: Message, fds: int = 0) -> bytes:
    body = json.dumps({**message, "fds": fds} if fds else message, separators=(",", ":")).encode()
    if len(body) > MESSAGE_MAX:
        raise MessageError(f"a message of {len(body)} bytes is longer than {MESSAGE_MAX}")
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Bytes and descriptors in, messages out."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: Sequence[int] = ()) -> Iterator[tuple[Message, list[int]]]:
        """Yields what is complete. Raises `MessageError`."""
        self._bytes += data
        self._fds.extend(fds)
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            if length > MESSAGE_MAX:
                raise MessageError(f"a message of {length} bytes is longer than {MESSAGE_MAX}")
            if len(self._bytes) < _LENGTH.size + length:
                return
            body = bytes(self._bytes[_LENGTH.size : _LENGTH.size + length])
            del self._bytes[: _LENGTH.size + length]
            message: Message = json.loads(body)
            count = message.pop("fds", 0)
            if count > len(self._fds):
                raise MessageError(f"{count} descriptors were promised, {len(self._fds)} came")
            yield message, [self._fds.popleft() for _ in range(count)]

    def unclaimed(self) -> list[int]:
        """Descriptors that no message took: to be closed at the end."""
        left = list(self._fds)
        self._fds.clear()
        return left


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """One read with its descriptors (close-on-exec). Empty bytes: the other side is gone. May raise `BlockingIOError`."""
    fds = array.array("i")
    data, ancillary, _, _ = connection.recvmsg(
        _READ_BYTES, socket.CMSG_SPACE(FDS_MAX * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds)


def send_some(connection: socket.socket, data: bytes | bytearray, fds: Sequence[int]) -> int:
    """One write; the descriptors go with its first byte. Returns the bytes taken. May raise `BlockingIOError`."""
    if not fds:
        return connection.send(data)
    rights = array.array("i", fds)
    return connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
