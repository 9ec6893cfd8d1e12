"""A NATS message as a function's event and client context. No I/O.

The body of the message is the event: JSON as it is, an empty body as `{}`, other text as a JSON string, any other bytes as a
JSON string of their base64. What the body was, and what came with it, is in the client context:
`custom.nats` = `{"subject", "reply", "headers", "encoding"}` with encoding `json`, `text` or `base64`.
"""

import base64
import json
from collections.abc import Mapping
from typing import NamedTuple

import msgspec


class FunctionInput(NamedTuple):
    payload: bytes
    client_context: str


#: Checks that bytes are one JSON value without building it: a raw value is only skipped over.
_json = msgspec.json.Decoder(msgspec.Raw)


def function_input(subject: str, reply: str, headers: Mapping[str, str] | None, body: bytes) -> FunctionInput:
    payload, encoding = _payload(body)
    nats = {"subject": subject, "reply": reply, "headers": dict(headers or {}), "encoding": encoding}
    return FunctionInput(payload, json.dumps({"custom": {"nats": nats}}))


def _payload(body: bytes) -> tuple[bytes, str]:
    if not body:
        return b"{}", "json"
    try:
        _json.decode(body)
        # JSON is UTF-8; a skipped string may hold anything.
        body.decode()
        return body, "json"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.dumps(body.decode()).encode(), "text"
    except UnicodeDecodeError:
        return b'"' + base64.b64encode(body) + b'"', "base64"
