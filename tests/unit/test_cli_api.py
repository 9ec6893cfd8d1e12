"""The small AWS client against a scripted HTTP server: what it sends, and what it makes of refusals."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lambent.cli.api import Api, ApiError, Unreachable, function_path
from lambent.cli.deploy import changes, variables
from lambent.cli.endpoint import Endpoint
from lambent.cli.functions import shown
from lambent.cli.logs import since_ms


class Scripted:
    """Answers one after the other, and what was asked."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []


@contextlib.contextmanager
def served(script: Scripted) -> Iterator[Api]:
    class Door(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            script.asked.append({"method": self.command, "path": self.path, "body": body, **dict(self.headers.items())})
            status, headers, answer = script.answers.pop(0)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        api = Api(Endpoint(f"http://127.0.0.1:{server.server_port}", "eu-west-1", "AKIAEXAMPLE", "secret"))
        try:
            yield api
        finally:
            api.close()
            server.shutdown()
            thread.join()


def test_requests_are_signed_for_their_service_and_region() -> None:
    script = Scripted((200, {}, b'{"Functions": []}'))
    with served(script) as api:
        assert api.function("GET", "/2015-03-31/functions", Marker=None, MaxItems=5) == {"Functions": []}
    asked = script.asked[0]
    assert asked["path"] == "/2015-03-31/functions?MaxItems=5"
    assert "Credential=AKIAEXAMPLE/" in asked["authorization"]
    assert "/eu-west-1/lambda/aws4_request" in asked["authorization"]


def test_all_pages_are_read() -> None:
    script = Scripted(
        (200, {}, b'{"Functions": [{"FunctionName": "a"}], "NextMarker": "m&1"}'),
        (200, {}, b'{"Functions": [{"FunctionName": "b"}]}'),
    )
    with served(script) as api:
        assert [item["FunctionName"] for item in api.functions()] == ["a", "b"]
    assert script.asked[1]["path"].endswith("?Marker=m%261")


@pytest.mark.parametrize(
    ("headers", "body", "code", "message"),
    [
        ({"x-amzn-errortype": "ResourceNotFoundException"}, {"Message": "gone"}, "ResourceNotFoundException", "gone"),
        ({"x-amzn-errortype": "Throttled:http://x/"}, {"message": "slow"}, "Throttled", "slow"),
        ({}, {"__type": "com.amazonaws#Bad", "message": "no"}, "Bad", "no"),
        ({}, None, "UnknownError", ""),
    ],
)
def test_a_refusal_has_awss_code_and_message(
    headers: dict[str, str], body: dict[str, str] | None, code: str, message: str
) -> None:
    raw = b"<html>" if body is None else json.dumps(body).encode()
    with served(Scripted((404, headers, raw))) as api, pytest.raises(ApiError) as caught:
        api.function("GET", "/x")
    assert caught.value.code == code
    assert message in str(caught.value)
    assert caught.value.status == 404


def test_nobody_there_is_a_sentence_with_the_address() -> None:
    api = Api(Endpoint("http://127.0.0.1:1", "us-east-1", "k", "s"))
    with pytest.raises(Unreachable, match=r"nothing answers at http://127\.0\.0\.1:1"):
        api.function("GET", "/x")


def test_an_address_that_is_no_url_is_refused() -> None:
    with pytest.raises(Unreachable, match="not an http URL"):
        Api(Endpoint("localhost:4566", "us-east-1", "k", "s"))


@pytest.mark.parametrize(
    ("current", "wanted", "expected"),
    [
        ({"MemorySize": 128}, {"MemorySize": None}, {}),
        ({"MemorySize": 128}, {"MemorySize": 128}, {}),
        ({"MemorySize": 128}, {"MemorySize": 256}, {"MemorySize": 256}),
        ({}, {"Environment": {"Variables": {"A": "1"}}}, {"Environment": {"Variables": {"A": "1"}}}),
        ({"Environment": {"Variables": {"A": "1"}}}, {"Environment": {"Variables": {"A": "1"}}}, {}),
        ({"Description": ""}, {"Description": "new"}, {"Description": "new"}),
    ],
)
def test_only_what_is_given_and_differs_is_changed(
    current: dict[str, Any], wanted: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert changes(current, wanted) == expected


def test_variables_may_hold_equals_signs_and_be_empty() -> None:
    assert variables(("A=1=2", "B=")) == {"A": "1=2", "B": ""}
    assert variables(()) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 1_000_000_000 - 90_000),
        ("10m", 1_000_000_000 - 600_000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01T01:00:01+01:00", 1000),
        ("999999d", 0),
    ],
)
def test_a_moment_is_a_span_before_now_or_an_iso_time(text: str, expected: int) -> None:
    assert since_ms(text, 1_000_000_000) == expected


def test_any_text_makes_a_function_path_so_that_the_platform_can_refuse_the_name() -> None:
    assert function_path("a b/c", "/code") == "/2015-03-31/functions/a%20b%2Fc/code"


def test_show_names_inner_members_and_leaves_out_what_is_empty() -> None:
    configuration = {
        "Timeout": 3,
        "Description": "",
        "Architectures": ["x86_64"],
        "Environment": {"Variables": {"WORD": "hi"}},
    }
    assert list(shown(configuration)) == [
        ("Architectures", "x86_64"),
        ("Environment.Variables.WORD", "hi"),
        ("Timeout", "3"),
    ]
