"""Floors: what the machine can do at all. The bench compares the platform with them in the same run.

    floor.py echo             bare uvloop + httptools: parse, answer the body
    floor.py httpd            the same through lambent.httpd with the smallest handler
    floor.py python|node      HTTP in, frame to a bare child, frame back, HTTP out: no sandbox, no Lambda, no checks

Prints `{"port": N}` when it listens. Ends with SIGTERM.
"""

import argparse
import asyncio
import collections
import json
import shutil
import socket
import sys
from pathlib import Path
from typing import cast

import httptools
import uvloop

#: One child for each connection that the bench opens at most.
CHILDREN = 64

PYTHON_CHILD = """
import os, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
buffer = b""
while True:
    while len(buffer) < 4 or len(buffer) < 4 + int.from_bytes(buffer[:4], "big"):
        data = sock.recv(65536)
        if not data:
            os._exit(0)
        buffer += data
    size = 4 + int.from_bytes(buffer[:4], "big")
    sock.sendall(buffer[:size])
    buffer = buffer[size:]
"""

NODE_CHILD = """
const fs = require("fs"), fd = Number(process.argv[1]), buffer = Buffer.alloc(1 << 20);
let have = 0;
for (;;) {
  while (have < 4 || have < 4 + buffer.readUInt32BE(0)) {
    const read = fs.readSync(fd, buffer, have, buffer.length - have, null);
    if (read === 0) process.exit(0);
    have += read;
  }
  const size = 4 + buffer.readUInt32BE(0);
  fs.writeSync(fd, buffer, 0, size);
  buffer.copyWithin(0, size, have);
  have -= size;
}
"""


class Child(asyncio.Protocol):
    """A child process behind a socketpair; one frame at a time."""

    def __init__(self, floor: "Floor") -> None:
        self.floor = floor
        self.buffer = b""
        self.connection: Http | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def call(self, connection: "Http", body: bytes) -> None:
        self.connection = connection
        self.transport.write(len(body).to_bytes(4, "big") + body)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) < 4 or len(self.buffer) < 4 + int.from_bytes(self.buffer[:4], "big"):
            return
        connection, body, self.buffer = self.connection, self.buffer[4:], b""
        self.connection = None
        self.floor.free(self)
        if connection is not None:
            connection.answer(body)


class Floor:
    """Children, the most recently used one first."""

    def __init__(self) -> None:
        self.idle: list[Child] = []
        self.waiting: collections.deque[tuple[Http, bytes]] = collections.deque()

    async def start(self, command: list[str]) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CHILDREN):
            ours, theirs = socket.socketpair()
            theirs.setblocking(True)
            await asyncio.create_subprocess_exec(*command, str(theirs.fileno()), pass_fds=[theirs.fileno()])
            theirs.close()
            ours.setblocking(False)
            _, child = await loop.connect_accepted_socket(lambda: Child(self), ours)
            self.idle.append(child)

    def run(self, connection: "Http", body: bytes) -> None:
        if self.idle:
            self.idle.pop().call(connection, body)
        else:
            self.waiting.append((connection, body))

    def free(self, child: Child) -> None:
        if self.waiting:
            child.call(*self.waiting.popleft())
        else:
            self.idle.append(child)


class Http(asyncio.Protocol):
    """The smallest HTTP/1.1 server that wrk is content with."""

    def __init__(self, floor: Floor | None) -> None:
        self.floor = floor
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        pass

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        if self.floor is None:
            self.answer(body)
        else:
            self.floor.run(self, body)

    def answer(self, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def start(kind: str, sock: socket.socket) -> None:
    if kind == "httpd":
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
        from lambent.httpd.messages import Request, Response
        from lambent.httpd.server import Limits, serve

        async def echo(request: Request) -> Response:
            return Response(200, request.body)

        await serve(echo, sock=sock, limits=Limits())
        return
    floor = None if kind == "echo" else Floor()
    if floor is not None:
        node = shutil.which("node") or "node"
        await floor.start([sys.executable, "-ISc", PYTHON_CHILD] if kind == "python" else [node, "-e", NODE_CHILD])
    await asyncio.get_running_loop().create_server(lambda: Http(floor), sock=sock)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("echo", "httpd", "python", "node"))
    kind = parser.parse_args().kind
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sock.setblocking(False)
    await start(kind, sock)
    print(json.dumps({"port": sock.getsockname()[1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
