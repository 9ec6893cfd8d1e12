"""The log store on a real JetStream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bus_fixtures import bus_settings, running_bus
from lambent.bus.bus import Bus
from lambent.clock import Clock, FixedClock, SystemClock
from lambent.observe.faults import (
    InvalidPattern,
    InvalidToken,
    LogGroupExists,
    LogGroupMissing,
    LogStreamExists,
    LogStreamMissing,
)
from lambent.observe.logs import LogStore
from lambent.observe.records import Event
from lambent.state.memory import MemoryState

ACCOUNT = "123456789012"
GROUP = "/aws/lambda/hello"
STREAM = "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef"
DAY_MS = 86_400_000


@asynccontextmanager
async def _logs(
    bus: Bus, folder: Path, state: MemoryState | None = None, clock: Clock | None = None, **changes: Any
) -> AsyncIterator[LogStore]:
    settings = bus_settings(folder, log_bytes_max=16 * 1024 * 1024, **changes)
    logs = await LogStore.open(bus.streams, state or MemoryState(), settings, clock or SystemClock())
    try:
        yield logs
    finally:
        await logs.stop()


def _messages(events: list[Event]) -> list[str]:
    return [event.message for event in events]


def test_what_was_written_is_read_at_once_and_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        state = MemoryState()
        now_ms = SystemClock().now_ms()
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path, state) as logs:
            writer = logs.writer(ACCOUNT, GROUP, STREAM)
            writer.write("START\n", now_ms)
            writer.write("ü € 😀\n", now_ms + 1)
            page = await logs.read_stream(ACCOUNT, GROUP, STREAM)
            assert _messages(page.events) == ["START\n", "ü € 😀\n"]
            writer.write("END\n", now_ms + 2)
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path, state) as logs:
            page = await logs.read_stream(ACCOUNT, GROUP, STREAM)
            assert _messages(page.events) == ["START\n", "ü € 😀\n", "END\n"]
            logs.writer(ACCOUNT, GROUP, STREAM).write("more\n", now_ms + 3)
            (info,) = await logs.streams(ACCOUNT, GROUP)
            assert (info.name, info.first_event_ms, info.last_event_ms) == (STREAM, now_ms, now_ms + 3)
            assert info.created_ms <= (info.last_ingestion_ms or 0)

    asyncio.run(main())


def test_pages_forward_and_backward_show_every_event_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path) as logs:
            writer = logs.writer(ACCOUNT, GROUP, STREAM)
            noise = logs.writer(ACCOUNT, GROUP, "noise")
            now_ms = SystemClock().now_ms()
            expected = []
            for batch in range(23):
                for index in range(batch % 5 + 1):
                    expected.append(f"{batch}-{index}")
                    writer.write(expected[-1], now_ms + batch)
                noise.write("noise", now_ms)
                await logs.flush()
            for limit in (1, 3, 7, 64, 10_000):
                forward, token = [], ""
                while True:
                    page = await logs.read_stream(ACCOUNT, GROUP, STREAM, token=token, limit=limit, from_head=True)
                    assert len(page.events) <= limit
                    forward += _messages(page.events)
                    if page.forward_token == token:
                        break
                    token = page.forward_token
                assert forward == expected
                backward, token = [], ""
                while True:
                    page = await logs.read_stream(ACCOUNT, GROUP, STREAM, token=token, limit=limit)
                    assert len(page.events) <= limit
                    backward = _messages(page.events) + backward
                    if page.backward_token == token:
                        break
                    token = page.backward_token
                assert backward == expected
            last = await logs.read_stream(ACCOUNT, GROUP, STREAM, limit=2)
            back = await logs.read_stream(ACCOUNT, GROUP, STREAM, limit=2, token=last.backward_token)
            again = await logs.read_stream(ACCOUNT, GROUP, STREAM, limit=2, token=back.forward_token)
            assert again.events == last.events

    asyncio.run(main())


def test_the_time_range_of_a_stream_includes_its_start_and_excludes_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path) as logs:
            writer = logs.writer(ACCOUNT, GROUP, STREAM)
            now_ms = SystemClock().now_ms()
            for offset in range(10):
                writer.write(str(offset), now_ms + offset)
                await logs.flush()
            for from_head in (True, False):
                page = await logs.read_stream(
                    ACCOUNT, GROUP, STREAM, start_ms=now_ms + 3, end_ms=now_ms + 6, limit=2, from_head=from_head
                )
                assert _messages(page.events) == (["3", "4"] if from_head else ["4", "5"])
            found = await logs.filter(ACCOUNT, GROUP, start_ms=now_ms + 3, end_ms=now_ms + 6)
            assert _messages(found.events) == ["3", "4", "5", "6"]

    asyncio.run(main())


def test_a_search_finds_by_pattern_over_streams_in_pages(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path) as logs:
            now_ms = SystemClock().now_ms()
            for number in range(60):
                writer = logs.writer(ACCOUNT, GROUP, f"stream-{number % 3}")
                writer.write(f"{'ERROR' if number % 2 else 'fine'} {number}", now_ms + number)
                if number % 10 == 0:
                    await logs.flush()
            found, token = [], ""
            while True:
                page = await logs.filter(ACCOUNT, GROUP, pattern="ERROR", limit=7, token=token)
                found += page.events
                token = page.next_token
                if not token:
                    break
            assert sorted(_messages(found)) == sorted(f"ERROR {number}" for number in range(60) if number % 2)
            assert len({event.id for event in found}) == 30
            one = await logs.filter(ACCOUNT, GROUP, streams=["stream-1"], pattern="-fine")
            assert {event.stream for event in one.events} == {"stream-1"}
            assert len(one.events) == 10
            two = await logs.filter(ACCOUNT, GROUP, streams=["stream-1", "stream-2"])
            assert {event.stream for event in two.events} == {"stream-1", "stream-2"}
            assert len((await logs.filter(ACCOUNT, GROUP, prefix="stream-")).events) == 60
            assert (await logs.filter(ACCOUNT, GROUP, prefix="other")).events == []
            times = [event.timestamp_ms for event in (await logs.filter(ACCOUNT, GROUP)).events]
            assert times == sorted(times)

    asyncio.run(main())


def test_put_events_of_other_times_are_found_by_their_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path) as logs:
            await logs.create_group(ACCOUNT, "/mine")
            await logs.create_stream(ACCOUNT, "/mine", "s")
            now_ms = SystemClock().now_ms()
            await logs.put(ACCOUNT, "/mine", "s", [(now_ms - 10 * DAY_MS, "old")])
            await logs.put(ACCOUNT, "/mine", "s", [(now_ms + 3_600_000, "future")])
            old = await logs.filter(ACCOUNT, "/mine", start_ms=now_ms - 11 * DAY_MS, end_ms=now_ms - 9 * DAY_MS)
            assert _messages(old.events) == ["old"]
            future = await logs.filter(ACCOUNT, "/mine", start_ms=now_ms + 3_000_000)
            assert _messages(future.events) == ["future"]
            outcome = await logs.put(ACCOUNT, "/mine", "s", [(now_ms + 3 * 3_600_000, "too new")])
            assert outcome.too_new_start == 0

    asyncio.run(main())


def test_groups_and_streams_are_made_listed_and_deleted(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path) as logs:
            long_name = "/long/" + "x" * 506
            for name in ("/b", "/a/1", "/a/2", long_name):
                await logs.create_group(ACCOUNT, name)
            with pytest.raises(LogGroupExists):
                await logs.create_group(ACCOUNT, long_name)
            assert [group.name for group in await logs.groups(ACCOUNT)] == ["/a/1", "/a/2", "/b", long_name]
            assert [group.name for group in await logs.groups(ACCOUNT, "/a/")] == ["/a/1", "/a/2"]
            assert [group.name for group in await logs.groups(ACCOUNT, long_name)] == [long_name]
            assert await logs.groups("999999999999") == []
            await logs.create_stream(ACCOUNT, "/b", "two")
            await logs.create_stream(ACCOUNT, "/b", "one")
            with pytest.raises(LogStreamExists):
                await logs.create_stream(ACCOUNT, "/b", "one")
            now_ms = SystemClock().now_ms()
            await logs.put(ACCOUNT, "/b", "two", [(now_ms, "x")])
            infos = await logs.streams(ACCOUNT, "/b")
            assert [info.name for info in infos] == ["one", "two"]
            assert infos[0].last_event_ms is None and infos[0].last_ingestion_ms is None
            by_time = await logs.streams(ACCOUNT, "/b", by_last_event=True, descending=True)
            assert [info.name for info in by_time] == ["two", "one"]
            assert [info.name for info in await logs.streams(ACCOUNT, "/b", prefix="o")] == ["one"]
            assert await logs.stored_bytes(ACCOUNT, "/b") == 27
            await logs.delete_stream(ACCOUNT, "/b", "two")
            assert [info.name for info in await logs.streams(ACCOUNT, "/b")] == ["one"]
            await logs.create_stream(ACCOUNT, "/b", "two")
            assert (await logs.read_stream(ACCOUNT, "/b", "two")).events == []
            await logs.delete_group(ACCOUNT, "/b")
            with pytest.raises(LogGroupMissing):
                await logs.streams(ACCOUNT, "/b")
            await logs.create_group(ACCOUNT, "/b")
            assert await logs.streams(ACCOUNT, "/b") == []

    asyncio.run(main())


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path) as logs:
            with pytest.raises(LogGroupMissing):
                await logs.read_stream(ACCOUNT, "/x", "s")
            with pytest.raises(LogGroupMissing):
                await logs.filter(ACCOUNT, "/x")
            with pytest.raises(LogGroupMissing):
                await logs.delete_group(ACCOUNT, "/x")
            with pytest.raises(LogGroupMissing):
                await logs.set_retention(ACCOUNT, "/x", 1)
            await logs.create_group(ACCOUNT, "/x")
            with pytest.raises(LogStreamMissing):
                await logs.read_stream(ACCOUNT, "/x", "s")
            with pytest.raises(LogStreamMissing):
                await logs.put(ACCOUNT, "/x", "s", [(1, "a")])
            with pytest.raises(LogStreamMissing):
                await logs.delete_stream(ACCOUNT, "/x", "s")
            await logs.create_stream(ACCOUNT, "/x", "s")
            for token in ("x", "f/1", "f/-1/s", "c/1/s"):
                with pytest.raises(InvalidToken):
                    await logs.read_stream(ACCOUNT, "/x", "s", token=token)
            for token in ("x", "0-0", "-1-0"):
                with pytest.raises(InvalidToken):
                    await logs.filter(ACCOUNT, "/x", token=token)
            with pytest.raises(InvalidPattern):
                await logs.filter(ACCOUNT, "/x", pattern="[a]")

    asyncio.run(main())


def test_events_past_their_retention_are_hidden_and_removed(tmp_path: Path) -> None:
    async def main() -> None:
        state = MemoryState()
        now_ms = SystemClock().now_ms()
        async with running_bus(tmp_path) as bus:
            async with _logs(bus, tmp_path, state) as logs:
                for group in ("/kept", "/short"):
                    logs.writer(ACCOUNT, group, "s").write("x", now_ms)
                await logs.flush()
            async with _logs(bus, tmp_path, state, FixedClock(now_ms + 4 * DAY_MS)) as later:
                await later.set_retention(ACCOUNT, "/short", 5)
                assert len((await later.filter(ACCOUNT, "/short")).events) == 1
                await later.set_retention(ACCOUNT, "/short", 3)
                assert (await later.filter(ACCOUNT, "/short")).events == []
                assert await later.streams(ACCOUNT, "/short") == []
                assert len((await later.filter(ACCOUNT, "/kept")).events) == 1
                await later.set_retention(ACCOUNT, "/short", None)
                assert later.group(ACCOUNT, "/short").retention_days is None

    asyncio.run(main())


def test_the_default_retention_applies_where_a_group_has_none(tmp_path: Path) -> None:
    async def main() -> None:
        state = MemoryState()
        now_ms = SystemClock().now_ms()
        async with running_bus(tmp_path) as bus:
            async with _logs(bus, tmp_path, state) as logs:
                logs.writer(ACCOUNT, GROUP, "s").write("x", now_ms)
            async with _logs(bus, tmp_path, state, FixedClock(now_ms + 4 * DAY_MS), log_retention_days=3) as later:
                assert (await later.filter(ACCOUNT, GROUP)).events == []

    asyncio.run(main())


def test_two_nodes_that_write_one_stream_lose_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        state = MemoryState()
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path, state) as one, _logs(bus, tmp_path, state) as two:
            now_ms = SystemClock().now_ms()

            async def write(logs: LogStore, name: str) -> None:
                writer = logs.writer(ACCOUNT, GROUP, STREAM)
                for number in range(30):
                    writer.write(f"{name}{number}", now_ms)
                    await logs.flush()

            await asyncio.gather(write(one, "a"), write(two, "b"))
            for store in (one, two):
                await store.flush()
            events = []
            token = ""
            while True:
                page = await one.read_stream(ACCOUNT, GROUP, STREAM, from_head=True, limit=7, token=token)
                events += _messages(page.events)
                if page.forward_token == token:
                    break
                token = page.forward_token
            assert sorted(events) == sorted([f"{name}{number}" for name in "ab" for number in range(30)])

    asyncio.run(main())


def test_events_written_while_the_server_is_gone_are_stored_once_when_it_is_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path) as logs:
            assert bus.server is not None and bus.server._process is not None
            writer = logs.writer(ACCOUNT, GROUP, STREAM)
            now_ms = SystemClock().now_ms()
            expected = [str(number) for number in range(50)]
            for number in expected[:10]:
                writer.write(number, now_ms)
            await logs.flush()
            bus.server._process.terminate()
            for number in expected[10:]:
                writer.write(number, now_ms)
                await asyncio.sleep(0.005)
            async with asyncio.timeout(30):
                while logs._buffer.size:
                    await asyncio.sleep(0.05)
            assert _messages((await logs.read_stream(ACCOUNT, GROUP, STREAM)).events) == expected

    asyncio.run(main())


def test_the_oldest_events_go_when_the_bound_is_reached(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus:
            settings = bus_settings(tmp_path, log_bytes_max=1024 * 1024)
            logs = await LogStore.open(bus.streams, MemoryState(), settings, SystemClock())
            writer = logs.writer(ACCOUNT, GROUP, STREAM)
            now_ms = SystemClock().now_ms()
            for number in range(40):
                writer.write(f"{number} " + "x" * 60_000, now_ms + number)
                await logs.flush()
            first = await logs.read_stream(ACCOUNT, GROUP, STREAM, from_head=True, limit=1)
            last = await logs.read_stream(ACCOUNT, GROUP, STREAM, limit=1)
            assert int(first.events[0].message.split()[0]) > 10
            assert last.events[0].message.startswith("39 ")
            (info,) = await logs.streams(ACCOUNT, GROUP)
            assert info.first_event_ms == now_ms
            await logs.stop()

    asyncio.run(main())


def test_a_tail_shows_events_as_they_are_stored(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path) as logs:
            await logs.create_group(ACCOUNT, GROUP)
            seen: list[str] = []

            async def follow() -> None:
                async for event in logs.tail(ACCOUNT, GROUP, "-boring"):
                    seen.append(event.message)

            task = asyncio.create_task(follow())
            writer = logs.writer(ACCOUNT, GROUP, STREAM)
            async with asyncio.timeout(10):
                while len(set(seen)) < 2:
                    for message in ("a", "boring", "b"):
                        writer.write(message, SystemClock().now_ms())
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert set(seen) == {"a", "b"}

    asyncio.run(main())


def test_a_group_with_very_many_streams_is_listed_whole(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_bus(tmp_path) as bus, _logs(bus, tmp_path) as logs:
            for number in range(2100):
                logs.writer(ACCOUNT, GROUP, f"{number:05}").write("x", 1_800_000_000_000)
            assert [info.name for info in await logs.streams(ACCOUNT, GROUP)] == [
                f"{number:05}" for number in range(2100)
            ]

    asyncio.run(main())
