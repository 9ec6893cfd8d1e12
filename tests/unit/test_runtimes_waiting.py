"""The waiter of a call: its waiter goes on at once, tasks and cancellation work as with any future."""

import asyncio

import pytest

from lambent.runtimes.waiting import Waiter


def test_the_awaiting_task_goes_on_within_the_callback_that_brings_the_result():
    async def scenario() -> list[str]:
        loop = asyncio.get_running_loop()
        waiter: Waiter[str] = Waiter(loop)
        order: list[str] = []

        async def wait() -> None:
            order.append(await waiter)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)

        def bring() -> None:
            waiter.set_result("result")
            order.append("after")

        loop.call_soon(bring)
        await task
        return order

    assert asyncio.run(scenario()) == ["result", "after"]


def test_a_result_that_another_task_brings_lets_that_task_go_on_first():
    async def scenario() -> list[str]:
        waiter: Waiter[str] = Waiter(asyncio.get_running_loop())
        order: list[str] = []

        async def wait() -> None:
            order.append(await waiter)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiter.set_result("result")
        order.append("first")
        await task
        return order

    assert asyncio.run(scenario()) == ["first", "result"]


def test_a_result_that_is_there_already_does_not_wait():
    async def scenario() -> int:
        waiter: Waiter[int] = Waiter(asyncio.get_running_loop())
        waiter.set_result(7)
        return await waiter

    assert asyncio.run(scenario()) == 7


def test_cancelling_the_task_cancels_the_waiter_and_a_late_result_is_not_expected():
    async def scenario() -> None:
        waiter: Waiter[int] = Waiter(asyncio.get_running_loop())

        async def wait() -> int:
            return await waiter

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waiter.done()
        assert waiter.cancelled()
        with pytest.raises(asyncio.CancelledError):
            waiter.result()

    asyncio.run(scenario())


def test_a_waiter_can_be_awaited_with_a_time_limit():
    async def scenario() -> None:
        waiter: Waiter[int] = Waiter(asyncio.get_running_loop())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiter, 0.01)  # type: ignore[arg-type]
        assert waiter.cancelled()

    asyncio.run(scenario())
