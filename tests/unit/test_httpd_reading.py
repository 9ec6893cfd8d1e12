"""The reader without a socket: however the bytes are cut, the same requests come out, and nothing makes it raise."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.httpd.limits import Limits
from lambent.httpd.messages import Request, Response
from lambent.httpd.reading import RequestReader

LIMITS = Limits(header_max=4096, target_max=1024, headers_max=32, body_max=50_000)


def reader() -> RequestReader:
    return RequestReader(LIMITS, "127.0.0.1", "http", None, {})


def read(cuts: list[bytes]) -> tuple[list[Request], int | None]:
    """Feeds as a connection does: what was not looked at is fed again once the requests are taken."""
    subject = reader()
    taken: list[Request] = []
    for piece in cuts:
        rest = piece
        while rest and subject.refusal is None:
            rest = subject.feed(rest)
            while subject.requests:
                taken.append(subject.requests.popleft()[0])
    return taken, subject.refusal.status if subject.refusal else None


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(places) if end > begin]


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[n : n + size] for n in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


bodies = st.binary(max_size=40_000)
uploads = st.tuples(bodies, st.sampled_from(["length", "chunked", "none", "upgrade", "upgrade-chunked"]))


@settings(max_examples=150, deadline=None)
@given(st.lists(uploads, min_size=1, max_size=6), st.lists(st.integers(0, 10**6), max_size=12))
def test_requests_do_not_depend_on_how_their_bytes_are_cut(wanted: list[tuple[bytes, str]], at: list[int]) -> None:
    data = b""
    for number, (body, kind) in enumerate(wanted):
        data += b"POST /%d HTTP/1.1\r\nhost: h\r\nx-n: %d\r\n" % (number, number)
        if kind.startswith("upgrade"):
            data += b"connection: upgrade\r\nupgrade: h2c\r\n"
        if kind.endswith("chunked"):
            data += b"transfer-encoding: chunked\r\n\r\n" + chunked(body, 1 + len(body) // 5)
        elif kind == "none":
            data += b"\r\n"
        else:
            data += b"content-length: %d\r\n\r\n%b" % (len(body), body)
    requests, refused = read(cut(data, at))
    assert refused is None
    assert [request.path for request in requests] == [f"/{number}" for number in range(len(wanted))]
    assert [request.headers["x-n"] for request in requests] == [str(number) for number in range(len(wanted))]
    assert [request.body for request in requests] == [b"" if kind == "none" else body for body, kind in wanted]


_pieces = st.sampled_from(
    [b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\n", b"host: h\r\n", b"\r\n", b"content-length: 5\r\n", b"hello",
     b"transfer-encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"connection: upgrade\r\nupgrade: h2c\r\n",
     b"expect: 100-continue\r\n", b"connection: close\r\n", b"\0", b"PRI * HTTP/2.0\r\n\r\n", b"a" * 5000]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(_pieces, st.binary(max_size=20)), max_size=20), st.lists(st.integers(0, 10**6), max_size=6))
def test_no_bytes_make_the_reader_raise(pieces: list[bytes], at: list[int]) -> None:
    requests, refused = read(cut(b"".join(pieces), at))
    assert refused is None or 400 <= refused <= 505
    assert all(len(request.body) <= LIMITS.body_max for request in requests)


def test_a_refused_reader_takes_nothing_more() -> None:
    subject = reader()
    assert subject.feed(b"GARBAGE\r\n\r\n" + b"GET / HTTP/1.1\r\nhost: h\r\n\r\n") == b""
    assert subject.refusal is not None
    assert not subject.requests


def test_one_read_of_the_smallest_requests_is_parsed_a_piece_at_a_time() -> None:
    subject = reader()
    flood = b"GET / HTTP/1.1\r\nhost:\r\n\r\n" * 10_000
    rest = subject.feed(flood)
    assert 0 < len(subject.requests) < 1000
    assert len(rest) > len(flood) - 20_000


@pytest.mark.parametrize(
    ("framing", "body", "size"),
    [
        (b"content-length: 50001", b"", 50_001),
        (b"content-length: 99999999\r\nexpect: 100-continue", b"", 99_999_999),
        (b"transfer-encoding: chunked", chunked(b"a" * 60_000, 1000), 51_000),
        # As many bytes of framing as make it worth refusing, before the body is too large.
        (b"transfer-encoding: chunked", b"1;" + b"x" * 200_000, 0),
    ],
)
def test_door_answers_a_body_past_its_limit_once(framing: bytes, body: bytes, size: int) -> None:
    told: list[tuple[str, int]] = []

    def too_large(request: Request, size: int) -> Response:
        told.append((request.path, size))
        return Response(413, b"of the door")

    limits = Limits(header_max=4096, body_max=50_000, too_large=too_large)
    subject = RequestReader(limits, "127.0.0.1", "http", None, {})
    rest = b"POST /a HTTP/1.1\r\nhost: h\r\n" + framing + b"\r\n\r\n" + body
    while rest:
        rest = subject.feed(rest)
    assert told == [("/a", size)]
    assert subject.refusal is not None
    assert subject.refusal.body == b"of the door"


def test_door_is_not_asked_about_what_is_refused_for_another_reason() -> None:
    def too_large(request: Request, size: int) -> Response:
        raise AssertionError

    limits = Limits(body_max=50_000, too_large=too_large)
    subject = RequestReader(limits, "127.0.0.1", "http", None, {})
    subject.feed(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip\r\n\r\n")
    assert subject.refusal is not None
    assert subject.refusal.status == 501
