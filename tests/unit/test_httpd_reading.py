"""The reader without a socket: however the bytes are cut, the same requests come out, and nothing makes it raise."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.httpd.limits import Limits
from lambent.httpd.messages import Request
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
