"""The stored queue on a real nats-server."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from nats.aio.msg import Msg

from lambent import settings
from lambent.bus import subjects
from lambent.bus.bus import Bus
from lambent.bus.work_queue import WorkQueue


def play(folder: Path, scenario: Callable[[WorkQueue], Awaitable[None]], ack_wait_seconds: float = 30.0) -> None:
    async def whole() -> None:
        bus = Bus(settings.load({"data_dir": str(folder), "nats_port": 0}, environment={}))
        await bus.start()
        try:
            queue = WorkQueue(bus.streams, subjects.ASYNC_STREAM, subjects.async_events(), ack_wait_seconds)
            await queue.open()
            await scenario(queue)
            await queue.close()
        finally:
            await bus.stop()

    asyncio.run(whole())


async def put(queue: WorkQueue, *payloads: bytes) -> None:
    for payload in payloads:
        await queue.put(subjects.async_event("1", "f"), payload, {"N": "1"})


def test_messages_come_in_order_with_their_headers_and_leave_when_acknowledged(tmp_path):
    async def scenario(queue: WorkQueue) -> None:
        await put(queue, b"a", b"b", b"c")
        taken = await queue.take(2) + await queue.take(2)
        assert [message.data for message in taken] == [b"a", b"b", b"c"]
        assert taken[0].headers["N"] == "1"
        for message in taken:
            await message.ack()

    play(tmp_path, scenario)


def test_a_message_that_is_put_back_comes_again_after_its_delay(tmp_path):
    async def scenario(queue: WorkQueue) -> None:
        await put(queue, b"again")
        (message,) = await queue.take(5)
        await message.nak(0.05)
        (message,) = await queue.take(5)
        assert message.data == b"again"
        await message.ack()

    play(tmp_path, scenario)


def test_a_message_whose_taker_went_away_is_delivered_again_also_after_a_restart(tmp_path):
    async def first(queue: WorkQueue) -> None:
        await put(queue, b"kept")
        (message,) = await queue.take(1)
        assert message.data == b"kept"

    async def second(queue: WorkQueue) -> None:
        (message,) = await queue.take(1)
        assert message.data == b"kept"
        await message.ack()

    play(tmp_path, first, ack_wait_seconds=0.2)
    play(tmp_path, second, ack_wait_seconds=0.2)


def test_a_taker_that_waits_gets_what_comes_later(tmp_path):
    async def scenario(queue: WorkQueue) -> None:
        waiting = asyncio.create_task(queue.take(3))
        await asyncio.sleep(0.05)
        await put(queue, b"late")
        (message,) = await waiting
        assert message.data == b"late"
        await message.ack()

    play(tmp_path, scenario)


def test_a_taker_that_is_cancelled_as_an_answer_comes_ends(tmp_path):
    async def scenario(queue: WorkQueue) -> None:
        async def take_for_ever() -> None:
            while True:
                await queue.take(1)

        task = asyncio.create_task(take_for_ever())
        while not queue._arrived._getters:
            await asyncio.sleep(0)
        queue._arrived.put_nowait(Msg(None, headers={"Status": "404"}))
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()

    play(tmp_path, scenario)
