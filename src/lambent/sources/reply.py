"""The outcome of a call as a NATS reply. No I/O.

A result that is a JSON string is sent as its text, null as an empty message, anything else as its JSON. A failure carries
the error as JSON and the headers of NATS services (`Nats-Service-Error`, `Nats-Service-Error-Code`: ADR-32), whose code is
the HTTP status that the AWS API would give, and `Lambent-Error` with AWS's name for it.
"""

import json
from typing import NamedTuple

import msgspec

from lambent.invocation import Outcome, OutcomeKind

#: Longest text in a header.
_HEADER_CHARACTERS_MAX = 512


class Reply(NamedTuple):
    body: bytes
    headers: dict[str, str]


def reply(outcome: Outcome) -> Reply:
    if outcome.kind is OutcomeKind.RESULT:
        return Reply(_plain(outcome.payload), {})
    if outcome.kind is OutcomeKind.FUNCTION_ERROR:
        return _failure(500, *_described(outcome.payload), outcome.payload)
    code, name = _CODES[outcome.kind]
    return _failure(code, name, outcome.message or name)


def too_large(size: int, size_max: int) -> Reply:
    """For a result that the server would not take in one message."""
    return _failure(413, "RequestTooLargeException", f"the reply has {size} bytes; the NATS server takes {size_max}")


def event_too_large(size: int, size_max: int) -> Reply:
    """For a message that makes a larger event than functions take (AWS: 6 MB; binary grows by a third as base64)."""
    return _failure(413, "RequestTooLargeException", f"the event has {size} bytes; functions take {size_max}")


_CODES = {
    OutcomeKind.BAD_EVENT: (400, "InvalidRequestContentException"),
    OutcomeKind.THROTTLED: (429, "TooManyRequestsException"),
    OutcomeKind.UNAVAILABLE: (500, "ServiceException"),
}


def missing(function: str) -> Reply:
    """The function of the binding is not there."""
    return _failure(404, "ResourceNotFoundException", f"Function not found: {function}")


def internal(identity: str) -> Reply:
    """A mistake of ours; `identity` is in the platform's log too."""
    return _failure(500, "ServiceException", f"internal error {identity}")


def _plain(payload: bytes) -> bytes:
    stripped = payload.strip()
    if stripped == b"null":
        return b""
    if stripped[:1] == b'"':
        try:
            text = msgspec.json.decode(stripped, type=str)
            return text.encode("utf-8", "surrogatepass")
        except (msgspec.MsgspecError, UnicodeError):
            # A custom runtime may answer with anything.
            return payload
    return payload


def _described(payload: bytes) -> tuple[str, str]:
    """Name and text of a function's error object."""
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return "Unhandled", "the function failed"
    return str(found.get("errorType") or "Unhandled"), str(found.get("errorMessage") or "the function failed")


def _failure(code: int, name: str, message: str, body: bytes | None = None) -> Reply:
    headers = {
        "Nats-Service-Error": _header(message),
        "Nats-Service-Error-Code": str(code),
        "Lambent-Error": _header(name),
    }
    if body is None:
        body = json.dumps({"errorType": name, "errorMessage": message}).encode()
    return Reply(body, headers)


def _header(text: str) -> str:
    """On one line, in ASCII: some NATS clients read headers so."""
    line = " ".join(text.split())[:_HEADER_CHARACTERS_MAX]
    return line.encode("ascii", "backslashreplace").decode()
