"""Connections to NATS that never give up: one to Lambent's own account, one to the events account."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from lambent.bus.faults import BusRefused, BusUnavailable, MessageTooLarge, NobodyAnswers
from lambent.bus.nkey import UserCredentials

_log = logging.getLogger("lambent.bus")

#: Time for the first connection; later ones are tried for ever.
CONNECT_TIMEOUT_S = 5.0
_RECONNECT_WAIT_S = 0.1
_PING_INTERVAL_S = 10
#: Bytes of published messages that wait for the socket (or for a lost server to come back).
_PENDING_BYTES_MAX = 64 * 1024 * 1024


class _Client(Client):
    """nats-py closes for good after most errors that a server reports (a maximum, a changed credential). A platform that
    runs for months has to come back: everything but a permission error, which concerns one subject, means reconnect.

    It also stops reading when it cannot decode a message, until its pings miss their answers half a minute later: so any
    client could silence all bound subjects. Here such a message concerns nobody but its sender.
    """

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Any:
        try:
            return super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            _log.info("a message was dropped: its subject %r or reply subject is not UTF-8", subject[:100])
            return None

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError):
            _log.info("the headers of a message were left out: %r is no NATS header", (headers or b"")[:100])
            return None

    async def _process_err(self, err_msg: str) -> None:
        text = err_msg.strip("'")
        if "permissions violation" in text.lower():
            await self._error_cb(nats.errors.Error(text))
            return
        if "authorization violation" in text.lower() or "authentication" in text.lower():
            error: nats.errors.Error = nats.errors.AuthorizationError()
        else:
            error = nats.errors.Error(text)
        self._err = error
        await self._error_cb(error)
        await self._process_op_err(error)


class Connection:
    """One connection. `name` is what NATS tools show; `role` names it in errors."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.client: Client = _Client()
        #: The last refusals of single subjects, newest last; they explain a request that got no answer.
        self.refusals: list[str] = []
        self._on_reconnect: list[Callable[[], None]] = []
        self._last_error: Exception | None = None
        self._refused: asyncio.Event | None = None
        self._closing = False

    async def open(
        self, urls: list[str], user: str = "", password: str = "", credentials: UserCredentials | None = None
    ) -> None:
        """Raises `BusUnavailable` when no server answers in time, `BusRefused` when one refuses the credentials."""
        options: dict[str, Any] = {}
        if user:
            options |= {"user": user, "password": password}
        if credentials is not None:
            options |= {"user_jwt_cb": credentials.jwt, "signature_cb": credentials.sign}
        self._refused = asyncio.Event()
        connecting = asyncio.ensure_future(
            self.client.connect(
                servers=urls,
                name=f"lambent {self.role}",
                error_cb=self._error,
                disconnected_cb=self._disconnected,
                reconnected_cb=self._reconnected,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]
                connect_timeout=int(CONNECT_TIMEOUT_S),
                ping_interval=_PING_INTERVAL_S,
                pending_size=_PENDING_BYTES_MAX,
                **options,
            )
        )
        refused = asyncio.ensure_future(self._refused.wait())
        done, _ = await asyncio.wait(
            {connecting, refused}, timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        refused.cancel()
        if connecting in done and connecting.exception() is None:
            self._refused = None
            return
        connecting.cancel()
        await asyncio.gather(connecting, refused, return_exceptions=True)
        await self.close()
        shown = ", ".join(_without_password(url) for url in urls)
        if refused in done or (self._last_error is not None and _is_refusal(self._last_error)):
            raise BusRefused(
                f"the NATS server at {shown} refused the credentials; give user and password in the URL of --nats or a "
                "credentials file with --nats-credentials"
            )
        reason = self._last_error or (
            connecting.exception() if connecting in done and not connecting.cancelled() else None
        )
        raise BusUnavailable(f"no NATS server answered at {shown}: {reason or 'timed out'}")

    @property
    def connected(self) -> bool:
        return bool(self.client.is_connected)

    @property
    def connected_url(self) -> str:
        """The server in use, without credentials; empty while there is none."""
        url = self.client.connected_url
        return _without_password(url.geturl()) if url is not None else ""

    @property
    def server_version(self) -> str:
        """Of the server in use."""
        return str(self.client.connected_server_version)

    @property
    def payload_bytes_max(self) -> int:
        """Largest message that the server takes, headers included."""
        return int(self.client.max_payload)

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Called after each reconnection, when the subscriptions are in place again."""
        self._on_reconnect.append(callback)

    async def subscribe(self, subject: str, callback: Callable[[Msg], Any], queue: str = "") -> Subscription:
        return await self.client.subscribe(subject, queue=queue, cb=callback)

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> Msg:
        """Raises `BusUnavailable` (telling of a refused permission), `NobodyAnswers` at once, `MessageTooLarge`."""
        try:
            return await self.client.request(
                subject, payload, timeout=timeout_s, headers=dict(headers) if headers else None
            )
        except nats.errors.NoRespondersError as error:
            raise NobodyAnswers(f"nobody answers on {subject}") from error
        except (nats.errors.TimeoutError, TimeoutError) as error:
            raise BusUnavailable(self._explain(subject, timeout_s)) from error
        except nats.errors.MaxPayloadError as error:
            raise MessageTooLarge(f"{len(payload)} bytes are more than the NATS server takes in one message") from error
        except nats.errors.Error as error:
            raise BusUnavailable(f"{self.role} bus: {error}") from error

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        try:
            await self.client.publish(subject, payload, reply, headers=dict(headers) if headers else None)
        except nats.errors.MaxPayloadError as error:
            raise MessageTooLarge(f"{len(payload)} bytes are more than the NATS server takes in one message") from error
        except nats.errors.Error as error:
            raise BusUnavailable(f"{self.role} bus: {error}") from error

    async def flush(self) -> None:
        """Returns when the server has taken everything that was sent before. Raises `BusUnavailable`."""
        try:
            await self.client.flush(timeout=int(CONNECT_TIMEOUT_S))
        except (nats.errors.Error, TimeoutError) as error:
            raise BusUnavailable(f"{self.role} bus: {error or 'no answer'}") from error

    async def drain(self, subscription: Subscription) -> None:
        """Unsubscribes; returns when what had arrived was given to the callback. Without a connection nothing can arrive."""
        try:
            if self.connected:
                await subscription.drain()  # type: ignore[no-untyped-call]
            elif not self.client.is_closed:
                await subscription.unsubscribe()
        except (nats.errors.Error, TimeoutError) as error:
            _log.debug("%s bus: a subscription was not drained: %s", self.role, error)

    async def close(self) -> None:
        """Idempotent."""
        self._closing = True
        client = self.client
        # A client that never began to connect has nothing to close (nats-py asserts that it has a queue).
        if client.is_closed or client._flush_queue is None:
            return
        if not client.is_connected:
            # nats-py would write what waits to the lost socket, raise, and leave its tasks behind.
            client._pending, client._pending_data_size = [], 0
        try:
            await client.close()
        except OSError as error:
            _log.debug("%s bus: lost while closing: %s", self.role, error)

    def _explain(self, subject: str, timeout_s: float) -> str:
        if self.refusals:
            return f"the NATS server does not permit {self.role} to use {subject}: {self.refusals[-1]}"
        if not self.connected:
            return f"the connection to NATS is lost ({self._last_error or 'no reason given'}); reconnecting"
        return f"no answer on {subject} within {timeout_s:.1f} s"

    async def _error(self, error: Exception) -> None:
        repeated = str(error) == str(self._last_error)
        self._last_error = error
        if self._refused is not None and _is_refusal(error):
            self._refused.set()
            return
        if "permissions violation" in str(error).lower():
            self.refusals = [*self.refusals[-7:], str(error)]
        # While the server is away the same refusal comes ten times a second: once is enough.
        if not self._closing and self._refused is None and not repeated:
            _log.warning("%s bus: %s", self.role, error or type(error).__name__)

    async def _disconnected(self) -> None:
        if not self._closing and self._refused is None:
            _log.warning("%s bus: disconnected; reconnecting", self.role)

    async def _reconnected(self) -> None:
        _log.warning("%s bus: connected again", self.role)
        for callback in self._on_reconnect:
            callback()


def _is_refusal(error: Exception) -> bool:
    """nats-py has a type for it once connected, and the server's text while connecting."""
    return isinstance(error, nats.errors.AuthorizationError) or "authorization violation" in str(error).lower()


def _without_password(url: str) -> str:
    """For messages."""
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 4222}"
