"""The server as clients see it, on both kinds of loop where the transport differs."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from httpd_fixtures import LOOPS, Served, echo, serving
from lambent.errors import SettingsError
from lambent.httpd.limits import Limits
from lambent.httpd.messages import Request, Response
from lambent.httpd.server import listen, serve

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"

both_loops = pytest.mark.parametrize("loop", LOOPS)


@both_loops
def test_requests_on_one_connection_are_answered_in_order(loop: str) -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        for number in range(3):
            answer = await client.ask(
                b"POST /p?q=%d HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n%02d" % (number, number)
            )
            assert (answer.status, answer.body) == (200, b"%02d" % number)
            assert answer.headers["x-target"] == f"/p?q={number}"
            assert answer.headers["date"].endswith(" GMT")
            assert "connection" not in answer.headers

    serving(echo, check, loop=loop)


@both_loops
def test_pipelined_requests_are_answered_in_order_one_at_a_time(loop: str) -> None:
    running = 0

    async def handler(request: Request) -> Response:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        running -= 1
        return Response(200, request.path.encode())

    async def check(served: Served) -> None:
        client = await served.connect()
        count = 3000
        sending = asyncio.ensure_future(
            client.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n" % number for number in range(count)))
        )
        for number in range(count):
            assert (await client.read()).body == b"/%d" % number
        await sending

    serving(handler, check, loop=loop)


@both_loops
def test_a_large_body_arrives_whole(loop: str) -> None:
    body = bytes(range(256)) * 8192

    async def check(served: Served) -> None:
        client = await served.connect()
        for _ in range(2):
            answer = await client.ask(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            assert answer.body == body

    serving(echo, check, loop=loop)


@both_loops
def test_a_body_is_read_byte_by_byte_too(loop: str) -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        for byte in b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc":
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.read()).body == b"abc"

    serving(echo, check, loop=loop)


def test_a_chunked_body_arrives_whole_and_its_trailers_change_nothing() -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, request.body)

    async def check(served: Served) -> None:
        client = await served.connect()
        head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
        answer = await client.ask(head + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nhost: evil\r\nx-late: 1\r\n\r\n")
        assert answer.body == b"abcde"
        assert seen[0].headers == {"host": "h", "transfer-encoding": "chunked"}
        assert (await client.ask(GET)).status == 200

    serving(handler, check)


def test_head_tells_the_length_and_sends_no_body() -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\n" + GET)
        first = await client.read(head_only=True)
        assert first.headers["content-length"] == "5"
        assert (await client.read()).body == b"hello"

    async def handler(request: Request) -> Response:
        return Response(200, b"hello")

    serving(handler, check)


def test_head_may_tell_a_length_without_making_the_body() -> None:
    async def handler(request: Request) -> Response:
        return Response(200, b"", [("content-length", "123456")])

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\n")
        assert (await client.read(head_only=True)).headers["content-length"] == "123456"
        # Anything but HEAD is framed by what is really sent.
        assert (await client.ask(GET)).headers["content-length"] == "0"

    serving(handler, check)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_end_with_the_head(status: int) -> None:
    async def handler(request: Request) -> Response:
        return Response(status, b"not sent")

    async def check(served: Served) -> None:
        client = await served.connect()
        for _ in range(2):
            answer = await client.ask(GET)
            assert answer.status == status
            assert "content-length" not in answer.headers

    serving(handler, check)


@pytest.mark.parametrize(
    ("request_bytes", "connection"),
    [
        (b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", "close"),
        (b"GET / HTTP/1.0\r\n\r\n", "close"),
    ],
)
def test_a_client_that_wants_the_end_gets_it(request_bytes: bytes, connection: str) -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        answer = await client.ask(request_bytes)
        assert answer.headers["connection"] == connection
        assert await client.closed()

    serving(echo, check)


def test_http_1_0_may_keep_the_connection() -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        for _ in range(2):
            answer = await client.ask(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            assert answer.headers["connection"] == "keep-alive"
            assert answer.headers["x-version"] == "1.0"

    serving(echo, check)


def test_a_client_that_expects_100_is_told_to_go_on() -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(b"PUT / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        assert (await client.read_head())[0] == 100
        assert (await client.ask(b"abc")).body == b"abc"
        # A client that does not wait is not told.
        answer = await client.ask(b"PUT / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc")
        assert answer.status == 200

    serving(echo, check)


def test_a_body_that_will_be_refused_is_not_asked_for() -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        answer = await client.ask(b"PUT / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2000\r\n\r\n")
        assert answer.status == 413
        client.writer.write_eof()
        assert await client.closed()

    serving(echo, check, Limits(body_max=1000))


@both_loops
def test_an_offered_upgrade_is_passed_over_with_and_without_a_body(loop: str) -> None:
    offer = b"host: h\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"

    async def check(served: Served) -> None:
        client = await served.connect()
        assert (await client.ask(b"GET /a HTTP/1.1\r\n" + offer + b"\r\n")).headers["x-target"] == "/a?"
        answer = await client.ask(b"POST /b HTTP/1.1\r\n" + offer + b"content-length: 3\r\n\r\nabc" + GET)
        assert (answer.headers["x-target"], answer.body) == ("/b?", b"abc")
        assert (await client.read()).headers["x-method"] == "GET"
        head = b"POST /c HTTP/1.1\r\n" + offer + b"transfer-encoding: chunked\r\n\r\n"
        await client.send(head)
        assert (await client.ask(b"3\r\nabc\r\n0\r\n\r\n")).body == b"abc"
        assert (await client.ask(GET)).status == 200

    serving(echo, check, loop=loop)


def test_a_target_in_absolute_form_is_a_path_and_a_host() -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.ask(b"GET http://a.test:80/x/y?z=1 HTTP/1.1\r\nhost: b.test\r\n\r\n")
        await client.ask(b"GET http://a.test?z=1 HTTP/1.1\r\nhost: b.test\r\n\r\n")
        await client.ask(b"OPTIONS * HTTP/1.1\r\nhost: b.test\r\n\r\n")
        assert [(r.path, r.query, r.headers["host"]) for r in seen] == [
            ("/x/y", "z=1", "a.test:80"),
            ("/", "z=1", "a.test"),
            ("*", "", "b.test"),
        ]

    serving(handler, check)


def test_headers_come_in_lower_case_joined_and_trimmed() -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    async def check(served: Served) -> None:
        await served.ask(
            b"GET / HTTP/1.1\r\nHost:h\r\nX-A: 1 \t\r\nx-a:2\r\nCookie: a=1\r\nCOOKIE: b=2\r\nx-empty:\r\nx-b: \xe9\r\n\r\n"
        )
        assert seen[0].headers == {"host": "h", "x-a": "1,2", "cookie": "a=1; b=2", "x-empty": "", "x-b": "\xe9"}
        assert seen[0].peer == "127.0.0.1"
        assert seen[0].door == "front"

    serving(handler, check, door="front")


# ---- streaming


@both_loops
def test_a_stream_goes_out_in_chunks_no_faster_than_it_is_read(loop: str) -> None:
    made = 0
    piece = b"x" * 65536
    pieces = 400

    async def handler(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            nonlocal made
            for _ in range(pieces):
                made += 1
                yield piece

        return Response(200, chunks())

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(GET)
        # The client reads nothing: the stream has to come to a halt by itself.
        before = -1
        while made != before:
            before = made
            await asyncio.sleep(0.05)
        assert 0 < made < pieces
        assert len((await client.read()).body) == pieces * len(piece)
        await client.send(GET)
        assert len((await client.read()).body) == pieces * len(piece)

    serving(handler, check, loop=loop)


def test_a_stream_to_http_1_0_ends_with_the_connection() -> None:
    async def handler(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"one"
            yield b""
            yield b"two"

        return Response(200, chunks())

    async def check(served: Served) -> None:
        answer = await served.ask(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        assert answer.body == b"onetwo"
        assert "transfer-encoding" not in answer.headers
        assert (await served.ask(GET)).body == b"onetwo"

    serving(handler, check)


def test_a_stream_that_fails_is_cut_off_before_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"one"
            raise RuntimeError("broken inside")

        return Response(200, chunks())

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(GET)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.read()

    with caplog.at_level(logging.ERROR, "lambent.httpd"):
        serving(handler, check)
    assert "broken inside" in caplog.text


def test_a_stream_ends_when_its_client_has_gone() -> None:
    ended = asyncio.Event()

    async def handler(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
            finally:
                ended.set()

        return Response(200, chunks())

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(GET)
        await client.reader.readexactly(1000)
        client.writer.transport.abort()
        await ended.wait()

    serving(handler, check)


# ---- mistakes and disconnects


def test_an_error_answers_500_with_the_id_of_its_log_line(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Response:
        raise RuntimeError("inner text")

    async def check(served: Served) -> None:
        client = await served.connect()
        for _ in range(2):
            answer = await client.ask(GET)
            assert answer.status == 500
            told = json.loads(answer.body)
            assert told["message"] == "Internal Server Error"
            assert f"error {told['errorId']}" in caplog.text
            assert "inner text" not in answer.body.decode()
        assert "inner text" in caplog.text

    with caplog.at_level(logging.ERROR, "lambent.httpd"):
        serving(handler, check)


@pytest.mark.parametrize(
    "headers", [[("x", "1\r\nset-cookie: evil=1")], [("x\n", "1")], [("x", "1\0")], [("x", "1\n"), ("y", "2")]]
)
def test_a_header_that_would_split_the_response_is_an_error(
    headers: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: Request) -> Response:
        return Response(200, b"", headers)

    async def check(served: Served) -> None:
        answer = await served.ask(GET)
        assert answer.status == 500
        assert "set-cookie" not in answer.headers

    with caplog.at_level(logging.CRITICAL, "lambent.httpd"):
        serving(handler, check)


def test_framing_headers_of_a_door_are_not_sent_twice() -> None:
    async def handler(request: Request) -> Response:
        return Response(
            200, b"ab", [("Content-Length", "7"), ("Transfer-Encoding", "chunked"), ("Date", "x"), ("X", "ü€")]
        )

    async def check(served: Served) -> None:
        client = await served.connect()
        for _ in range(2):
            answer = await client.ask(GET)
            assert answer.body == b"ab"
            assert answer.headers["x"].encode("latin-1").decode() == "ü€"

    serving(handler, check)


@both_loops
def test_a_call_whose_client_has_gone_runs_to_its_end(loop: str) -> None:
    began = asyncio.Event()
    goes_on = asyncio.Event()
    ended = asyncio.Event()

    async def handler(request: Request) -> Response:
        if request.path == "/slow":
            began.set()
            await goes_on.wait()
            ended.set()
        return Response(200)

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(b"GET /slow HTTP/1.1\r\nhost: h\r\n\r\n")
        await began.wait()
        client.writer.transport.abort()
        assert (await served.ask(GET)).status == 200
        goes_on.set()
        await ended.wait()

    serving(handler, check, loop=loop)


@both_loops
def test_a_client_that_has_closed_its_half_gets_its_answers(loop: str) -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(200, request.path.encode())

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(b"GET /1 HTTP/1.1\r\nhost: h\r\n\r\nGET /2 HTTP/1.1\r\nhost: h\r\n\r\n")
        client.writer.write_eof()
        assert (await client.read()).body == b"/1"
        assert (await client.read()).body == b"/2"
        assert await client.closed()

    serving(handler, check, loop=loop)


def test_code_inside_a_call_has_a_current_task_with_timeouts_and_groups() -> None:
    async def handler(request: Request) -> Response:
        assert asyncio.current_task() is not None
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            pass
        async with asyncio.TaskGroup() as group:
            number = group.create_task(asyncio.sleep(0, 7))
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.wait_for(asyncio.Event().wait(), 0.001))
                await asyncio.Event().wait()
        return Response(200, str(await asyncio.wait_for(number, 1)).encode())

    async def check(served: Served) -> None:
        client = await served.connect()
        for _ in range(2):
            assert (await client.ask(GET)).body == b"7"

    serving(handler, check)


# ---- bounds


REFUSED = [
    (b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"a" * 5000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nhost: h\r\n" + b"a: b\r\n" * 40 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"a" * 300_000, 431),
    (b"GET /" + b"a" * 1200 + b" HTTP/1.1\r\nhost: h\r\n\r\n", 414),
    (b"GET /" + b"a" * 300_000, 414),
    (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10001\r\n\r\n", 413),
    (b"POST /small HTTP/1.1\r\nhost: h\r\ncontent-length: 101\r\n\r\n", 413),
    (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999999999999\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2712\r\n" + b"a" * 10_002, 413),
    (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n" + b"1;" + b"x" * 500_000, 413),
    (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 50 + b"\r\n", 431),
    (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: " + b"a" * 500_000, 413),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nhost: a\r\n: x\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nabc", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3, 3\r\n\r\nabc", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x3\r\n\r\nabc", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\nabc", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400),
    (b"POST / HTTP/1.1\r\nhost: a\r\nexpect: miracles\r\ncontent-length: 3\r\n\r\n", 417),
    (b"GET relative HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    (b"GET ftp://a/b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    (b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", 501),
    (b"BREW / HTTP/1.1\r\nhost: a\r\n\r\n", 501),
    (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
    (b"GET / HTTP/1.7\r\nhost: a\r\n\r\n", 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 505),
    (b"GET /\r\n\r\n", 505),
]


@both_loops
@pytest.mark.parametrize(("request_bytes", "status"), REFUSED, ids=[f"{s}-{b[:60]!r}" for b, s in REFUSED])
def test_what_is_malformed_or_too_large_is_refused_and_the_connection_closed(
    request_bytes: bytes, status: int, loop: str
) -> None:
    reached: list[Request] = []

    async def handler(request: Request) -> Response:
        reached.append(request)
        return Response(200)

    async def check(served: Served) -> None:
        for before in (b"", GET):
            client = await served.connect()
            try:
                await client.send(before + request_bytes)
            except ConnectionResetError:
                raise AssertionError("cut off before the answer could be read") from None
            if before:
                assert (await client.read()).status == 200
            answer = await client.read()
            assert answer.status == status, answer
            assert answer.headers["connection"] == "close"
            assert set(json.loads(answer.body)) == {"message"}
            client.writer.write_eof()
            assert await client.closed()
        assert len(reached) == 1
        assert (await served.ask(GET)).status == 200

    limits = Limits(
        header_max=4096,
        target_max=1024,
        headers_max=32,
        body_max=10_000,
        body_max_of=lambda path, door: 100 if path == "/small" else 10_000,
    )
    serving(handler, check, limits, loop=loop)


@pytest.mark.parametrize(
    ("hello", "told"), [(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"), (b"\0\0", "malformed")]
)
def test_a_client_that_speaks_something_else_is_told(hello: bytes, told: str) -> None:
    async def check(served: Served) -> None:
        answer = await served.ask(hello)
        assert answer.status == 400
        assert told in answer.body.decode()

    serving(echo, check)


@both_loops
def test_a_refusal_is_seen_by_a_client_that_sends_all_before_it_reads(loop: str) -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        size = 8_000_000
        await client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
        assert (await client.read()).status == 413

    serving(echo, check, Limits(body_max=1000), loop=loop)


def test_a_slow_head_and_a_slow_body_are_answered_408() -> None:
    async def check(served: Served) -> None:
        for start in (
            b"GET / HT",
            b"GET / HTTP/1.1\r\nhost: h\r\nx: ",
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\na",
        ):
            client = await served.connect()
            answer = await client.ask(start)
            assert answer.status == 408
            assert answer.headers["connection"] == "close"

    serving(echo, check, Limits(header_seconds=0.1, body_seconds=0.1))


def test_dripping_header_bytes_do_not_extend_the_time() -> None:
    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1\r\nhost: h\r\nx: ")

        async def drip() -> None:
            while True:
                await client.send(b"a")
                await asyncio.sleep(0.01)

        dripping = asyncio.ensure_future(drip())
        assert (await client.read()).status == 408
        dripping.cancel()

    serving(echo, check, Limits(header_seconds=0.3))


def test_an_idle_connection_is_closed_without_a_word() -> None:
    async def check(served: Served) -> None:
        fresh = await served.connect()
        used = await served.connect()
        assert (await used.ask(GET)).status == 200
        empty = await served.connect()
        await empty.send(b"\r\n")
        for client in (fresh, used, empty):
            assert await client.closed()

    serving(echo, check, Limits(idle_seconds=0.2))


def test_a_running_call_is_not_idle() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.5)
        return Response(200)

    async def check(served: Served) -> None:
        assert (await served.ask(GET)).status == 200

    serving(handler, check, Limits(idle_seconds=0.05, header_seconds=0.05, body_seconds=0.05))


def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    async def handler(request: Request) -> Response:
        return Response(200, b"x" * 30_000_000)

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(GET)
        while served.server.connections:
            await asyncio.sleep(0.01)

    serving(handler, check, Limits(write_seconds=0.2))


def test_one_connection_too_many_is_told_so() -> None:
    async def check(served: Served) -> None:
        first = await served.connect()
        assert (await first.ask(GET)).status == 200
        second = await served.connect()
        assert (await second.read()).status == 503
        second.close()
        assert (await first.ask(GET)).status == 200
        first.close()
        while served.server.connections:
            await asyncio.sleep(0.01)
        assert (await served.ask(GET)).status == 200

    serving(echo, check, Limits(connections_max=1))


def test_a_client_that_pipelines_without_end_is_held_back() -> None:
    goes_on = asyncio.Event()

    async def handler(request: Request) -> Response:
        await goes_on.wait()
        return Response(200)

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(GET)
        # As much as the kernel and the loop take; then sending has to block.
        flood = GET * 1000
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await client.send(flood)
                    sent += len(flood)
        [connection] = served.server.connections
        assert len(connection._held) < 2_000_000
        client.writer.transport.abort()
        goes_on.set()

    serving(handler, check)


# ---- sockets and the end


@both_loops
def test_a_unix_domain_socket_is_served(tmp_path: Path, loop: str) -> None:
    path = str(tmp_path / "s")

    async def handler(request: Request) -> Response:
        return Response(200, request.peer.encode())

    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()

    async def check(served: Served) -> None:
        assert served.server.port == 0
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read(-1)).endswith(b"127.0.0.1")
        writer.close()

    serving(handler, check, loop=loop, sock=sock)


def test_a_port_in_use_is_told_with_the_setting_that_changes_it() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"port {port} on 127.0.0.1 is in use.*--http-port"):
            listen("127.0.0.1", port, setting="--http-port")
    with pytest.raises(SettingsError, match=r"no address 192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    with pytest.raises(SettingsError, match="cannot listen on"):
        listen("no.such.host.invalid", 0)


@both_loops
def test_closing_lets_running_calls_end_and_no_other_begin(loop: str) -> None:
    began = asyncio.Event()
    goes_on = asyncio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        await goes_on.wait()
        return Response(200, b"done")

    async def check(served: Served) -> None:
        idle = await served.connect()
        busy = await served.connect()
        await busy.send(GET + GET)
        await began.wait()
        closing = asyncio.ensure_future(served.server.close(10))
        assert await idle.closed()
        with pytest.raises(OSError):
            await served.connect()
        goes_on.set()
        answer = await busy.read()
        assert (answer.body, answer.headers["connection"]) == (b"done", "close")
        assert await busy.closed()
        await closing

    serving(handler, check, loop=loop)


@both_loops
def test_closing_cancels_what_outlasts_the_grace(loop: str) -> None:
    began = asyncio.Event()
    cancelled = asyncio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError("not reached")

    async def check(served: Served) -> None:
        client = await served.connect()
        await client.send(GET)
        await began.wait()
        await served.server.close(0)
        assert cancelled.is_set()
        assert await client.closed()
        assert not served.server.connections

    serving(handler, check, loop=loop)


def test_two_servers_share_a_loop() -> None:
    async def other(request: Request) -> Response:
        return Response(201)

    async def check(served: Served) -> None:
        second = await serve(other, sock=listen("127.0.0.1", 0), limits=Limits())
        assert second.port != served.server.port
        other_served = Served(second)
        assert (await other_served.ask(GET)).status == 201
        other_served.clients[0].close()
        await second.close(0)
        assert (await served.ask(GET)).status == 200

    serving(echo, check)
