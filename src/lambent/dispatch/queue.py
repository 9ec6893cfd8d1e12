"""Asynchronous calls: stored before they are acknowledged, run at least once, retried on AWS's schedule.

One JetStream work queue for all functions. An event stays in it until its call succeeded or was given up; a node that dies
leaves its events to be delivered again after `ACK_WAIT_SECONDS`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from lambent.bus import subjects
from lambent.bus.faults import JetStreamError
from lambent.bus.tasks import end_task
from lambent.clock import Clock
from lambent.dispatch.retry import Action, RetryRules, next_step
from lambent.errors import LambentError, NotReady
from lambent.functions.records import FunctionVersion
from lambent.invocation import Invocation, Outcome, OutcomeKind

logger = logging.getLogger("lambent.dispatch")

HEADER = "Lambent-Call"
#: An event that is being run is claimed again this often, and is given to another node when it was not for ACK_WAIT.
CLAIM_SECONDS = 10.0
ACK_WAIT_SECONDS = 30.0
#: How many failed tries are remembered per node; past it the oldest are forgotten and such an event gets more tries.
TRIES_REMEMBERED = 100_000
#: Pause after the bus failed to give events.
BUS_PAUSE_SECONDS = 1.0


class NotQueued(NotReady):
    """The bus did not confirm that the event is stored; the caller must not be told that it was accepted."""


class QueuedCall(msgspec.Struct, frozen=True, kw_only=True):
    """What travels beside the payload."""

    request_id: str
    account: str
    region: str
    name: str
    #: As the caller gave it, resolved anew at each try; None is $LATEST.
    qualifier: str | None
    invoked_arn: str
    trace_id: str
    accepted_ms: int


class Message(Protocol):
    """One delivery of a stored event."""

    data: bytes
    headers: Mapping[str, str]

    async def ack(self) -> None: ...

    async def nak(self, delay_seconds: float) -> None: ...

    async def in_progress(self) -> None: ...


class Store(Protocol):
    """The stored queue; `bus.work_queue.WorkQueue` is real."""

    async def put(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        """On disk when it returns. Raises `NotReady`."""

    async def take(self, most: int) -> Sequence[Message]:
        """Waits for events, a few seconds at most; may be empty. Raises `NotReady`."""


Run = Callable[[FunctionVersion, Invocation], Awaitable[Outcome]]
Resolve = Callable[[QueuedCall], FunctionVersion]


class AsyncQueue:
    """Accepts events and runs them. `resolve` finds the version (raises `LambentError`), `run` is the dispatcher."""

    def __init__(
        self, store: Store, run: Run, resolve: Resolve, rules: RetryRules, in_flight_max: int, clock: Clock
    ) -> None:
        self._store = store
        self._run = run
        self._resolve = resolve
        self._rules = rules
        self._clock = clock
        self._free = asyncio.Semaphore(in_flight_max)
        self._in_flight_max = in_flight_max
        self._tries: dict[str, tuple[int, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None

    async def enqueue(self, version: FunctionVersion, qualifier: str | None, invocation: Invocation) -> None:
        """Stores the event; on disk when it returns. Raises `NotQueued`."""
        call = QueuedCall(
            request_id=invocation.request_id,
            account=version.account,
            region=version.region,
            name=version.name,
            qualifier=qualifier,
            invoked_arn=invocation.invoked_arn,
            trace_id=invocation.trace_id,
            accepted_ms=self._clock.now_ms(),
        )
        subject = subjects.async_event(version.account, version.name)
        try:
            await self._store.put(subject, invocation.payload, {HEADER: msgspec.json.encode(call).decode()})
        except (NotReady, JetStreamError) as error:
            raise NotQueued(f"the event was not stored: {error}") from error

    def start(self) -> None:
        self._loop_task = asyncio.create_task(self._consume())

    async def stop(self) -> None:
        """Ends; events that still run stay in the queue and are delivered again. Idempotent."""
        if self._loop_task is not None:
            # First: until it has ended it may take further events.
            await end_task(self._loop_task)
        await asyncio.gather(*(end_task(task) for task in self._tasks))

    async def _consume(self) -> None:
        while True:
            await self._free.acquire()
            self._free.release()
            room = self._in_flight_max - len(self._tasks)
            try:
                messages = await self._store.take(max(1, room))
            except (NotReady, JetStreamError) as error:
                logger.warning("asynchronous events are not read: %s", error)
                await asyncio.sleep(BUS_PAUSE_SECONDS)
                continue
            for message in messages:
                await self._free.acquire()
                task = asyncio.create_task(self._handle(message))
                self._tasks.add(task)
                task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._free.release()
        if not task.cancelled() and task.exception() is not None:
            logger.error("an asynchronous event failed inside the platform", exc_info=task.exception())

    async def _handle(self, message: Message) -> None:
        try:
            call = msgspec.json.decode(message.headers.get(HEADER, ""), type=QueuedCall)
        except msgspec.MsgspecError:
            logger.error("a message that is no event was removed from the queue of asynchronous events")
            await message.ack()
            return
        claim = asyncio.create_task(self._claim(message))
        try:
            outcome = await self._try(call, message.data)
        finally:
            await end_task(claim)
        await self._settle(message, call, outcome)

    async def _claim(self, message: Message) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS)
            try:
                await message.in_progress()
            except NotReady as error:
                logger.warning("could not keep the claim on an event: %s", error)

    async def _try(self, call: QueuedCall, payload: bytes) -> Outcome | None:
        """None when the function is not there any more."""
        try:
            version = self._resolve(call)
        except LambentError:
            return None
        invocation = Invocation(
            request_id=call.request_id, payload=payload, invoked_arn=call.invoked_arn, trace_id=call.trace_id
        )
        return await self._run(version, invocation)

    async def _settle(self, message: Message, call: QueuedCall, outcome: Outcome | None) -> None:
        if outcome is None:
            logger.warning("event %s was dropped: function %s is not there any more", call.request_id, call.name)
            await message.ack()
            return
        failures, throttles = self._tries.pop(call.request_id, (0, 0))
        failures += outcome.kind is OutcomeKind.FUNCTION_ERROR
        throttles += outcome.kind in (OutcomeKind.THROTTLED, OutcomeKind.UNAVAILABLE)
        age_seconds = (self._clock.now_ms() - call.accepted_ms) / 1000
        step = next_step(outcome.kind, failures, throttles, age_seconds, self._rules)
        if step.action is Action.RETRY:
            self._remember(call.request_id, failures, throttles)
            await message.nak(step.wait_seconds)
            return
        if step.action is Action.GIVE_UP:
            logger.warning("event %s of function %s was given up: %s", call.request_id, call.name, step.condition)
        await message.ack()

    def _remember(self, request_id: str, failures: int, throttles: int) -> None:
        if len(self._tries) >= TRIES_REMEMBERED:
            self._tries.pop(next(iter(self._tries)))
        self._tries[request_id] = (failures, throttles)
