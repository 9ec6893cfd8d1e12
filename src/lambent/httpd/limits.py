"""The bounds of a listener. Every one has an answer of its own, told in `connection.py`."""

from collections.abc import Callable

import msgspec

from lambent.httpd.messages import Request, Response

KIB = 1024
MIB = 1024 * KIB


class BodyBudget:
    """Bytes of request bodies that all connections of some listeners may hold together, unfinished ones included.

    Bodies up to `BODY_FREE` are not counted: what they can hold is bounded by the number of connections.
    """

    __slots__ = ("_left",)

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max

    def take(self, size: int) -> bool:
        """False when there is no room; nothing is taken then."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        self._left += size


#: Bodies of this size cost nothing but their connection.
BODY_FREE = 64 * KIB


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
    #: Told of each body past its limit, before the rest of it is read, with the request (without its body) and the size as far as
    #: it is known; its answer is sent in place of the server's own 413. Must not raise, and must not wait. None: the server's.
    too_large: Callable[[Request, int], Response] | None = None
    #: Bodies that are held at once, shared with other listeners: 503. None: no bound in common.
    budget: BodyBudget | None = None
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
