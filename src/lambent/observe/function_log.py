"""What one environment prints: to the log store, and the last 4 KB of a call for a caller that asked for them."""

from typing import Protocol

from lambent.clock import Clock

#: AWS: `X-Amz-Log-Result` holds the last 4 KB of the log.
TAIL_BYTES = 4096
#: The tail buffer is cut back when it has grown to this.
_TAIL_BUFFER_BYTES = 64 * 1024


class Writer(Protocol):
    def write(self, message: str, timestamp_ms: int) -> None: ...


class FunctionLog:
    """Implements `runtimes.contract.FunctionLog`."""

    __slots__ = ("_clock", "_tail", "_writer")

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._tail: bytearray | None = None

    def write(self, message: str) -> None:
        """One log event, its line end included."""
        self._writer.write(message, self._clock.now_ms())
        tail = self._tail
        if tail is not None:
            tail += message.encode("utf-8", "replace")
            if len(tail) > _TAIL_BUFFER_BYTES:
                del tail[:-TAIL_BYTES]

    def begin_tail(self) -> None:
        """From now on what is written is also kept for `tail`."""
        self._tail = bytearray()

    def tail(self) -> bytes:
        """The last 4096 bytes since `begin_tail`, cut at a character; ends the keeping."""
        kept = bytes((self._tail or bytearray())[-TAIL_BYTES:])
        self._tail = None
        # A cut inside a character would not be UTF-8: leave out up to three continuation bytes.
        start = 0
        while start < min(3, len(kept)) and kept[start] & 0xC0 == 0x80:
            start += 1
        return kept[start:]
