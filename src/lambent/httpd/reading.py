"""Bytes to requests: the parser's callbacks with every bound and every refusal. No I/O.

The parser (llhttp by way of httptools) holds the grammar; what is checked here is what it leaves open: sizes, counts, Host,
transfer codings, expectations. Sources: RFC 9110 and RFC 9112.
"""

from collections import deque

import httptools
import msgspec

from lambent.httpd.limits import BODY_FREE, Limits
from lambent.httpd.messages import Headers, Request, Response

#: How much is parsed at a time: bounds the requests that one read can hold (some 900 of the smallest).
_FEED_MAX = 16 * 1024
#: Spellings of header names that are remembered, so that most need no decoding; 64 bytes each at most.
_NAMES_MAX = 512
_NAME_MAX = 64

#: Headers of which a second one changes where a message ends or whom it is for.
_SINGLE = frozenset({"host", "content-length", "transfer-encoding"})


#: The usual methods, decoded.
_METHODS = {text.encode(): text for text in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")}


class _Refused(Exception):
    """Stops the parser from within a callback; `RequestReader.refusal` says why."""


def refusal(status: int, message: str) -> Response:
    """An answer of the server itself, in the form that the doors use too."""
    return Response(status, msgspec.json.encode({"message": message}), [("content-type", "application/json")])


class RequestReader:
    """Turns the bytes of one connection into requests. After a refusal it takes nothing more."""

    __slots__ = (
        "_body",
        "_body_max",
        "_body_size",
        "_door",
        "_headers",
        "_keep_alive",
        "_limits",
        "_lines",
        "_names",
        "_parser",
        "_peer",
        "_piece_size",
        "_request",
        "_resumes",
        "_scheme",
        "_target",
        "_wire_bytes",
        "charged",
        "expects",
        "in_body",
        "refusal",
        "requests",
    )

    def __init__(self, limits: Limits, peer: str, scheme: str, door: object, names: dict[bytes, str]) -> None:
        self._limits = limits
        self._peer = peer
        self._scheme = scheme
        self._door = door
        self._names = names
        #: Complete requests in order, each with whether the connection may stay open after it.
        self.requests: deque[tuple[Request, bool]] = deque()
        #: The answer that ends the connection, after those of `requests`.
        self.refusal: Response | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._piece_size = 0
        #: Bytes that the bodies of this connection have taken from the budget and not given back.
        self.charged = 0
        #: The parser is being told again of a head that has been read (see `_ignore_upgrade`).
        self._resumes = False
        self._request: Request | None = None
        self._keep_alive = True
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: Headers = {}
        #: Lines that repeat a header, and trailers: those that the dictionary does not count.
        self._lines = 0
        self._wire_bytes = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._body_max = 0
        #: The head has been read, the body has not yet.
        self.in_body = False
        #: The client waits for 100 Continue before it sends the body.
        self.expects = False

    @property
    def in_head(self) -> bool:
        """Whether a request has begun and its head has not ended."""
        return self._target != b"" and not self.in_body

    def feed(self, data: bytes) -> bytes:
        """Parses until a request is complete; returns what has not been looked at yet."""
        size = len(data)
        if size <= _FEED_MAX:
            self._parse(data)
            return b""
        start = 0
        while start < size and not self.requests and self.refusal is None:
            # A body of known length cannot hide further requests: it is taken as it comes.
            length = max(_FEED_MAX, self._remaining()) if self.in_body else _FEED_MAX
            piece = data[start : start + length]
            start += len(piece)
            self._parse(piece)
        return data[start:] if self.refusal is None else b""

    def _remaining(self) -> int:
        length = self._headers.get("content-length")
        return int(length) - self._body_size if length is not None else 0

    def refuse(self, status: int, message: str) -> None:
        """The first refusal counts."""
        if self.refusal is None:
            self.refusal = refusal(status, message)

    def _parse(self, piece: bytes) -> None:
        self._piece_size = len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(piece[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self.refuse(*_told(error, piece))
        if not self.requests and self.refusal is None:
            self._bound_half(len(piece))

    def _bound_half(self, size: int) -> None:
        """Bounds what the callbacks cannot see of a request that is not complete."""
        if self.in_body:
            self._wire_bytes += size
            # Chunk extensions, trailers, one-byte chunks: together no more than the body itself may have.
            if self._wire_bytes - self._body_size > self._body_max + self._limits.header_max + _FEED_MAX:
                self._refuse_body("the request body has too much framing")
        elif self._wire_bytes:
            self._wire_bytes += size
            if self._wire_bytes > self._limits.header_max:
                self.refuse(431, f"the request head is larger than {self._limits.header_max} bytes")
        else:
            # The piece may have begun with another request's end: how much of it is this one's is not known.
            self._wire_bytes = 1

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Goes on in HTTP/1.1, as RFC 9110 7.8 allows: Java's client offers h2c with its first request.

        The parser took the body for another protocol's; a new one is told where the body ends and goes on there.
        """
        if self.refusal is not None:
            return
        self._parser = httptools.HttpRequestParser(self)
        if self._request is None:
            # There was no body: the request is complete.
            if rest:
                self._parse(rest)
            return
        self._resumes = True
        if "transfer-encoding" in self._headers:
            framing = "transfer-encoding: chunked"
        else:
            framing = f"content-length: {self._headers.get('content-length', '0')}"
        self._parse(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode("latin-1") + rest)

    # ---- the parser's callbacks, in their order

    def on_url(self, target: bytes) -> None:
        if self._resumes:
            return
        self._target += target
        if len(self._target) > self._limits.target_max:
            self.refuse(414, f"the request target is longer than {self._limits.target_max} bytes")
            raise _Refused

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._resumes:
            return
        headers = self._headers
        if len(headers) + self._lines >= self._limits.headers_max:
            self.refuse(431, f"the request has more than {self._limits.headers_max} header lines")
            raise _Refused
        if self.in_body:
            # A trailer: nothing reads them, and none may change the head.
            self._lines += 1
            return
        key = self._names.get(name)
        if key is None:
            key = self._name(name)
        text = value.decode("latin-1")
        if text and text[-1] in " \t":
            text = text.rstrip(" \t")
        if key in headers:
            self._lines += 1
            if key in _SINGLE:
                self.refuse(400, f"the header {key} is there twice")
                raise _Refused
            text = headers[key] + ("; " if key == "cookie" else ",") + text
        headers[key] = text

    def _name(self, name: bytes) -> str:
        key = name.lower().decode("latin-1")
        if len(self._names) < _NAMES_MAX and len(name) <= _NAME_MAX:
            self._names[name] = key
        return key

    def on_headers_complete(self) -> None:
        self.in_body = True
        if self._resumes:
            self._resumes = False
            return
        headers = self._headers
        limits = self._limits
        # Mostly the piece is too small for a head that is too large; else it is counted.
        if self._piece_size + self._wire_bytes > limits.header_max:
            size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in headers.items())
            if size > limits.header_max:
                self.refuse(431, f"the request head is larger than {limits.header_max} bytes")
                raise _Refused
        parser = self._parser
        keep_alive = parser.should_keep_alive()
        if keep_alive and "connection" not in headers:
            # Nothing but the version can have said so; asking the parser for it costs more.
            version = "1.1"
        else:
            version = parser.get_http_version()
            if version not in ("1.1", "1.0"):
                self.refuse(505, "this port speaks HTTP/1.1")
                raise _Refused
            if parser.should_upgrade():
                keep_alive = "close" not in headers["connection"].lower()
        target = self._target.decode("latin-1")
        method_bytes = parser.get_method()
        method = _METHODS.get(method_bytes) or method_bytes.decode("latin-1")
        if target[0] != "/":
            target = self._path_of(method, target)
        if "host" not in headers and version == "1.1":
            self.refuse(400, "the header host is missing")
            raise _Refused
        path, _, query = target.partition("?")
        self._keep_alive = keep_alive
        self._request = Request(
            method,
            path,
            query,
            headers,
            peer=self._peer,
            scheme=self._scheme,
            version=version,
            door=self._door,
        )
        if "content-length" in headers or "transfer-encoding" in headers:
            self._expect_body(self._request)

    def _path_of(self, method: str, target: str) -> str:
        """The path of an absolute or asterisk form (RFC 9112, 3.2); the URL's host replaces the header's."""
        scheme, separator, rest = target.partition("://")
        if separator and scheme.lower() in ("http", "https") and rest:
            end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
            self._headers["host"] = rest[:end]
            return rest[end:] if rest[end : end + 1] == "/" else "/" + rest[end:]
        if target == "*" and method == "OPTIONS":
            return "*"
        if method == "CONNECT":
            self.refuse(501, "this server is not a proxy")
        else:
            self.refuse(400, "the request target is neither a path nor a URL")
        raise _Refused

    def _expect_body(self, request: Request) -> None:
        """Refuses a body before it is sent where that can be told from the head."""
        headers, limits = request.headers, self._limits
        self._body_max = limits.body_max if limits.body_max_of is None else limits.body_max_of(request.path, self._door)
        coding = headers.get("transfer-encoding")
        if coding is not None and (request.version == "1.0" or "content-length" in headers):
            # Two ends of one message are how requests are smuggled past a proxy.
            self.refuse(400, "the header transfer-encoding cannot be used in this request")
        elif coding is not None and coding.lower() != "chunked":
            self.refuse(501, "chunked is the only transfer coding here")
        elif coding is None and int(headers["content-length"]) > self._body_max:
            self._refuse_body(f"the request body is larger than {self._body_max} bytes")
        expect = headers.get("expect")
        if expect is not None and expect.lower() != "100-continue":
            self.refuse(417, "100-continue is the only expectation here")
        if self.refusal is not None:
            raise _Refused
        self.expects = expect is not None and request.version == "1.1" and headers.get("content-length") != "0"

    def _refuse_body(self, message: str) -> None:
        """The door's own answer, if it has one."""
        request, too_large = self._request, self._limits.too_large
        if request is None or too_large is None or self.refusal is not None:
            self.refuse(413, message)
        else:
            size = max(self._body_size, int(self._headers.get("content-length", "0")))
            self.refusal = too_large(request, size)

    def on_body(self, piece: bytes) -> None:
        self._body_size += len(piece)
        if self._body_size > self._body_max:
            self._refuse_body(f"the request body is larger than {self._body_max} bytes")
            raise _Refused
        if self._body_size > BODY_FREE:
            self._charge(len(piece))
        self._body.append(piece)

    def _charge(self, size: int) -> None:
        budget = self._limits.budget
        if budget is None:
            return
        if not budget.take(size):
            self.refuse(503, "too many request bodies at once; try again")
            raise _Refused
        self.charged += size

    def drop(self) -> None:
        """Nothing more is read from this connection: what an unfinished body holds goes."""
        self._body = []
        self._request = None
        self.requests.clear()
        self.release()

    def release(self) -> None:
        """Gives back what the bodies took; called when none of them is held any more."""
        if self.charged and self._limits.budget is not None:
            self._limits.budget.give_back(self.charged)
        self.charged = 0

    def on_message_complete(self) -> None:
        request = self._request
        if request is None:
            return
        if self._parser.should_upgrade() and (
            self._headers.get("content-length", "0") != "0" or "transfer-encoding" in self._headers
        ):
            # Not complete: see `_ignore_upgrade`.
            return
        if self._body:
            request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self.requests.append((request, self._keep_alive))
        self._request = None
        self._begin()


def _told(error: Exception, piece: bytes) -> tuple[int, str]:
    """Status and text for what the parser did not take."""
    text = str(error)
    if piece[:1] == b"\x16":
        return 400, "this port speaks plain HTTP; the client spoke TLS"
    if "PRI" in text:
        return 505, "this port speaks HTTP/1.1; the client spoke HTTP/2 with prior knowledge"
    if "HTTP version" in text:
        return 505, "this port speaks HTTP/1.1"
    if isinstance(error, httptools.HttpParserInvalidMethodError) and piece[:1].isalpha():
        return 501, "the request method is not known here"
    return 400, f"the request is malformed: {text}"
