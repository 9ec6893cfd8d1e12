"""The bounds of a listener. Every one has an answer of its own, told in `connection.py`."""

from collections.abc import Callable

import msgspec

KIB = 1024
MIB = 1024 * KIB


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one listener accepts. Sizes in bytes, times in seconds."""

    #: Request line and headers together: 431.
    header_max: int = 32 * KIB
    #: The request target alone: 414. Presigned URLs with a session token reach some 4 KiB.
    target_max: int = 16 * KIB
    #: Number of header lines: 431.
    headers_max: int = 128
    #: Request body: 413.
    body_max: int = 6 * MIB
    #: Says the body limit of one request from (path, door) where paths differ; None: `body_max` for all.
    body_max_of: Callable[[str, object], int] | None = None
    #: Open connections: 503 and closed.
    connections_max: int = 10_000
    #: From the first byte of a request to the end of its head: 408.
    header_seconds: float = 10
    #: Without a byte in the middle of a body: 408.
    body_seconds: float = 30
    #: Between two requests, and before the first: closed without a word.
    idle_seconds: float = 75
    #: A client that takes no byte of its answer for so long is cut off.
    write_seconds: float = 60
    #: After a refusal, how long what the client still sends is read and dropped, so that it gets to see the answer.
    linger_seconds: float = 5
