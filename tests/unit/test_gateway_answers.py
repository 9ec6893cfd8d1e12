import json
from typing import Any

import pytest

from lambent.gateway.answers import MalformedAnswer, response_of

JSON = ("content-type", "application/json")


@pytest.mark.parametrize(
    "payload",
    [b'"Hello, world!"', b"null", b"7", b"[]", b'{"message": "hi"}', b'{"body": "x"}', b'{"deep": {"statusCode": 404}}',
     b'["statusCode"]', b'"\\"statusCode\\""', b'not json "statusCode"', b""],
)  # fmt: skip
def test_anything_without_a_status_code_is_the_body_of_a_200(payload: bytes) -> None:
    response = response_of(payload)
    assert (response.status, response.body, response.headers) == (200, payload, [JSON])


@pytest.mark.parametrize(
    ("answer", "status", "body", "headers"),
    [
        ({"statusCode": 204}, 204, b"", [JSON]),
        ({"statusCode": "201", "body": "x"}, 201, b"x", [JSON]),
        ({"statusCode": 200, "body": None}, 200, b"", [JSON]),
        ({"statusCode": 200, "body": "grüß"}, 200, "grüß".encode(), [JSON]),
        ({"statusCode": 200, "headers": {"Content-Type": "text/html"}, "body": "<p>"}, 200, b"<p>", [("Content-Type", "text/html")]),
        ({"statusCode": 200, "body": "AAEC", "isBase64Encoded": True}, 200, b"\0\1\2", [JSON]),
        ({"statusCode": 200, "headers": {"n": 1, "t": True, "gone": None}}, 200, b"", [("n", "1"), ("t", "true"), JSON]),
        ({"statusCode": 200, "cookies": ["a=1; Path=/", "b=2"]}, 200, b"", [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2"), JSON]),
        ({"statusCode": 200, "multiValueHeaders": {"X": ["1", "2"]}, "headers": {"x": "3"}}, 200, b"", [("X", "1"), ("X", "2"), JSON]),
        ({"statusCode": 200, "headers": {"Connection": "close", "Content-Length": "7", "Transfer-Encoding": "x"}}, 200, b"", [JSON]),
        ({"statusCode": 200, "unknown": {"x": 1}, "headers": None, "cookies": None}, 200, b"", [JSON]),
    ],
)  # fmt: skip
def test_an_object_with_a_status_code_says_everything(
    answer: dict[str, Any], status: int, body: bytes, headers: list[tuple[str, str]]
) -> None:
    response = response_of(json.dumps(answer).encode())
    assert (response.status, response.body, response.headers) == (status, body, headers)


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "abc"},
        {"statusCode": None},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 101},
        {"statusCode": 1000},
        {"statusCode": 200.5},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": 7},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a": ["1"]}},
        {"statusCode": 200, "headers": {"a": "1\r\nset-cookie: evil=1"}},
        {"statusCode": 200, "headers": {"a b": "1"}},
        {"statusCode": 200, "headers": {"a:": "1"}},
        {"statusCode": 200, "headers": {"": "1"}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": ["a=1\nx"]},
        {"statusCode": 200, "multiValueHeaders": {"a": "1"}},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
        {"statusCode": 200, "body": "grüß", "isBase64Encoded": True},
        {"statusCode": 200, "body": "x", "isBase64Encoded": "yes"},
    ],
)
def test_a_malformed_answer_is_told_apart(answer: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswer):
        response_of(json.dumps(answer).encode())
