"""A message becomes an event, an outcome becomes a reply."""

import msgspec
import pytest

from lambent.invocation import Outcome, OutcomeKind
from lambent.sources.event import function_input
from lambent.sources.reply import reply


@pytest.mark.parametrize(
    ("body", "payload", "encoding"),
    [
        (b"", b"{}", "json"),
        (b'{"a": 1}', b'{"a": 1}', "json"),
        (b" [1, 2]\r\n", b" [1, 2]\r\n", "json"),
        (b"17", b"17", "json"),
        (b"hello", b'"hello"', "text"),
        (b"NaN", b'"NaN"', "text"),
        (b'{"a": 1} x', b'"{\\"a\\": 1} x"', "text"),
        ("ü".encode(), b'"\\u00fc"', "text"),
        (b"\xff\x00", b'"/wA="', "base64"),
        (b'"\xff"', b'"Iv8i"', "base64"),
    ],
)
def test_the_body_becomes_the_event(body: bytes, payload: bytes, encoding: str) -> None:
    given = function_input("s", "r", {"H": "1"}, body)
    assert given.payload == payload
    nats = {"subject": "s", "reply": "r", "headers": {"H": "1"}, "encoding": encoding}
    assert msgspec.json.decode(given.client_context) == {"custom": {"nats": nats}}


def test_a_deeply_nested_body_is_an_event_all_the_same() -> None:
    given = function_input("s", "", None, b"[" * 100_000)
    assert msgspec.json.decode(given.payload) == "[" * 100_000


@pytest.mark.parametrize(
    ("result", "body"),
    [
        (b'"hello"', b"hello"),
        (b'"a\\nb \\u00fc"', "a\nb ü".encode()),
        (b"null", b""),
        (b"{}", b"{}"),
        (b"17", b"17"),
        (b"", b""),
        (b'"not json', b'"not json'),
    ],
)
def test_a_result_is_sent_as_text_or_json(result: bytes, body: bytes) -> None:
    answer = reply(Outcome(OutcomeKind.RESULT, result))
    assert answer.body == body
    assert answer.headers == {}


def test_an_error_object_is_sent_with_its_type_and_text_in_headers() -> None:
    payload = b'{"errorType": "ValueError", "errorMessage": "bad\\r\\nX-Injected: 1 \\u20ac"}'
    answer = reply(Outcome(OutcomeKind.FUNCTION_ERROR, payload))
    assert answer.body == payload
    assert answer.headers == {
        "Nats-Service-Error": "bad X-Injected: 1 \\u20ac",
        "Nats-Service-Error-Code": "500",
        "Lambent-Error": "ValueError",
    }


@pytest.mark.parametrize("payload", [b"", b"no json", b"[]", b'{"errorMessage": null}'])
def test_an_odd_error_payload_still_gets_headers(payload: bytes) -> None:
    answer = reply(Outcome(OutcomeKind.FUNCTION_ERROR, payload))
    assert answer.body == payload
    assert answer.headers["Lambent-Error"] == "Unhandled"


@pytest.mark.parametrize(
    ("kind", "code", "name"),
    [
        (OutcomeKind.BAD_EVENT, "400", "InvalidRequestContentException"),
        (OutcomeKind.THROTTLED, "429", "TooManyRequestsException"),
        (OutcomeKind.UNAVAILABLE, "500", "ServiceException"),
    ],
)
def test_refusals_have_the_codes_of_the_api(kind: OutcomeKind, code: str, name: str) -> None:
    answer = reply(Outcome(kind, message="why"))
    assert msgspec.json.decode(answer.body) == {"errorType": name, "errorMessage": "why"}
    assert answer.headers == {"Nats-Service-Error": "why", "Nats-Service-Error-Code": code, "Lambent-Error": name}
