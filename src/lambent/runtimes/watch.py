"""What both kinds of environment share about their sandbox: its output becomes log events, its platform endpoint is served."""

import asyncio
import fcntl
import os
import socket
import termios

from lambent.httpd.limits import Limits
from lambent.httpd.messages import Handler
from lambent.httpd.server import Server, serve
from lambent.runtimes.contract import FunctionLog
from lambent.runtimes.output import OutputEvents
from lambent.sandbox.contract import Sandbox

_READ_BYTES = 65536
#: A pipe holds 64 KiB, 1 MiB at most; so many reads empty what was in it, even if something goes on writing.
_READS_MAX = 16
#: What a standby interpreter said before it belonged to a function; kept for the error text when it does not come up.
_EARLY_MAX = 4096


#: An int of 0, as FIONREAD tells of an empty pipe.
_NOTHING = bytes(4)


class OutputWatch:
    """Reads a sandbox's output pipe and writes log events."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sandbox: Sandbox) -> None:
        self._loop = loop
        self._fd = sandbox.output
        self._events = OutputEvents()
        self._open = True
        self.log: FunctionLog | None = None
        self.early = b""
        loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        self._read()

    def _read(self) -> int:
        """One read; 0 when there is nothing (left)."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            data = b""
        if not data:
            self.close()
            return 0
        if self.log is None:
            self.early = (self.early + data)[:_EARLY_MAX]
        else:
            for event in self._events.feed(data):
                self.log.write(event)
        return len(data)

    def drain(self) -> None:
        """Logs what has been printed so far, without waiting."""
        # Most calls print nothing: asking for the number of bytes costs a fifth of a read that fails with an exception.
        if not self._open or fcntl.ioctl(self._fd, termios.FIONREAD, _NOTHING) == _NOTHING:
            return
        reads = 0
        # A read that did not fill the buffer has emptied the pipe.
        while self._open and reads < _READS_MAX and self._read() == _READ_BYTES:
            reads += 1

    def end_of_call(self) -> None:
        """Logs what has been printed so far, a last line without its end too."""
        self.drain()
        if self.log is not None:
            for event in self._events.flush():
                self.log.write(event)

    def close(self) -> None:
        """Stops reading. Idempotent; the descriptor is the sandbox's to close."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)


class Endpoint:
    """Serves a handler on a listening socket inside a sandbox, from the first connection on: most sandboxes never see one."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listener: socket.socket, handler: Handler, limits: Limits, door: object
    ) -> None:
        self._loop = loop
        # The server closes what it is given; the listener itself is the sandbox's to close.
        self._listener = listener.dup()
        self._handler = handler
        self._limits = limits
        self._door = door
        self._task: asyncio.Task[Server] | None = None
        self._closed = False
        loop.add_reader(self._listener.fileno(), self._wake)

    def _wake(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._task = self._loop.create_task(
            serve(self._handler, sock=self._listener, limits=self._limits, door=self._door)
        )

    async def close(self) -> None:
        """Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._task is None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            return
        server = await self._task
        await server.close(0)
