"""A request and a response as values. Built by the server, read by every door."""

from collections.abc import AsyncIterator, Awaitable, Callable

Headers = dict[str, str]


class Request:
    """One complete HTTP request. The body has been read and bounded by the server's limits."""

    __slots__ = ("body", "door", "headers", "method", "path", "peer", "query", "scheme", "version")

    def __init__(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: Headers | None = None,
        body: bytes = b"",
        *,
        peer: str = "127.0.0.1",
        scheme: str = "http",
        version: str = "1.1",
        door: object = None,
    ) -> None:
        self.method = method
        #: The path exactly as sent: still percent-encoded, never normalised (signatures cover these bytes).
        self.path = path
        #: The query string exactly as sent, without the question mark.
        self.query = query
        #: Names in lower case; values of a repeated header joined with "," as AWS does ("; " for cookie); latin-1 text.
        self.headers: Headers = headers if headers is not None else {}
        self.body = body
        self.peer = peer
        self.scheme = scheme
        self.version = version
        #: What the listener was opened with (`serve(..., door=...)`): says which sandbox or port a request came through.
        self.door = door


class Response:
    """One HTTP response. The server adds content-length (or chunked for a stream), date and connection."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes | AsyncIterator[bytes] = b"",
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers if headers is not None else []
        self.body = body


#: A door's handler. It must not raise: what it raises is a mistake of ours, answered with 500 and an id.
Handler = Callable[[Request], Awaitable[Response]]
