"""JetStream as this program uses it: streams that are made or brought up to date, confirmed writes, direct reads.

Thin over the JSON API (nats-py's own client costs extra round trips for each of these and reads objects at 19 MB/s).
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from lambent.bus.connection import Connection
from lambent.bus.faults import BusUnavailable, JetStreamError, JetStreamMissing, NobodyAnswers
from lambent.bus.subjects import js_api

#: Waits for an answer of JetStream; a leader election in a cluster takes a few seconds.
TIMEOUT_S = 5.0
_RETRY_DELAY_S = 0.05
#: Error numbers of nats-server that have a meaning here (its errors.json).
WRONG_LAST_SEQUENCE = 10071
_STREAM_NAME_IN_USE = 10058
_NOT_ENABLED = (10039, 10076)
#: Largest batch that nats-server gives in one direct get (ADR-31).
DIRECT_BATCH_MAX = 1000


class StreamConfig(NamedTuple):
    """`options` are members of the API's stream configuration; sizes in bytes, ages in nanoseconds."""

    name: str
    subjects: list[str]
    options: dict[str, Any]


class Stored(NamedTuple):
    """One stored message. `time` is RFC 3339 text in UTC; `pending` counts what follows it in the request."""

    subject: str
    sequence: int
    data: bytes
    headers: Mapping[str, str]
    time: str
    pending: int


class Streams:
    """JetStream in the account of `connection`."""

    def __init__(self, connection: Connection, timeout_s: float = TIMEOUT_S) -> None:
        self.connection = connection
        self._timeout_s = timeout_s

    async def check(self) -> None:
        """Raises `JetStreamMissing` when the account has none."""
        try:
            await self.api(js_api("INFO"), {})
        except JetStreamError as error:
            if error.code in _NOT_ENABLED:
                raise JetStreamMissing(_NO_JETSTREAM) from error
            raise
        except NobodyAnswers as error:
            raise JetStreamMissing(_NO_JETSTREAM) from error

    async def api(self, subject: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """One call of the JSON API. Raises `JetStreamError`, `BusUnavailable`."""
        payload = json.dumps(request).encode() if request else b""
        answer = await self.connection.request(subject, payload, self._timeout_s)
        return _checked(answer)

    async def ensure(self, config: StreamConfig) -> dict[str, Any]:
        """Makes the stream, or brings an existing one up to date. Returns its info."""
        wanted = {"name": config.name, "subjects": config.subjects, **config.options}
        try:
            return await self.api(js_api("STREAM.CREATE", config.name), wanted)
        except JetStreamError as error:
            if error.code != _STREAM_NAME_IN_USE:
                raise
        return await self.api(js_api("STREAM.UPDATE", config.name), wanted)

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> int:
        """A confirmed write; returns its sequence. While no stream leader answers, which means that nothing was stored, it
        is tried again within the bound. Raises `JetStreamError` (such as `WRONG_LAST_SEQUENCE`), `BusUnavailable`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        while True:
            left_s = deadline - loop.time()
            try:
                answer = await self.connection.request(subject, data, max(left_s, 0.001), headers)
                return int(_checked(answer)["seq"])
            except NobodyAnswers:
                if left_s < _RETRY_DELAY_S:
                    raise
            await asyncio.sleep(_RETRY_DELAY_S)

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The newest message of one subject."""
        return await self._direct_one(js_api("DIRECT.GET", stream, subject), b"")

    async def at(self, stream: str, sequence: int, subject: str) -> Stored | None:
        """The first message of `subject` (wildcards allowed) whose sequence is at least `sequence`."""
        request = json.dumps({"seq": sequence, "next_by_subj": subject}).encode()
        return await self._direct_one(js_api("DIRECT.GET", stream), request)

    async def since(self, stream: str, subject: str, start_time: str) -> Stored | None:
        """The first message of `subject` (wildcards allowed) stored at `start_time` (RFC 3339) or later."""
        found = await self.batch(stream, {"start_time": start_time, "next_by_subj": subject, "batch": 1})
        return found[0] if found else None

    async def batch(self, stream: str, request: Mapping[str, Any]) -> list[Stored]:
        """A batch direct get: one request, many messages (ADR-31; `seq`, `next_by_subj`, `batch`, `max_bytes`,
        `multi_last`, `start_time`). The bounds are the caller's. Raises `BusUnavailable` when the answers stop coming.
        """
        client = self.connection.client
        inbox = client.new_inbox()
        found: list[Stored] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def receive(message: Msg) -> None:
            status = (message.headers or {}).get("Status")
            if status is None:
                found.append(_stored(message))
            elif not done.done():
                if status in ("204", "404"):
                    done.set_result(None)
                elif status == "503":
                    done.set_exception(BusUnavailable(f"nobody serves stream {stream}"))
                else:
                    text = (message.headers or {}).get("Description", "")
                    done.set_exception(JetStreamError(int(status), text))

        subscription = await client.subscribe(inbox, cb=receive, pending_msgs_limit=-1, pending_bytes_limit=-1)
        try:
            await self.connection.publish(js_api("DIRECT.GET", stream), json.dumps(request).encode(), reply=inbox)
            await self._until_quiet(done, found)
        finally:
            await subscription.unsubscribe()
        return found

    async def _until_quiet(self, done: "asyncio.Future[None]", found: list[Stored]) -> None:
        """Waits for the end of a batch as long as messages keep coming within the time-out."""
        while True:
            seen = len(found)
            try:
                await asyncio.wait_for(asyncio.shield(done), self._timeout_s)
                return
            except TimeoutError:
                if len(found) == seen:
                    done.cancel()
                    raise BusUnavailable(f"the answers of JetStream stopped for {self._timeout_s:.1f} s") from None

    async def _direct_one(self, subject: str, request: bytes) -> Stored | None:
        answer = await self.connection.request(subject, request, self._timeout_s)
        status = (answer.headers or {}).get("Status")
        if status is None:
            return _stored(answer)
        if status == "404":
            return None
        raise JetStreamError(int(status), (answer.headers or {}).get("Description", ""))


_NO_JETSTREAM = (
    "JetStream is not enabled for this NATS account; Lambent keeps its state there. Enable it in the server's configuration "
    "(`jetstream {}` and, for accounts, `jetstream: enabled`)"
)


def _checked(answer: Msg) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.data)
    error = body.get("error")
    if error is not None:
        raise JetStreamError(int(error.get("err_code", error.get("code", 0))), str(error.get("description", "")))
    return body


def _stored(message: Msg) -> Stored:
    headers = message.headers or {}
    return Stored(
        subject=headers.get("Nats-Subject", ""),
        sequence=int(headers.get("Nats-Sequence", 0)),
        data=message.data,
        headers=headers,
        time=headers.get("Nats-Time-Stamp", ""),
        pending=int(headers.get("Nats-Num-Pending", 0) or 0),
    )
