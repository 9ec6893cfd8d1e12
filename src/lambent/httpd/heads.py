"""Response heads as bytes. Pure."""

from email.utils import formatdate
from http import HTTPStatus

from lambent.errors import LambentError

#: What the server says itself; a door's own value would contradict it.
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "date", "keep-alive"})

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class MalformedHeader(LambentError):
    """A door gave a header that would break the response apart."""


def status_line(status: int) -> str:
    """Statuses without a registered phrase get an empty one."""
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"


def date_line(unix_seconds: float) -> str:
    """`date: Sun, 06 Nov 1994 08:49:37 GMT` with its line end (RFC 9110, 5.6.7)."""
    return f"date: {formatdate(unix_seconds, usegmt=True)}\r\n"


def has_no_body(status: int) -> bool:
    """1xx, 204 and 304 end with their head (RFC 9110, 6.4.1)."""
    return status < 200 or status in (204, 304)


def header_lines(headers: list[tuple[str, str]]) -> tuple[str, str | None, bool]:
    """The door's headers as lines; with the content-length it gave, and whether it asked to close.

    Raises `MalformedHeader` for a line break or NUL inside a name or value.
    """
    lines = []
    length = None
    close = False
    for name, value in headers:
        lower = name.lower()
        if lower in _OURS:
            if lower == "content-length":
                length = value
            elif lower == "connection":
                close = value.lower() == "close"
            continue
        lines.append(f"{name}: {value}\r\n")
    text = "".join(lines)
    count = len(lines)
    if text.count("\n") != count or text.count("\r") != count or "\0" in text:
        raise MalformedHeader("a header name or value holds a line break or a NUL")
    return text, length, close


def encode(head: str) -> bytes:
    """Latin-1 as HTTP has it; text outside of it goes out as UTF-8."""
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        return head.encode("utf-8", "replace")
