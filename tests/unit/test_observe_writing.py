"""The hot path of logging, its bounds, and what a caller's tail holds; storing is scripted."""

import asyncio
import io
import json
import logging

import pytest

from lambent.clock import FixedClock
from lambent.observe.faults import InvalidEvents, LogsUnavailable, NotAllStored
from lambent.observe.function_log import FunctionLog
from lambent.observe.platform_log import JsonLines, TextLines
from lambent.observe.put_rules import admit, check_put
from lambent.observe.records import PutOutcome
from lambent.observe.writer import EVENT_CHARACTERS_MAX, Events, LogBuffer, LogWriter

DAY_MS = 86_400_000


class Shelf:
    """Takes events as the log store does; `failures` are raised first."""

    def __init__(self, *failures: Exception) -> None:
        self.stored: list[tuple[str, Events]] = []
        self.failures = list(failures)

    async def append(self, account: str, group: str, stream: str, events: Events) -> None:
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, NotAllStored):
                self.stored.append((stream, events[: failure.stored]))
            raise failure
        self.stored.append((stream, events))

    @property
    def messages(self) -> list[str]:
        return [message for _, events in self.stored for _, message in events]


def _buffer(shelf: Shelf, size_max: int = 1_000_000) -> LogBuffer:
    return LogBuffer(shelf.append, FixedClock(), size_max)


def test_a_flush_stores_the_events_of_each_stream_together() -> None:
    async def main() -> None:
        shelf = Shelf()
        buffer = _buffer(shelf)
        one, two = LogWriter(buffer, "a", "g", "one"), LogWriter(buffer, "a", "g", "two")
        for number in range(3):
            one.write(f"1-{number}\n", number)
            two.write(f"2-{number}\n", number)
        await buffer.flush()
        await buffer.flush()
        assert shelf.stored == [
            ("one", [(0, "1-0\n"), (1, "1-1\n"), (2, "1-2\n")]),
            ("two", [(0, "2-0\n"), (1, "2-1\n"), (2, "2-2\n")]),
        ]
        assert buffer.size == 0

    asyncio.run(main())


def test_the_task_flushes_by_itself_and_stop_stores_the_rest() -> None:
    async def main() -> None:
        shelf = Shelf()
        buffer = _buffer(shelf)
        buffer.start()
        writer = LogWriter(buffer, "a", "g", "s")
        writer.write("first\n", 0)
        async with asyncio.timeout(10):
            while not shelf.stored:
                await asyncio.sleep(0.005)
        writer.write("second\n", 0)
        await buffer.stop()
        assert shelf.messages == ["first\n", "second\n"]

    asyncio.run(main())


def test_a_full_buffer_drops_and_says_how_many() -> None:
    async def main() -> None:
        shelf = Shelf()
        buffer = _buffer(shelf, size_max=300)
        writer = LogWriter(buffer, "a", "g", "s")
        for number in range(10):
            writer.write("x" * 74, number)
        await buffer.flush()
        assert len(shelf.messages) == 4
        assert shelf.messages[3] == "[lambent] 7 log events were dropped: the log buffer was full\n"
        writer.write("again", 11)
        await buffer.flush()
        assert shelf.messages[4:] == ["again"]
        assert buffer.size == 0

    asyncio.run(main())


def test_events_wait_while_the_bus_is_gone_and_keep_their_order() -> None:
    async def main() -> None:
        shelf = Shelf(LogsUnavailable("gone"), NotAllStored("gone again", 1))
        buffer = _buffer(shelf)
        writer = LogWriter(buffer, "a", "g", "s")
        writer.write("1", 1)
        writer.write("2", 2)
        await buffer.flush()
        assert shelf.stored == []
        writer.write("3", 3)
        await buffer.flush()
        assert shelf.messages == ["1"]
        writer.write("4", 4)
        await buffer.flush()
        assert shelf.messages == ["1", "2", "3", "4"]
        assert buffer.size == 0

    asyncio.run(main())


def test_events_that_cannot_be_stored_do_not_hold_up_others(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        shelf = Shelf(ZeroDivisionError())
        buffer = _buffer(shelf)
        for name in ("bad", "good"):
            LogWriter(buffer, "a", "g", name).write(name, 0)
        await buffer.flush()
        assert shelf.messages == ["good"]
        assert buffer.size == 0

    asyncio.run(main())
    assert "1 log events of g could not be stored" in caplog.text


def test_a_very_long_event_is_cut() -> None:
    async def main() -> None:
        shelf = Shelf()
        buffer = _buffer(shelf)
        LogWriter(buffer, "a", "g", "s").write("x" * 2_000_000, 0)
        await buffer.flush()
        assert len(shelf.messages) == 1
        assert len(shelf.messages[0]) < EVENT_CHARACTERS_MAX
        assert shelf.messages[0].endswith("x\n")

    asyncio.run(main())


class Lines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, int]] = []

    def write(self, message: str, timestamp_ms: int) -> None:
        self.lines.append((message, timestamp_ms))


def test_a_tail_holds_what_was_written_since_it_began() -> None:
    lines = Lines()
    log = FunctionLog(lines, FixedClock(5))
    log.write("before\n")
    log.begin_tail()
    log.write("one\n")
    log.write("two\n")
    assert log.tail() == b"one\ntwo\n"
    log.write("after\n")
    assert log.tail() == b""
    assert [message for message, _ in lines.lines] == ["before\n", "one\n", "two\n", "after\n"]
    assert {time for _, time in lines.lines} == {5}


@pytest.mark.parametrize("character", ["x", "ü", "€", "😀"])
def test_a_long_tail_is_its_last_4_kb_cut_at_a_character(character: str) -> None:
    log = FunctionLog(Lines(), FixedClock())
    log.begin_tail()
    for _ in range(200):
        log.write(character * 1001 + "\n")
    tail = log.tail()
    assert 4092 < len(tail) <= 4096
    assert tail.decode().endswith(character + "\n")


def test_a_lone_surrogate_does_not_stop_the_tail() -> None:
    log = FunctionLog(Lines(), FixedClock())
    log.begin_tail()
    log.write("\ud800\n")
    assert log.tail() == b"?\n"


def test_put_takes_what_is_neither_too_old_nor_too_new() -> None:
    now = 100 * DAY_MS
    events = [(now - 15 * DAY_MS, "old"), (now - 4 * DAY_MS, "expired"), (now, "now"), (now + 3 * 3_600_000, "new")]
    accepted, outcome = admit(events, now, retention_days=3)
    assert accepted == [(now, "now")]
    assert outcome == PutOutcome(too_old_end=1, expired_end=2, too_new_start=3)
    assert admit([(now, "a")], now, 0) == ([(now, "a")], PutOutcome())


@pytest.mark.parametrize(
    "events",
    [
        [(2, "a"), (1, "b")],
        [(1, "x")] * 10_001,
        [(1, "x" * 1_048_551)],
        [(1, "ü" * 524_276)],
    ],
)
def test_put_refuses_disorder_and_too_much(events: Events) -> None:
    with pytest.raises(InvalidEvents):
        check_put(events)


def test_put_refuses_a_span_of_more_than_a_day() -> None:
    now = 100 * DAY_MS
    with pytest.raises(InvalidEvents, match="24 hours"):
        admit([(now - 2 * DAY_MS, "a"), (now, "b")], now, 0)


@pytest.mark.parametrize("formatter", [TextLines(), JsonLines()])
def test_a_line_of_the_platform_log_stays_one_line(formatter: logging.Formatter) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("lambent.bus")
    logger.addHandler(handler)
    logger.warning("two\nlines %d", 7, extra={"account": "1"})
    assert stream.getvalue().count("\n") == 1
    if isinstance(formatter, JsonLines):
        line = json.loads(stream.getvalue())
        assert (line["level"], line["room"], line["message"], line["account"]) == (
            "WARNING",
            "bus",
            "two\\nlines 7",
            "1",
        )
    else:
        assert stream.getvalue().endswith("WARNING bus: two\\nlines 7 account=1\n")
