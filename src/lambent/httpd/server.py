"""The HTTP/1.1 server: listening, accepting, time, and the end.

Ours because it is the hot path: httptools parses, a request runs on the spot, one write carries head and body. What one
connection does is in `connection.py`, what a request may be in `reading.py`.
"""

import asyncio
import errno
import logging
import math
import socket
import time

import msgspec

from lambent.errors import SettingsError
from lambent.httpd.connection import Connection
from lambent.httpd.heads import date_line
from lambent.httpd.limits import Limits
from lambent.httpd.messages import Handler, Request, Response
from lambent.ids import Ids

log = logging.getLogger("lambent.httpd")

#: Connections that the kernel completes before they are accepted; a burst of clients must not be refused.
BACKLOG = 4096
#: The Date header counts seconds; deadlines are looked at as often.
_TICK_SECONDS = 1.0


class Server:
    """One listening socket and its connections. Made by `serve`."""

    def __init__(self, handler: Handler, sock: socket.socket, limits: Limits, door: object) -> None:
        self.handler = handler
        self.limits = limits
        self.door = door
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time()
        self.date_line = date_line(time.time())
        self.closing = False
        self.connections: set[Connection] = set()
        #: Spellings of header names seen on this listener; bounded by the reader.
        self.names: dict[bytes, str] = {}
        self._ids = Ids()
        self._socket = sock
        name = sock.getsockname()
        #: 0 for a Unix-domain socket.
        self.port: int = name[1] if isinstance(name, tuple) else 0
        self._listener: asyncio.Server | None = None
        self._empty: asyncio.Future[None] | None = None
        waits = (limits.header_seconds, limits.body_seconds, limits.idle_seconds, limits.write_seconds)
        self._tick_seconds = min(_TICK_SECONDS, min(*waits, limits.linger_seconds) / 4)
        self._ticker: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Starts accepting."""
        if self._socket.family == socket.AF_UNIX:
            self._listener = await self.loop.create_unix_server(
                lambda: Connection(self), sock=self._socket, backlog=BACKLOG
            )
        else:
            self._listener = await self.loop.create_server(lambda: Connection(self), sock=self._socket, backlog=BACKLOG)
        self._tick()

    def _tick(self) -> None:
        """Keeps the time for all connections and calls on those whose deadline has passed."""
        self.now = now = self.loop.time()
        self.date_line = date_line(time.time())
        for connection in [each for each in self.connections if each.deadline <= now]:
            connection.deadline = math.inf
            connection.expire()
        self._ticker = self.loop.call_later(self._tick_seconds, self._tick)

    def left(self, connection: Connection) -> None:
        """The connection is gone, or its last request has ended after it was gone."""
        if not connection.busy:
            self.connections.discard(connection)
        if self._empty is not None and not self.connections and not self._empty.done():
            self._empty.set_result(None)

    def failed(self, request: Request, error: BaseException) -> Response:
        """A mistake of ours: the log line and the answer share an id, the inner text stays in the log."""
        error_id = self._ids.hex(12)
        log.error("error %s: %s %s could not be answered", error_id, request.method, request.path[:200], exc_info=error)
        body = msgspec.json.encode({"message": "Internal Server Error", "errorId": error_id})
        return Response(500, body, [("content-type", "application/json")])

    async def close(self, grace_seconds: float) -> None:
        """Stops accepting, lets running requests end within the grace, closes everything. May be called once."""
        self.closing = True
        assert self._listener is not None, "close after open"
        self._listener.close()
        for connection in list(self.connections):
            connection.finish()
        await self._emptied(grace_seconds)
        for connection in list(self.connections):
            connection.abandon()
        # What was cancelled ends within a few turns; a handler that swallows cancellation is not waited for.
        await self._emptied(1.0)
        for connection in list(self.connections):
            connection.cut()
        if self._ticker is not None:
            self._ticker.cancel()

    async def _emptied(self, seconds: float) -> None:
        if not self.connections:
            return
        self._empty = self.loop.create_future()
        await asyncio.wait([self._empty], timeout=seconds)
        self._empty = None


async def serve(handler: Handler, *, sock: socket.socket, limits: Limits, door: object = None) -> Server:
    """Serves `handler` on a socket that is bound or already listening: TCP or Unix-domain, of any network namespace.

    `door` is handed on in every request and to `Limits.body_max_of`. The server owns the socket from here on.
    """
    sock.setblocking(False)
    server = Server(handler, sock, limits, door)
    await server.open()
    return server


def listen(host: str, port: int, *, setting: str = "", reuse_port: bool = False) -> socket.socket:
    """A bound, listening TCP socket; port 0 takes a free one. `setting` names what changes the port, such as `--http-port`.

    Raises `SettingsError` when the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise SettingsError(f"cannot listen on {host!r}: {error.strerror}; --listen changes it") from error
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise SettingsError(_refused(error, host, port, setting)) from error
    sock.setblocking(False)
    return sock


def _refused(error: OSError, host: str, port: int, setting: str) -> str:
    change = f"; {setting} takes another port, 0 a free one" if setting else ""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another program{change}"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs more rights{change}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no address {host}; --listen changes it"
    return f"cannot listen on {host}:{port}: {error.strerror}{change}"


__all__ = ["Limits", "Server", "listen", "serve"]
