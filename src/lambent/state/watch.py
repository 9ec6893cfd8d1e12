"""Follows all records of one bucket: an ephemeral push consumer of our own, checked for gaps and silence.

A consumer that lost something (a gap in its count, a missed heartbeat, a reconnection) is replaced by a new one that starts
with the last record of every key, and the reader is told so: what it does not name is gone.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any, Protocol

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from lambent.bus.connection import Connection
from lambent.bus.faults import BusFault, BusUnavailable, JetStreamError
from lambent.bus.streams import Streams
from lambent.bus.subjects import js_api
from lambent.bus.tasks import end_task

_log = logging.getLogger("lambent.state")

#: The server speaks at least this often; three missed heartbeats mean that the consumer is gone.
_HEARTBEAT_S = 5.0
#: The server removes a consumer whose subscriber is gone.
_INACTIVE_S = 30
_RETRY_MIN_S = 0.05
_RETRY_MAX_S = 2.0


class Reader(Protocol):
    """Takes what a watch finds. Called in the order of the stream."""

    def begin(self) -> None:
        """The last record of every key follows."""

    def record(self, subject: str, headers: Mapping[str, str], data: bytes, sequence: int) -> None: ...

    def complete(self) -> None:
        """Everything that was there at `begin` has been given."""


class Watch:
    """Follows `stream` for `reader` until `stop`."""

    def __init__(self, streams: Streams, stream: str, reader: Reader) -> None:
        self._streams = streams
        self._stream = stream
        self._reader = reader
        self._connection: Connection = streams.connection
        self._subscription: Subscription | None = None
        self._consumer = ""
        self._delivered = 0
        self._loading = False
        self._heard = 0.0
        self._lost = asyncio.Event()
        self._complete = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when everything that is there has been given. Raises `BusUnavailable`, `JetStreamError`."""
        self._connection.on_reconnect(self._lost.set)
        await self._attach()
        await asyncio.wait_for(self._complete.wait(), 60)
        self._task = asyncio.create_task(self._keep(), name=f"watch {self._stream}")

    async def stop(self) -> None:
        if self._task is not None:
            await end_task(self._task)
            self._task = None
        await self._detach()

    async def _attach(self) -> None:
        await self._detach()
        self._lost.clear()
        self._delivered, self._loading = 0, True
        inbox = self._connection.client.new_inbox()
        self._reader.begin()
        self._subscription = await self._connection.subscribe(inbox, self._receive)
        answer = await self._streams.api(js_api("CONSUMER.CREATE", self._stream), self._request(inbox))
        self._consumer = str(answer["name"])
        self._heard = asyncio.get_running_loop().time()
        if not answer.get("num_pending") and self._loading and not self._delivered:
            self._loaded()

    def _request(self, inbox: str) -> dict[str, Any]:
        return {
            "stream_name": self._stream,
            "config": {
                "deliver_subject": inbox,
                "deliver_policy": "last_per_subject",
                "filter_subject": ">",
                "ack_policy": "none",
                "max_deliver": 1,
                "replay_policy": "instant",
                "flow_control": True,
                "idle_heartbeat": int(_HEARTBEAT_S * 1e9),
                "inactive_threshold": int(_INACTIVE_S * 1e9),
                "mem_storage": True,
                "num_replicas": 1,
            },
        }

    async def _detach(self) -> None:
        subscription, consumer = self._subscription, self._consumer
        self._subscription, self._consumer = None, ""
        if subscription is not None and not self._connection.client.is_closed:
            try:
                await subscription.unsubscribe()
                if consumer and self._connection.connected:
                    await self._connection.publish(js_api("CONSUMER.DELETE", self._stream, consumer), b"")
            except Exception as error:
                # The server forgets it by itself after `_INACTIVE_S`.
                _log.debug("the consumer of %s was not removed: %s", self._stream, error)

    async def _receive(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        headers = message.headers or {}
        if headers.get("Status") == "100":
            await self._answer_control(message, headers)
            return
        # $JS.ACK.[domain.account.]<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>[.token]
        parts = message.reply.split(".")
        at = 5 if len(parts) == 9 else 7
        sequence, delivered, pending = int(parts[at]), int(parts[at + 1]), int(parts[at + 3])
        if delivered != self._delivered + 1:
            self._lost.set()
            return
        self._delivered = delivered
        self._reader.record(message.subject, headers, message.data, sequence)
        if self._loading and pending == 0:
            self._loaded()

    async def _answer_control(self, message: Msg, headers: Mapping[str, str]) -> None:
        """Flow control wants an answer; a heartbeat tells how many messages should have come."""
        if message.reply:
            await self._connection.publish(message.reply, b"")
        elif stalled := headers.get("Nats-Consumer-Stalled"):
            await self._connection.publish(stalled, b"")
        last = headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._delivered:
            self._lost.set()

    def _loaded(self) -> None:
        self._loading = False
        self._reader.complete()
        self._complete.set()

    async def _keep(self) -> None:
        """Attaches again when something was lost; tries for ever, as the mirror serves on meanwhile."""
        delay_s = _RETRY_MIN_S
        while True:
            try:
                await asyncio.wait_for(self._lost.wait(), _HEARTBEAT_S)
            except TimeoutError:
                silent_s = asyncio.get_running_loop().time() - self._heard
                if silent_s < 3 * _HEARTBEAT_S:
                    continue
            try:
                await self._attach()
                delay_s = _RETRY_MIN_S
            except (BusUnavailable, BusFault, JetStreamError) as error:
                _log.warning("%s cannot be followed: %s; trying again", self._stream, error)
                self._lost.set()
                # Spread, so that all tables do not ask at the same moment.
                await asyncio.sleep(delay_s * (0.5 + random.random()))
                delay_s = min(2 * delay_s, _RETRY_MAX_S)
