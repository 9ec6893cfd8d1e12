"""The frame protocol as values: cutting, bounds, hostile bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.runtimes import frames
from lambent.runtimes.frames import Frame, FrameError, FrameReader, Kind

LIMIT = 1000


def raw(
    kind: int, meta: bytes = b"", payload: bytes = b"", length: int | None = None, meta_length: int | None = None
) -> bytes:
    length = len(meta) + len(payload) if length is None else length
    meta_length = len(meta) if meta_length is None else meta_length
    return length.to_bytes(4, "big") + bytes((kind,)) + meta_length.to_bytes(3, "big") + meta + payload


def test_encoded_frame_has_length_kind_and_meta_length_in_front() -> None:
    assert frames.encode(Kind.INVOKE, {"id": "a"}, b"\x00raw") == (
        b"\x00\x00\x00\x0e" + b"\x02" + b"\x00\x00\x0a" + b'{"id":"a"}' + b"\x00raw"
    )


def test_frame_without_meta_and_payload_is_its_header() -> None:
    assert frames.encode(Kind.STARTED) == b"\x00\x00\x00\x00\x11\x00\x00\x00"


def test_invoke_meta_leaves_out_what_is_empty() -> None:
    meta = frames.encode(Kind.INVOKE, frames.Invoke("r", 5, "arn"))[8:]
    assert json.loads(meta) == {"id": "r", "deadline_ms": 5, "arn": "arn"}


def test_meta_past_its_bound_is_refused() -> None:
    with pytest.raises(FrameError, match="INIT"):
        frames.encode(Kind.INIT, {"x": "y" * (frames.META_MAX + 1)})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(frames.FROM_GUEST)),
            st.sampled_from([b"", b'{"type":"x"}']),
            st.binary(max_size=LIMIT),
        ),
        max_size=6,
    ),
    st.lists(st.integers(1, 200), max_size=40),
)
def test_frames_come_out_whole_however_the_stream_is_cut(
    sent: list[tuple[Kind, bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(raw(kind, meta, payload) for kind, meta, payload in sent)
    reader = FrameReader(LIMIT)
    got: list[Frame] = []
    for cut in [*cuts, len(stream) + 1]:
        got += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert got == [Frame(kind, meta, payload, len(payload)) for kind, meta, payload in sent]


@given(st.lists(st.integers(1, 700), max_size=20))
def test_oversize_result_is_counted_and_the_next_frame_is_read(cuts: list[int]) -> None:
    stream = raw(Kind.RESULT, b'{"a":1}', b"x" * (LIMIT + 1)) + raw(Kind.RESULT, b"", b"ok")
    reader = FrameReader(LIMIT)
    got: list[Frame] = []
    for cut in [*cuts, len(stream)]:
        got += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert got == [
        Frame(Kind.RESULT, b'{"a":1}', b"", LIMIT + 1, True),
        Frame(Kind.RESULT, b"", b"ok", 2),
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (raw(0), "unknown kind 0"),
        (raw(Kind.INVOKE), "unknown kind 2"),
        (raw(255), "unknown kind 255"),
        (raw(Kind.CHUNK), "unknown kind 23"),
        (raw(Kind.RESULT, meta_length=5), "meta has 5 of 0"),
        (raw(Kind.RESULT, length=1 << 30, meta_length=frames.META_MAX + 1), "meta"),
        (raw(Kind.LOG, length=LIMIT + 1), "LOG frame of 1001 bytes"),
        (raw(Kind.STARTED, length=0xFFFFFFFF), "STARTED frame"),
    ],
)
def test_broken_header_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        FrameReader(LIMIT).feed(data)


@given(st.binary(max_size=300))
def test_any_bytes_give_frames_or_a_frame_error(data: bytes) -> None:
    reader = FrameReader(LIMIT)
    try:
        for frame in reader.feed(data):
            assert frame.kind in frames.FROM_GUEST
    except FrameError:
        pass


@pytest.mark.parametrize("meta", [b"[]", b"{", b'{"type": 5}', b'{"type": "\xff"}'])
def test_meta_of_another_shape_is_an_error(meta: bytes) -> None:
    with pytest.raises(FrameError, match="ERROR"):
        frames.failure(Frame(Kind.ERROR, meta, b"", 0))


def test_failure_meta_may_be_left_out() -> None:
    assert frames.failure(Frame(Kind.ERROR, b"", b"{}", 2)) == frames.Failure("", False)
