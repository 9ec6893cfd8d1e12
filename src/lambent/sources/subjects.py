"""NATS subjects that run functions: follows the table of bindings, calls the function for each message, sends the reply."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from lambent.bus.connection import Connection
from lambent.bus.faults import BusUnavailable, MessageTooLarge
from lambent.bus.subjects import takes_reply
from lambent.bus.tasks import end_task
from lambent.errors import LambentError, NotReady
from lambent.functions.store import FunctionNotFound
from lambent.invocation import Outcome, OutcomeKind
from lambent.settings import Settings
from lambent.sources.bindings import SubjectBinding
from lambent.sources.event import function_input
from lambent.sources.reply import Reply, event_too_large, internal, missing, reply, too_large
from lambent.state.contract import Table

_log = logging.getLogger("lambent.sources")

#: (account, function as bound, event, client context) -> outcome. Raises `FunctionNotFound`, `NotReady`.
Call = Callable[[str, str, bytes, str], Awaitable[Outcome]]

#: Messages that wait beside those that run, as a multiple of `nats_in_flight`; past it they are answered as throttled.
_WAITING_SHARE = 1
#: Bytes of all messages that run or wait, of all bindings; past it they are answered as throttled. The number of messages
#: alone is no bound: each may have several megabytes.
HELD_BYTES_MAX = 256 * 1024 * 1024
#: Room for the headers of a reply below the server's largest message.
_HEADROOM_BYTES = 4096
#: Of a reply subject that a client chose, in a log line.
_SHOWN_CHARACTERS_MAX = 200
#: How long calls that run may take when a binding is removed while the platform goes on: any function ends before.
_UNBIND_DRAIN_S = 905.0
_RETRY_S = 1.0


class SubjectSource:
    """`start` subscribes what is bound and follows the table; `stop` lets running calls finish within the grace."""

    def __init__(self, connection: Connection, bindings: Table[SubjectBinding], call: Call, settings: Settings) -> None:
        self._connection = connection
        self._bindings = bindings
        self._call = call
        self._settings = settings
        self._held = _Held()
        self._bound: dict[str, _Bound] = {}
        self._changed = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Returns when everything in the table is subscribed."""
        self._bindings.subscribe(lambda key, record: self._changed.set())
        await self._reconcile()
        self._follower = asyncio.create_task(self._follow(), name="subject bindings")

    async def stop(self) -> None:
        """Takes no more messages, answers those that are here. Idempotent."""
        if self._follower is not None:
            await end_task(self._follower)
            self._follower = None
        grace_s = float(self._settings.shutdown_grace_seconds)
        bound, self._bound = list(self._bound.values()), {}
        await asyncio.gather(*(each.stop(grace_s) for each in bound))
        for task in list(self._leaving):
            await end_task(task)

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._reconcile()
            except LambentError as error:
                _log.error("the subject bindings cannot be followed: %s; trying again", error)
                self._changed.set()
                await asyncio.sleep(_RETRY_S)

    async def _reconcile(self) -> None:
        """Brings the subscriptions in line with the table. A changed record is a new subscription."""
        wanted = {entry.key: entry.record for entry in self._bindings.entries()}
        for key in [key for key, bound in self._bound.items() if wanted.get(key) != bound.binding]:
            task = asyncio.create_task(self._bound.pop(key).stop(_UNBIND_DRAIN_S), name=f"unbinding {key}")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        for key, binding in wanted.items():
            if key not in self._bound:
                bound = _Bound(binding, self._connection, self._call, self._settings, self._held)
                await bound.start()
                self._bound[key] = bound
        # What was subscribed must have reached the server before a client that sees the binding uses it.
        if self._connection.connected:
            await self._connection.flush()


class _Held:
    """Bytes of the messages that run or wait, shared by all bindings."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class _Bound:
    """One binding that is subscribed."""

    def __init__(
        self, binding: SubjectBinding, connection: Connection, call: Call, settings: Settings, held: _Held
    ) -> None:
        self.binding = binding
        self._connection = connection
        self._call = call
        self._in_flight_max = settings.nats_in_flight
        self._event_max = settings.payload_max
        self._held = held
        self._waiting: deque[Msg] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        self._subscription = await self._connection.subscribe(self.binding.subject, self._receive, self.binding.queue)

    async def stop(self, grace_s: float) -> None:
        """Unsubscribes, then waits for what has arrived; what still runs after the grace is given up."""
        if self._subscription is not None:
            await self._connection.drain(self._subscription)
            self._subscription = None
        if self._runners:
            await asyncio.wait(self._runners, timeout=grace_s)
        given_up = [runner for runner in self._runners if not runner.done()]
        if given_up or self._waiting:
            _log.warning(
                "%d calls on subject %s were given up at the stop",
                len(given_up) + len(self._waiting),
                self.binding.subject,
            )
        for runner in given_up:
            await end_task(runner)
        self._held.size -= sum(len(message.data) for message in self._waiting)
        self._waiting.clear()

    async def _receive(self, message: Msg) -> None:
        if self._held.size + len(message.data) > HELD_BYTES_MAX:
            text = f"messages of more than {HELD_BYTES_MAX} bytes together are being handled"
            await self._answer(message, reply(Outcome(OutcomeKind.THROTTLED, message=text)))
        elif len(self._runners) < self._in_flight_max:
            self._held.size += len(message.data)
            runner = asyncio.create_task(self._run(message))
            self._runners.add(runner)
            runner.add_done_callback(self._runners.discard)
        elif len(self._waiting) < self._in_flight_max * _WAITING_SHARE:
            self._held.size += len(message.data)
            self._waiting.append(message)
        else:
            text = f"more than {self._in_flight_max} messages of {self.binding.subject} are being handled"
            await self._answer(message, reply(Outcome(OutcomeKind.THROTTLED, message=text)))

    async def _run(self, message: Msg) -> None:
        """Handles this message, then those that wait."""
        while True:
            try:
                await self._handle(message)
            finally:
                self._held.size -= len(message.data)
            if not self._waiting:
                return
            message = self._waiting.popleft()

    async def _handle(self, message: Msg) -> None:
        given = function_input(message.subject, message.reply, message.headers, message.data)
        if len(given.payload) > self._event_max:
            await self._answer(message, event_too_large(len(given.payload), self._event_max))
            return
        try:
            answer = reply(
                await self._call(self.binding.account, self.binding.function, given.payload, given.client_context)
            )
        except FunctionNotFound:
            answer = missing(self.binding.function)
        except NotReady as error:
            answer = reply(Outcome(OutcomeKind.UNAVAILABLE, message=str(error)))
        except Exception:
            identity = secrets.token_hex(8)
            _log.exception("a message on %s could not be handled (error %s)", self.binding.subject, identity)
            answer = internal(identity)
        await self._answer(message, answer)

    async def _answer(self, message: Msg, answer: Reply) -> None:
        if not message.reply:
            if answer.headers:
                _log.info("%s failed for a message on %s: %s", self.binding.function, message.subject, answer.headers)
            return
        if not takes_reply(message.reply):
            shown = message.reply[:_SHOWN_CHARACTERS_MAX]
            _log.warning("a message on %s got no reply: %r takes none", message.subject, shown)
            return
        size_max = self._connection.payload_bytes_max - _HEADROOM_BYTES
        if len(answer.body) > size_max:
            answer = too_large(len(answer.body), size_max)
        try:
            await self._connection.publish(message.reply, answer.body, headers=answer.headers)
        except (BusUnavailable, MessageTooLarge) as error:
            _log.warning("the reply of %s on %s was not sent: %s", self.binding.function, message.subject, error)
        except ValueError as error:
            # nats-py checks subjects before it sends: a client chose a reply subject that is none.
            _log.info("a message on %s has no usable reply subject: %s", message.subject, error)
