"""What both kinds of environment share about their sandbox: its output becomes log events, its platform endpoint is served."""

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
import termios

from lambent.httpd.limits import Limits
from lambent.httpd.messages import Handler
from lambent.httpd.server import Server, serve
from lambent.runtimes.contract import FunctionLog
from lambent.runtimes.output import OutputEvents
from lambent.sandbox.contract import Sandbox

#: What the output pipe holds and one turn of the loop reads: with the bound of events per read (`output.EVENTS_MAX`), what a
#: function that floods its log can take of the loop at a time. Linux's own default is four times as much.
_PIPE_BYTES = 16 * 1024
_F_SETPIPE_SZ = 1031
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
        # Refused where the user's pipes are at their limit already: then the pipe is smaller than this.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._fd, _F_SETPIPE_SZ, _PIPE_BYTES)
        loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        self._read(_PIPE_BYTES)

    def _read(self, bytes_max: int) -> int:
        """One read; 0 when there is nothing (left)."""
        try:
            data = os.read(self._fd, bytes_max)
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
        """Logs what has been printed so far, without waiting, and nothing of what is printed meanwhile."""
        # Most calls print nothing: asking for the number of bytes costs a fifth of a read that fails with an exception.
        if not self._open or (told := fcntl.ioctl(self._fd, termios.FIONREAD, _NOTHING)) == _NOTHING:
            return
        waiting = int.from_bytes(told, sys.byteorder)
        while self._open and waiting > 0 and (size := self._read(min(waiting, _PIPE_BYTES))):
            waiting -= size

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
