"""A function's result as an HTTP response, by the rules of function URLs. Pure.

Source: Lambda developer guide, "Invoking Lambda function URLs" (response payload format): an object with `statusCode` says
everything itself; any other JSON is the body of a 200 with content-type application/json.
"""

import binascii
import re
from base64 import b64decode
from typing import Any

import msgspec

from lambent.errors import LambentError
from lambent.httpd.messages import Response

JSON_TYPE = ("content-type", "application/json")

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: What may not stand in a header's value (RFC 9110, 5.5).
_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

#: Belong to the connection, which is not the function's (RFC 9110, 7.6.1); the server frames the body itself.
_HOP_BY_HOP = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


class MalformedAnswer(LambentError):
    """The function's result has a `statusCode` but is not a response; the client gets 502."""


class _Structured(msgspec.Struct):
    """The members that mean something; others are passed over while decoding."""

    statusCode: Any = msgspec.UNSET
    headers: Any = None
    multiValueHeaders: Any = None
    cookies: Any = None
    body: Any = None
    isBase64Encoded: Any = False


_decode = msgspec.json.Decoder(_Structured).decode


def response_of(payload: bytes) -> Response:
    """Raises `MalformedAnswer`."""
    # Most payloads that only pass through are told apart without being parsed.
    if b'"statusCode"' not in payload:
        return Response(200, payload, [JSON_TYPE])
    try:
        answer = _decode(payload)
    except msgspec.DecodeError:
        # Not an object, or (from a custom runtime) not JSON at all.
        return Response(200, payload, [JSON_TYPE])
    if answer.statusCode is msgspec.UNSET:
        return Response(200, payload, [JSON_TYPE])
    headers = _headers(answer)
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(JSON_TYPE)
    return Response(_status(answer.statusCode), _body(answer), headers)


def _status(value: Any) -> int:
    # Numbers as text are common in older functions and harmless.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise MalformedAnswer("statusCode is not a number from 200 to 599")
    return value


def _body(answer: _Structured) -> bytes:
    body = answer.body
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedAnswer("body is not a string")
    if answer.isBase64Encoded in (None, False):
        return body.encode("utf-8", "surrogatepass")
    if answer.isBase64Encoded is not True:
        raise MalformedAnswer("isBase64Encoded is neither true nor false")
    try:
        return b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedAnswer("body is not base64") from error


def _headers(answer: _Structured) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    many = answer.multiValueHeaders
    if many is not None:
        if not isinstance(many, dict) or not all(isinstance(values, list) for values in many.values()):
            raise MalformedAnswer("multiValueHeaders is not an object of lists")
        for name, values in many.items():
            for value in values:
                _add(headers, name, value)
    if answer.headers is not None:
        if not isinstance(answer.headers, dict):
            raise MalformedAnswer("headers is not an object")
        said = {name.lower() for name, _ in headers}
        for name, value in answer.headers.items():
            # A name in both is the same header said twice (API Gateway's REST APIs merge them so).
            if name.lower() not in said:
                _add(headers, name, value)
    if answer.cookies is not None:
        if not isinstance(answer.cookies, list):
            raise MalformedAnswer("cookies is not a list")
        for cookie in answer.cookies:
            _add(headers, "set-cookie", cookie)
    return headers


def _add(headers: list[tuple[str, str]], name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str) or _BREAKS.search(value):
        raise MalformedAnswer(f"the header {name[:80]!r} has no value that can be sent")
    if not _NAME.fullmatch(name):
        raise MalformedAnswer(f"{name[:80]!r} is not a header name")
    if name.lower() not in _HOP_BY_HOP:
        headers.append((name, value))
