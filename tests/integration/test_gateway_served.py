"""A bound path over a real connection: bytes in, event, answer, bytes out."""

import base64
import json

from httpd_fixtures import Served, serving
from lambent.clock import FixedClock
from lambent.gateway.gateway import Gateway
from lambent.gateway.routes import HttpBinding, binding_of
from lambent.httpd.messages import Request, Response
from lambent.ids import Ids
from lambent.invocation import Outcome, OutcomeKind
from lambent.state.memory import MemoryState


async def echo(account: str, function: str, event: bytes, request: Request) -> Outcome:
    """As the http-echo example does: the body comes back as it was, with what the event says of it in headers."""
    told = json.loads(event)
    answer = {
        "statusCode": 200,
        "headers": {"content-type": told["headers"].get("content-type", "text/plain"), "x-raw-path": told["rawPath"]},
        "cookies": told.get("cookies", []),
        "body": told.get("body"),
        "isBase64Encoded": told["isBase64Encoded"],
    }
    return Outcome(OutcomeKind.RESULT, json.dumps(answer).encode())


async def gateway_handler(request: Request) -> Response:
    table = await MemoryState().table("http-bindings", HttpBinding)
    binding = binding_of(account="111122223333", function="echo", path="/echo/{rest+}")
    await table.create(binding.id, binding)
    gateway = Gateway(table, echo, clock=FixedClock(), ids=Ids(), event_max=100_000, port=8080)
    return await gateway.handle(request)


def test_binary_bodies_and_cookies_come_back_as_they_were_sent() -> None:
    body = bytes(range(256))

    async def check(served: Served) -> None:
        client = await served.connect()
        answer = await client.ask(
            b"PUT /echo/a%20b HTTP/1.1\r\nhost: h\r\ncontent-type: image/png\r\ncookie: a=1\r\ncontent-length: 256\r\n\r\n"
            + body
        )
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-raw-path"] == "/echo/a%20b"
        assert answer.headers["set-cookie"] == "a=1"
        assert answer.headers["x-amzn-requestid"]

    serving(gateway_handler, check)


def test_text_and_no_body_and_an_unknown_path_on_one_connection() -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        text = "grüß dich".encode()
        answer = await client.ask(
            b"POST /echo/x HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
            + b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
        )
        assert answer.body == text
        assert (await client.ask(b"GET /echo/y HTTP/1.1\r\nhost: h\r\n\r\n")).body == b""
        missing = await client.ask(b"GET /nowhere HTTP/1.1\r\nhost: h\r\n\r\n")
        assert (missing.status, json.loads(missing.body)) == (404, {"message": "Not Found"})

    serving(gateway_handler, check)


def test_a_body_that_grows_past_the_payload_limit_in_base64_is_too_large() -> None:
    async def check(served: Served) -> None:
        body = bytes(90_000)
        assert len(base64.b64encode(body)) > 100_000
        answer = await served.ask(
            b"POST /echo/x HTTP/1.1\r\nhost: h\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % len(body)
            + body
        )
        assert (answer.status, json.loads(answer.body)) == (413, {"message": "Request Too Long"})

    serving(gateway_handler, check)
