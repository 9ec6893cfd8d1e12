import base64
import json
from typing import Any

import pytest

from lambent.gateway.events import event_of, is_text, query_parameters, request_time
from lambent.gateway.routes import Routes, binding_of
from lambent.httpd.messages import Request


def event(request: Request, path: str = "/{all+}", method: str = "ANY") -> dict[str, Any]:
    table = Routes()
    table.put(binding_of(account="111122223333", function="f", method=method, path=path))
    match = table.find(request.method, request.headers.get("host", ""), request.path)
    assert match is not None
    made = event_of(
        request,
        match,
        request_id="id-1",
        trace_id="Root=1-2-3",
        now_ms=1_583_348_638_390,
        time_text=request_time(1_583_348_638_390),
        port=8080,
    )
    decoded: dict[str, Any] = json.loads(made)
    return decoded


def test_the_event_of_a_plain_request_has_every_field_and_no_other() -> None:
    request = Request(
        "GET", "/my/path", "a=1&a=2&b=x%20y", {"host": "abc.lambda.test:8080", "user-agent": "curl/8", "accept": "*/*"}
    )
    made = event(request)
    api_id = made["requestContext"].pop("apiId")
    assert api_id.startswith("http-")
    assert made == {
        "version": "2.0",
        "routeKey": "ANY /{all+}",
        "rawPath": "/my/path",
        "rawQueryString": "a=1&a=2&b=x%20y",
        "headers": {
            "host": "abc.lambda.test:8080",
            "user-agent": "curl/8",
            "accept": "*/*",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-proto": "http",
            "x-forwarded-port": "8080",
            "x-amzn-trace-id": "Root=1-2-3",
        },
        "queryStringParameters": {"a": "1,2", "b": "x y"},
        "requestContext": {
            "accountId": "111122223333",
            "domainName": "abc.lambda.test",
            "domainPrefix": "abc",
            "http": {
                "method": "GET",
                "path": "/my/path",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "curl/8",
            },
            "requestId": "id-1",
            "routeKey": "ANY /{all+}",
            "stage": "$default",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_583_348_638_390,
        },
        "pathParameters": {"all": "my/path"},
        "isBase64Encoded": False,
    }


def test_what_the_request_does_not_have_is_absent() -> None:
    made = event(Request("GET", "/x", headers={}), "/x")
    assert {"cookies", "queryStringParameters", "pathParameters", "body"}.isdisjoint(made)
    assert made["rawQueryString"] == ""


def test_cookies_leave_the_headers() -> None:
    made = event(Request("GET", "/x", headers={"cookie": "a=1; b=2;c=3; "}))
    assert made["cookies"] == ["a=1", "b=2", "c=3"]
    assert "cookie" not in made["headers"]


def test_the_peer_is_added_to_forwarded_for() -> None:
    made = event(Request("GET", "/x", headers={"x-forwarded-for": "10.0.0.1"}, peer="10.0.0.2"))
    assert made["headers"]["x-forwarded-for"] == "10.0.0.1, 10.0.0.2"
    assert made["requestContext"]["http"]["sourceIp"] == "10.0.0.2"


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({"content-type": "application/json"}, b'{"a": 1}', True),
        ({"content-type": "text/plain; charset=utf-8"}, "grüß".encode(), True),
        ({"content-type": "application/vnd.x+json"}, b"{}", True),
        ({}, b"plain", True),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=1", False),
        ({"content-type": "image/png"}, b"\x89PNG", False),
        ({"content-type": "text/plain"}, b"\xff\xfe", False),
        ({"content-type": "text/plain", "content-encoding": "gzip"}, b"abc", False),
    ],
)
def test_the_body_is_text_or_base64_by_its_content_type(headers: dict[str, str], body: bytes, text: bool) -> None:
    made = event(Request("POST", "/x", headers=headers, body=body))
    assert made["isBase64Encoded"] is not text
    assert (made["body"].encode() if text else base64.b64decode(made["body"])) == body


def test_header_bytes_outside_ascii_make_valid_json() -> None:
    made = event(Request("GET", "/caf\xe9", headers={"x-name": "caf\xe9\x80"}))
    assert made["headers"]["x-name"] == "caf\xe9\x80"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("a", {"a": ""}),
        ("a=&b=2", {"a": "", "b": "2"}),
        ("a=1+2", {"a": "1 2"}),
        ("a=%zz", {"a": "%zz"}),
        ("a=%ff", {"a": "\ufffd"}),
        ("&&a=1&", {"a": "1"}),
        ("a=1=2", {"a": "1=2"}),
    ],
)
def test_query_parameters_are_decoded(query: str, expected: dict[str, str]) -> None:
    assert query_parameters(query) == expected


def test_a_huge_query_is_cut_and_not_refused() -> None:
    assert len(query_parameters("&".join(f"k{n}=1" for n in range(5000)))) == 1000


def test_types_of_text() -> None:
    assert is_text("Application/JSON; charset=utf-8")
    assert not is_text("application/octet-stream")
