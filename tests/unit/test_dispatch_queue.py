"""Asynchronous events through the queue, over a store in memory."""

import asyncio

import pytest

from dispatch_fixtures import call, version
from lambent.clock import FixedClock
from lambent.dispatch import queue as queue_module
from lambent.dispatch.queue import HEADER, AsyncQueue, NotQueued, QueuedCall
from lambent.dispatch.retry import RetryRules
from lambent.errors import LambentError, NotReady
from lambent.functions.records import FunctionVersion
from lambent.invocation import Invocation, Outcome, OutcomeKind

RULES = RetryRules(attempts=3, waits_seconds=(60.0, 120.0))


class StoredMessage:
    def __init__(self, store: "MemoryStore", data: bytes, headers: dict[str, str]) -> None:
        self.store, self.data, self.headers = store, data, headers

    async def ack(self) -> None:
        self.store.acknowledged.append(self.data)

    async def nak(self, delay_seconds: float) -> None:
        self.store.delays.append(delay_seconds)
        self.store.waiting.put_nowait(self)

    async def in_progress(self) -> None:
        self.store.claims += 1


class MemoryStore:
    """Delivers again at once what is put back, and keeps the delay that was asked for."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[StoredMessage] = asyncio.Queue()
        self.acknowledged: list[bytes] = []
        self.delays: list[float] = []
        self.claims = 0
        self.broken = False

    async def put(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        if self.broken:
            raise NotReady("no bus")
        self.waiting.put_nowait(StoredMessage(self, payload, headers))

    async def take(self, most: int) -> list[StoredMessage]:
        return [await self.waiting.get()]


def play(outcomes: list[OutcomeKind], events: int = 1, gone: bool = False) -> tuple[MemoryStore, list[Invocation]]:
    """Enqueues events and runs until each was settled; `outcomes` are the ends of the tries in order."""
    seen: list[Invocation] = []

    def resolve(queued: QueuedCall) -> FunctionVersion:
        if gone:
            raise LambentError("gone")
        return version(queued.name)

    async def run(target: FunctionVersion, invocation: Invocation) -> Outcome:
        seen.append(invocation)
        return Outcome(outcomes[len(seen) - 1])

    async def scenario() -> MemoryStore:
        store = MemoryStore()
        queue = AsyncQueue(store, run, resolve, RULES, 2, FixedClock())
        for n in range(events):
            await queue.enqueue(version(), None, call(b"%d" % n, request_id=f"id-{n}"))
        queue.start()
        while len(store.acknowledged) < events:
            await asyncio.sleep(0.001)
        await queue.stop()
        assert len(asyncio.all_tasks()) == 1
        return store

    return asyncio.run(scenario()), seen


def test_an_event_runs_once_and_is_acknowledged_after_it_succeeded():
    store, seen = play([OutcomeKind.RESULT])
    assert (store.acknowledged, store.delays) == ([b"0"], [])
    assert (seen[0].request_id, seen[0].payload) == ("id-0", b"0")


def test_a_failing_event_is_tried_three_times_with_the_same_request_id():
    store, seen = play([OutcomeKind.FUNCTION_ERROR] * 3)
    assert store.delays == [60.0, 120.0]
    assert [invocation.request_id for invocation in seen] == ["id-0"] * 3


def test_throttles_do_not_use_up_the_tries_of_an_event():
    throttled, failed = OutcomeKind.THROTTLED, OutcomeKind.FUNCTION_ERROR
    store, _ = play([throttled, throttled, failed, throttled, failed, failed])
    assert store.delays == [1.0, 2.0, 60.0, 4.0, 120.0]


def test_many_events_are_all_settled():
    store, _ = play([OutcomeKind.RESULT] * 20, events=20)
    assert sorted(store.acknowledged) == sorted(b"%d" % n for n in range(20))


def test_an_event_of_a_deleted_function_is_dropped():
    store, seen = play([], gone=True)
    assert (store.acknowledged, seen) == ([b"0"], [])


def test_a_message_that_is_no_event_leaves_the_queue():
    async def scenario() -> None:
        store = MemoryStore()

        async def run(target: FunctionVersion, invocation: Invocation) -> Outcome:
            raise AssertionError

        queue = AsyncQueue(store, run, lambda queued: version(), RULES, 2, FixedClock())
        await store.put("s", b"junk", {HEADER: "{"})
        await store.put("s", b"bare", {})
        queue.start()
        while len(store.acknowledged) < 2:
            await asyncio.sleep(0.001)
        await queue.stop()

    asyncio.run(scenario())


def test_an_event_that_could_not_be_stored_is_not_accepted():
    async def scenario() -> None:
        store = MemoryStore()
        store.broken = True

        async def run(target: FunctionVersion, invocation: Invocation) -> Outcome:
            raise AssertionError

        queue = AsyncQueue(store, run, lambda queued: version(), RULES, 2, FixedClock())
        with pytest.raises(NotQueued, match="no bus"):
            await queue.enqueue(version(), None, call())

    asyncio.run(scenario())


class LossyStore(MemoryStore):
    """Answers the first cancellation with the event that waits, as `asyncio.wait_for` of Python 3.11 does when the two come
    together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taking = asyncio.Event()
        self.lost = 0

    async def take(self, most: int) -> list[StoredMessage]:
        self.taking.set()
        try:
            return await super().take(most)
        except asyncio.CancelledError:
            if self.lost:
                raise
            self.lost += 1
            return [self.waiting.get_nowait()]


def test_stop_ends_a_queue_that_lost_the_cancellation_and_the_event_that_it_took_instead():
    async def scenario() -> LossyStore:
        store = LossyStore()

        async def run(target: FunctionVersion, invocation: Invocation) -> Outcome:
            await asyncio.Event().wait()
            raise AssertionError

        queue = AsyncQueue(store, run, lambda queued: version(), RULES, 2, FixedClock())
        queue.start()
        await store.taking.wait()
        # Nobody has run since: the event is there, and what waits for it has not woken when the cancellation comes.
        await queue.enqueue(version(), None, call())
        async with asyncio.timeout(10):
            await queue.stop()
        assert len(asyncio.all_tasks()) == 1
        return store

    store = asyncio.run(scenario())
    assert (store.lost, store.acknowledged) == (1, [])


def test_claim_on_an_event_ends_before_the_event_is_settled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(queue_module, "CLAIM_SECONDS", 0.0)
    order: list[str] = []

    class Claimed(StoredMessage):
        async def in_progress(self) -> None:
            order.append("claim")
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                order.append("lost")

        async def ack(self) -> None:
            order.append("ack")
            await super().ack()

    async def scenario() -> None:
        store = MemoryStore()

        async def run(target: FunctionVersion, invocation: Invocation) -> Outcome:
            while order.count("claim") < 3:
                await asyncio.sleep(0)
            return Outcome(OutcomeKind.RESULT)

        queue = AsyncQueue(store, run, lambda queued: version(), RULES, 2, FixedClock())
        await queue.enqueue(version(), None, call())
        stored = store.waiting.get_nowait()
        store.waiting.put_nowait(Claimed(store, stored.data, stored.headers))
        queue.start()
        while not store.acknowledged:
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await queue.stop()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())
    assert order[-1] == "ack"
    assert "lost" in order
