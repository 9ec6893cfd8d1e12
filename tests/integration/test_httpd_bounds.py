"""Every bound and every refusal of the server, on both kinds of loop where the transport differs."""

import asyncio
import json

import pytest

from httpd_fixtures import LOOPS, Served, echo, serving
from lambent.httpd.limits import BodyBudget, Limits
from lambent.httpd.messages import Request, Response

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"

both_loops = pytest.mark.parametrize("loop", LOOPS)


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


@both_loops
def test_bodies_of_all_connections_together_are_bounded_and_give_back_what_they_took(loop: str) -> None:
    head = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 400000\r\n\r\n"

    async def check(served: Served) -> None:
        holders = [await served.connect() for _ in range(2)]
        for holder in holders:
            await holder.send(head + b"a" * 399_999)
        refused = await served.connect()
        answer = await refused.ask(head + b"a" * 399_999)
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        # A small body needs no room.
        assert (await served.ask(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc")).status == 200
        # One ends its request, one goes away: both give back.
        assert len((await holders[0].ask(b"a")).body) == 400_000
        holders[1].close()
        for _ in range(3):
            again = await served.connect()
            while (answer := await again.ask(head + b"a" * 400_000)).status == 503:
                again = await served.connect()
            assert answer.status == 200
        assert budget.take(1_000_000 - 1)
        budget.give_back(1_000_000 - 1)

    budget = BodyBudget(1_000_000)
    serving(echo, check, Limits(body_max=500_000, budget=budget), loop=loop)
    assert budget.take(1_000_000)
