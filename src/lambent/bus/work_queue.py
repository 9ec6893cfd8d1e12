"""A stored queue: each message is delivered until it is acknowledged, to one taker at a time (JetStream work queue)."""

import asyncio
import json
from collections.abc import Mapping

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from lambent.bus import subjects
from lambent.bus.connection import Connection
from lambent.bus.faults import BusUnavailable
from lambent.bus.streams import StreamConfig, Streams

_NANOSECONDS = 1_000_000_000
#: How long one request for messages waits at the server.
TAKE_SECONDS = 5.0
#: Grace for the server's "nothing there" after that.
_ANSWER_SECONDS = 2.0
#: Messages that may be out for work or for a delayed retry at once; the server holds back the rest.
ACK_PENDING_MAX = 100_000


class QueueMessage:
    """One delivery. Exactly one of `ack` and `nak` ends it; `in_progress` starts the server's wait anew."""

    __slots__ = ("_connection", "_reply", "data", "headers")

    def __init__(self, connection: Connection, message: Msg) -> None:
        self._connection = connection
        self._reply = message.reply
        self.data = message.data
        self.headers: Mapping[str, str] = message.headers or {}

    async def ack(self) -> None:
        await self._connection.publish(self._reply, b"+ACK")

    async def nak(self, delay_seconds: float) -> None:
        """Delivered again after the delay."""
        delay = json.dumps({"delay": int(delay_seconds * _NANOSECONDS)})
        await self._connection.publish(self._reply, b"-NAK " + delay.encode())

    async def in_progress(self) -> None:
        await self._connection.publish(self._reply, b"+WPI")


class WorkQueue:
    """One stream with one durable consumer that all nodes share."""

    def __init__(self, streams: Streams, name: str, pattern: str, ack_wait_seconds: float) -> None:
        self._streams = streams
        self._name = name
        self._pattern = pattern
        self._ack_wait_seconds = ack_wait_seconds
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()

    async def open(self) -> None:
        """Makes stream and consumer, or finds them. Raises `BusUnavailable`, `JetStreamError`."""
        await self._streams.ensure(
            StreamConfig(self._name, [self._pattern], {"retention": "workqueue", "storage": "file", "discard": "new"})
        )
        consumer = {
            "durable_name": self._name,
            "ack_policy": "explicit",
            "ack_wait": int(self._ack_wait_seconds * _NANOSECONDS),
            "max_ack_pending": ACK_PENDING_MAX,
        }
        request = {"stream_name": self._name, "config": consumer}
        await self._streams.api(subjects.js_api("CONSUMER.DURABLE.CREATE", self._name, self._name), request)
        connection = self._streams.connection
        self._inbox = connection.client.new_inbox()
        self._subscription = await connection.subscribe(self._inbox, self._arrived.put)

    async def put(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        """On disk when it returns. Raises `NotReady`, `JetStreamError`."""
        await self._streams.publish(subject, payload, headers)

    async def take(self, most: int) -> list[QueueMessage]:
        """What is there now, at most `most` messages; when nothing is, waits a few seconds for the first.

        Asks for no more than it waits for, so that no delivery lies unread while its claim runs out. Raises `BusUnavailable`.
        """
        there = await self._receive({"batch": most, "no_wait": True}, most, _ANSWER_SECONDS)
        if there:
            return there
        expires = int(TAKE_SECONDS * _NANOSECONDS)
        return await self._receive({"batch": 1, "expires": expires}, 1, TAKE_SECONDS + _ANSWER_SECONDS)

    async def _receive(self, request: dict[str, object], most: int, wait_seconds: float) -> list[QueueMessage]:
        connection = self._streams.connection
        subject = subjects.js_api("CONSUMER.MSG.NEXT", self._name, self._name)
        await connection.publish(subject, json.dumps(request).encode(), reply=self._inbox)
        taken: list[QueueMessage] = []
        while len(taken) < most:
            try:
                # Not `wait_for`: on Python 3.11 it loses a cancellation that comes together with a message, and who takes
                # in a loop would never end.
                async with asyncio.timeout(wait_seconds):
                    message = await self._arrived.get()
            except TimeoutError:
                if not taken and not connection.connected:
                    raise BusUnavailable("the connection to NATS is lost") from None
                break
            if "Status" in (message.headers or {}):
                # 404, 408: nothing (more) there. 409, 503: the consumer or its leader went away; the next call asks again.
                break
            taken.append(QueueMessage(connection, message))
        return taken

    async def close(self) -> None:
        """What was delivered and not acknowledged is delivered again later. Idempotent."""
        if self._subscription is not None and self._streams.connection.connected:
            await self._subscription.unsubscribe()
        self._subscription = None
