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
def test_closing_cancels_what_outlasts_the_grace_and_answers_it(loop: str, caplog: pytest.LogCaptureFixture) -> None:
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
        assert (await client.read()).status == 503
        assert await client.closed()
        assert not served.server.connections

    serving(handler, check, loop=loop)
    assert not caplog.records


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
