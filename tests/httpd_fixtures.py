"""A served handler and a client that sends bytes as they are."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import uvloop

from lambent.httpd.limits import Limits
from lambent.httpd.messages import Handler, Request, Response
from lambent.httpd.server import Server, listen, serve

#: Ends a test whose server or client hangs; no test waits for it.
HANG_SECONDS = 30

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection. `ask` sends and reads one response."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers or name.lower() == "set-cookie", f"{name} twice"
            headers[name.lower()] = value
        return int(lines[0].split(" ")[1]), headers

    async def read(self, *, head_only: bool = False) -> Answer:
        status, headers = await self.read_head()
        if head_only or status in (204, 304) or status < 200:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            pieces = []
            while size := int((await self.reader.readuntil(b"\r\n"))[:-2], 16):
                pieces.append(await self.reader.readexactly(size))
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
            return Answer(status, headers, b"".join(pieces))
        if "content-length" not in headers:
            return Answer(status, headers, await self.reader.read(-1))
        return Answer(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.read()

    async def closed(self) -> bool:
        """Waits for the server to close; False if it says something instead."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.writer.close()


class Served:
    """A running server and the way to it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self.clients.append(client)
        return client

    async def ask(self, data: bytes) -> Answer:
        return await (await self.connect()).ask(data)


def run(work: Awaitable[None], loop: str = "uvloop") -> None:
    async def bounded() -> None:
        async with asyncio.timeout(HANG_SECONDS):
            await work

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(bounded())


def serving(
    handler: Handler,
    check: Callable[[Served], Awaitable[None]],
    limits: Limits | None = None,
    *,
    loop: str = "uvloop",
    sock: socket.socket | None = None,
    door: object = None,
) -> None:
    """Runs `check` against a server of its own."""

    async def work() -> None:
        server = await serve(handler, sock=sock or listen("127.0.0.1", 0), limits=limits or Limits(), door=door)
        served = Served(server)
        try:
            await check(served)
        finally:
            for client in served.clients:
                client.close()
            await server.close(1)
            assert not server.connections

    run(work(), loop)


async def echo(request: Request) -> Response:
    """Method, target and headers in the head, the body in the body."""
    return Response(
        200,
        request.body,
        [("x-method", request.method), ("x-target", f"{request.path}?{request.query}"), ("x-version", request.version)],
    )
