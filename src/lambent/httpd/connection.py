"""One client connection: the reader's requests go to the door's handler, its responses to the socket.

A complete request is handed over on the spot. While it runs nothing more is parsed: what arrives is held and the socket is
no longer read, so that a client that sends faster than it is answered waits.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from lambent.httpd import heads
from lambent.httpd.messages import Request, Response
from lambent.httpd.reading import RequestReader, refusal
from lambent.httpd.steps import Steps

if TYPE_CHECKING:
    from lambent.httpd.server import Server

#: Up to here head and body are copied into one buffer; past it the copy costs more than a second buffer.
_JOINED_MAX = 64 * 1024


class Connection(asyncio.Protocol):
    """One request runs at a time (`busy`). After a refusal it lingers: reads and drops until the client has ended."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._steps: Steps[Response | None] = Steps(server.loop, self._finished)
        self._transport: asyncio.Transport | None = None
        self._reader: RequestReader
        #: Read but not parsed; at most a few reads, as the socket is paused once there is something here.
        self._held = b""
        self._request: Request | None = None
        self._keep_alive = True
        self._advances = False
        self._lingers = False
        self._ended = False
        self._paused = False
        self._write_paused = False
        self._head_timed = False
        self._drained: asyncio.Future[None] | None = None
        #: Second of the loop's clock at which the server calls `expire`.
        self.deadline = server.now + server.limits.idle_seconds

    # ---- from the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self._transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        # Unix-domain sockets have no address; who can open one is on this machine.
        peer = address[0] if isinstance(address, tuple) else "127.0.0.1"
        self._reader = RequestReader(server.limits, peer, "http", server.door, server.names)
        server.connections.add(self)
        if len(server.connections) > server.limits.connections_max:
            self._reader.refuse(503, "too many connections")
            self._advance()

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        if self._request is not None or self._held or self._write_paused:
            self._held += data
            self._pause()
            return
        self._held = self._reader.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        self._ended = True
        # A client that has closed its half still gets the answers to what it sent.
        return self._request is not None or bool(self._held) or self._write_paused

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._held = b""
        self.deadline = math.inf
        if self._reader.charged and self._request is None:
            self._reader.release()
        self._wake_stream()
        self._server.left(self)

    def pause_writing(self) -> None:
        self._write_paused = True
        self.deadline = self._server.now + self._server.limits.write_seconds

    def resume_writing(self) -> None:
        self._write_paused = False
        self.deadline = math.inf
        self._wake_stream()
        # Not from here: the transport may be inside a write of ours.
        self._server.loop.call_soon(self._advance)

    # ---- from the server

    @property
    def busy(self) -> bool:
        return self._request is not None

    def expire(self) -> None:
        """The deadline has passed: what was awaited from the client did not come."""
        if self._transport is None:
            return
        if self._write_paused or self._lingers:
            self._transport.abort()
        elif self._reader.in_head or self._reader.in_body:
            self._reader.refuse(408, "the request did not arrive in time")
            self._advance()
        else:
            self._transport.close()

    def finish(self) -> None:
        """The server closes: what runs may end, nothing else begins."""
        self._keep_alive = False
        if self._request is None and self._transport is not None:
            self._transport.close()

    def abandon(self) -> None:
        """The grace is over: what runs is cut off and answered so, a client that takes nothing is not waited for."""
        self._keep_alive = False
        if self._steps.cancel() and not self._write_paused:
            return
        if self._transport is not None:
            self._transport.abort()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ---- running

    def _advance(self) -> None:
        """Runs what is complete, one after the other, until one has to wait or the client has to send more."""
        if self._advances:
            return
        self._advances = True
        reader = self._reader
        while self._request is None and self._transport is not None and not self._write_paused and not self._lingers:
            if reader.requests and not self._transport.is_closing():
                request, keep_alive = reader.requests.popleft()
                self._run(request, keep_alive and not self._server.closing)
            elif reader.refusal is not None:
                self._refuse(reader.refusal)
            elif self._held:
                self._held = reader.feed(self._held)
            else:
                self._wait(self._transport)
                break
        self._advances = False

    def _run(self, request: Request, keep_alive: bool) -> None:
        self._request = request
        self._keep_alive = keep_alive
        self._head_timed = False
        self.deadline = math.inf
        try:
            awaitable = self._server.handler(request)
        except Exception as error:
            self._finished(None, error)
        else:
            self._steps.start(awaitable)

    def _wait(self, transport: asyncio.Transport) -> None:
        """Nothing to do until the client sends more."""
        reader, server = self._reader, self._server
        if self._ended or transport.is_closing():
            transport.close()
            return
        if reader.charged and not reader.in_body:
            reader.release()
        if reader.in_body:
            self.deadline = server.now + server.limits.body_seconds
            if reader.expects:
                reader.expects = False
                transport.write(heads.CONTINUE)
        elif not reader.in_head:
            self.deadline = server.now + server.limits.idle_seconds
        elif not self._head_timed:
            self._head_timed = True
            self.deadline = server.now + server.limits.header_seconds
        if self._paused:
            self._paused = False
            transport.resume_reading()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _finished(self, response: Response | None, error: BaseException | None) -> None:
        """The handler has answered or failed, or a stream has ended (neither a response nor an error)."""
        request = self._request
        assert request is not None
        if response is not None and not isinstance(response.body, bytes):
            self._steps.start(self._stream(request, response, response.body))
            return
        if isinstance(error, asyncio.CancelledError):
            # Not a mistake: the server closes and the grace was too short for this request.
            response = refusal(503, "the server is shutting down")
        elif error is not None:
            response = self._server.failed(request, error)
        if response is not None and self._transport is not None:
            try:
                self._write(request, response)
            except Exception as mistake:
                self._write(request, self._server.failed(request, mistake))
        self._request = None
        if self._transport is None:
            self._reader.release()
            self._server.left(self)
            return
        if not self._keep_alive:
            self._close(self._transport)
        self._advance()

    # ---- writing

    def _head(self, request: Request, response: Response) -> tuple[str, str | None]:
        """The head without framing and its last line; and the length that the door gave."""
        lines, length, close = heads.header_lines(response.headers)
        if close or self._server.closing:
            self._keep_alive = False
        if not self._keep_alive:
            lines += "connection: close\r\n"
        elif request.version == "1.0":
            lines += "connection: keep-alive\r\n"
        return heads.status_line(response.status) + lines + self._server.date_line, length

    def _write(self, request: Request, response: Response) -> None:
        assert self._transport is not None
        body = cast(bytes, response.body)
        head, length = self._head(request, response)
        if heads.has_no_body(response.status):
            self._transport.write(heads.encode(head + "\r\n"))
            return
        if request.method == "HEAD":
            # A door that knows the length without making the body says it itself.
            length = length if length is not None and not body else str(len(body))
            self._transport.write(heads.encode(f"{head}content-length: {length}\r\n\r\n"))
            return
        encoded = heads.encode(f"{head}content-length: {len(body)}\r\n\r\n")
        if len(body) <= _JOINED_MAX:
            self._transport.write(encoded + body)
        else:
            self._transport.write(encoded)
            self._transport.write(body)

    async def _stream(self, request: Request, response: Response, chunks: AsyncIterator[bytes]) -> None:
        """Writes chunks as they come, no faster than the client takes them.

        A stream that fails is cut off without its last chunk, so that the client can tell.
        """
        chunked = request.version == "1.1"
        bodiless = request.method == "HEAD" or heads.has_no_body(response.status)
        try:
            if not chunked:
                # HTTP/1.0 knows no chunks: the end of the connection ends the body.
                self._keep_alive = False
            head, _ = self._head(request, response)
            framing = "transfer-encoding: chunked\r\n" if chunked and not heads.has_no_body(response.status) else ""
            self._send(heads.encode(f"{head}{framing}\r\n"))
            if not bodiless:
                async for chunk in chunks:
                    if self._transport is None:
                        break
                    if chunk:
                        self._send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    await self._drain()
                else:
                    self._send(b"0\r\n\r\n" if chunked else b"")
        except Exception as error:
            self._server.failed(request, error)
            if self._transport is not None:
                self._transport.abort()
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    def _send(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._transport.write(data)

    async def _drain(self) -> None:
        if self._write_paused and self._transport is not None:
            self._drained = self._server.loop.create_future()
            await self._drained

    def _wake_stream(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _refuse(self, response: Response) -> None:
        assert self._transport is not None
        self._keep_alive = False
        # Which request this answers is not known in every case; none of them is a HEAD of HTTP/1.0.
        self._write(Request("GET", "/"), response)
        self._linger(self._transport)

    def _close(self, transport: asyncio.Transport) -> None:
        """Closes after the answer. With input unread the kernel would reset the connection and take the answer along."""
        if self._held or self._paused or self._reader.requests:
            self._linger(transport)
        else:
            transport.close()

    def _linger(self, transport: asyncio.Transport) -> None:
        self._held = b""
        self._lingers = True
        self._reader.drop()
        self.deadline = self._server.now + self._server.limits.linger_seconds
        if self._ended or self._server.closing:
            transport.close()
            return
        if self._paused:
            self._paused = False
            transport.resume_reading()
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
