"""Output becomes log events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.runtimes.output import EVENT_MARK, EVENT_MAX, EVENTS_MAX, OutputEvents


def marked(text: str) -> bytes:
    data = text.encode()
    return EVENT_MARK + len(data).to_bytes(4, "big") + data


def events_of(data: bytes) -> list[str]:
    output = OutputEvents()
    return output.feed(data) + output.flush()


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"", []),
        (b"one\n", ["one\n"]),
        (b"one\ntwo\n", ["one\n", "two\n"]),
        (b"no end", ["no end"]),
        (b"\n\n", ["\n", "\n"]),
        (b"a\rb\n", ["a\rb\n"]),
        (b"a\r\nb\n", ["a\r\n", "b\n"]),
        (b"bad \xff\xfe utf\n", ["bad \ufffd\ufffd utf\n"]),
        (marked("two\nlines\n"), ["two\nlines\n"]),
        (b"before\n" + marked("x\ny\n") + b"after\n", ["before\n", "x\ny\n", "after\n"]),
        (b"part " + marked("event\n") + b"rest\n", ["part ", "event\n", "rest\n"]),
        (marked(""), []),
        (EVENT_MARK + b"\xff\xff\xff\xff" + b"text\n", ["\ufffdLE\ufffd", "\ufffd\ufffd\ufffd\ufffdtext\n"]),
        (EVENT_MARK + b"\x00\x00\x00\x09cut", ["\ufffdLE\ufffd\0\0\0\tcut"]),
    ],
)
def test_output_is_cut_into_events(data: bytes, events: list[str]) -> None:
    assert events_of(data) == events


@given(st.lists(st.integers(1, 9), max_size=30))
def test_events_do_not_depend_on_how_the_pipe_was_read(cuts: list[int]) -> None:
    data = "größe\n".encode() + marked("a\nb\n") + b"tail \n" + marked("€\n") + b"end"
    output = OutputEvents()
    got: list[str] = []
    for cut in [*cuts, len(data)]:
        got += output.feed(data[:cut])
        data = data[cut:]
    assert got + output.flush() == ["größe\n", "a\nb\n", "tail \n", "€\n", "end"]


def test_long_line_is_cut_at_cloudwatchs_bound_between_characters() -> None:
    line = "é" * EVENT_MAX + "\n"
    events = events_of(b"x" + line.encode())
    assert "".join(events) == "x" + line
    assert all(len(event.encode()) <= EVENT_MAX for event in events)
    assert len(events) == 3


def test_line_without_end_is_not_held_past_the_bound() -> None:
    output = OutputEvents()
    events = output.feed(b"y" * (EVENT_MAX + 10))
    assert [len(event) for event in events] == [EVENT_MAX]
    assert output.flush() == ["y" * 10]


def test_a_flood_of_lines_keeps_every_line_in_a_bounded_number_of_events() -> None:
    data = b"".join(b"%d\n" % number for number in range(5000))
    events = OutputEvents().feed(data)
    assert len(events) == EVENTS_MAX
    assert "".join(events).encode() == data
