"""An environment whose runtime is the function's own `bootstrap`, speaking the Runtime API over HTTP."""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from lambent.clock import Clock
from lambent.httpd.limits import BodyBudget, Limits
from lambent.httpd.server import Server, serve
from lambent.invocation import Invocation
from lambent.runtimes import faults, launch
from lambent.runtimes.contract import Answer, FunctionLog, FunctionStart, InitFailed, Runtime, Started
from lambent.runtimes.runtime_api import ApiState, RuntimeApi
from lambent.runtimes.watch import Endpoint, OutputWatch
from lambent.sandbox.contract import Exit, Sandbox, SandboxError

#: AWS looks in the code first, then in the layers (developer guide, custom runtimes).
_BOOTSTRAPS = (f"{launch.TASK}/bootstrap", f"{launch.OPT}/bootstrap")
#: A result past the limit is read this far, so that the runtime keeps its connection; past that it is refused unread.
_OVERSIZE_READ = 2 * 1024 * 1024
#: Bodies of the largest size that a runtime may have on the way at once; it answers one call at a time.
_BODIES_HELD = 2
#: The runtime is silent on its connection for as long as its handler runs; clients do not expect it to be closed then.
_IDLE_SECONDS = 1_000_000.0
#: Connections of one runtime; clients use one or two.
_CONNECTIONS_MAX = 64
#: Between a bootstrap's end and the end of what it posted: that is in the socket already.
_LAST_REQUESTS_SECONDS = 0.05


class CustomEnvironment:
    """Implements `Environment`."""

    def __init__(
        self,
        runtime: Runtime,
        sandbox: Sandbox,
        output: OutputWatch,
        endpoint: Endpoint | None,
        *,
        clock: Clock,
        payload_max: int,
    ) -> None:
        self.id = sandbox.id
        self.runtime = runtime
        self.alive = True
        self._sandbox = sandbox
        self._output = output
        self._endpoint = endpoint
        self._clock = clock
        self._payload_max = payload_max
        self._loop = asyncio.get_running_loop()
        self._api = RuntimeApi(self._settle, payload_max=payload_max)
        self._server: Server | None = None
        #: Resolves the init phase (None: went well) or the running call.
        self._waiter: asyncio.Future[Answer | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._request_id = ""
        self._timeout_ms = 0
        self._adopted = False
        self._exit: Exit | None = None
        self._death_callbacks: list[Callable[[], None]] = []
        self._discarded: asyncio.Future[None] | None = None
        sandbox.exited.add_done_callback(self._on_exit)

    def __repr__(self) -> str:
        return f"<CustomEnvironment {self.id} {self.runtime.identifier} {self._api.state.value}>"

    async def adopt(self, start: FunctionStart, log: FunctionLog, limit_ms: int) -> Started:
        if self._adopted or not self.alive:
            raise SandboxError(f"{self!r} cannot be adopted")
        self._adopted = True
        begun = self._clock.monotonic()
        self._timeout_ms = start.timeout_ms
        self._output.log = log
        fault = _entrypoint_fault(Path(start.code_dir))
        if fault:
            self._end()
            raise InitFailed(faults.failed(faults.INVALID_ENTRYPOINT, fault), 0.0)
        waiter = self._wait(limit_ms)
        limits = launch.limits_of(start)
        await self._sandbox.attach(launch.attach_binds(start), launch.init_limits(limits))
        await self._serve()
        task = self._sandbox.path_of(launch.TASK)
        environment = launch.variables(self.runtime, start, self._sandbox, endpoint=self._endpoint is not None)
        try:
            await self._sandbox.start((f"{task}/bootstrap",), environment, task)
        except SandboxError as error:
            self._settle(faults.failed(faults.INVALID_ENTRYPOINT, str(error)))
        answer = await waiter
        init_ms = (self._clock.monotonic() - begun) * 1000
        if answer is not None:
            self._end()
            raise InitFailed(answer, init_ms)
        self._sandbox.limit_cpu(limits.cpu_milli)
        return Started(init_ms)

    async def _serve(self) -> None:
        body_max = self._payload_max + _OVERSIZE_READ
        limits = Limits(
            body_max=body_max,
            too_large=self._api.refuse,
            budget=BodyBudget(_BODIES_HELD * body_max),
            connections_max=_CONNECTIONS_MAX,
            idle_seconds=_IDLE_SECONDS,
            body_seconds=_IDLE_SECONDS,
        )
        listener = self._sandbox.listeners[launch.RUNTIME_API_PORT].dup()
        self._server = await serve(self._api.respond, sock=listener, limits=limits, door=f"runtime {self.id}")

    def invoke(self, invocation: Invocation, deadline_ms: int) -> Awaitable[Answer]:
        if not self.alive:
            future: asyncio.Future[Answer] = self._loop.create_future()
            future.set_result(faults.exited(self._exit or Exit(status=0), invocation.request_id))
            return future
        self._request_id = invocation.request_id
        waiter = self._wait(deadline_ms - self._clock.now_ms())
        self._api.invoke(invocation, deadline_ms)
        # A call's waiter is never resolved with None: only the first `next` does that.
        return cast("asyncio.Future[Answer]", waiter)

    def memory_peak_mib(self) -> int:
        return -(-self._sandbox.memory_peak_bytes() // (1024 * 1024))

    def on_death(self, callback: Callable[[], None]) -> None:
        self._death_callbacks.append(callback)

    async def discard(self) -> None:
        if self._discarded is not None:
            await asyncio.shield(self._discarded)
            return
        self._discarded = self._loop.create_future()
        try:
            self._death_callbacks.clear()
            self._end()
            if self._server is not None:
                await self._server.close(0)
            if self._endpoint is not None:
                await self._endpoint.close()
            self._output.close()
            await self._sandbox.discard()
        finally:
            self._discarded.set_result(None)

    def _wait(self, limit_ms: int) -> "asyncio.Future[Answer | None]":
        waiter: asyncio.Future[Answer | None] = self._loop.create_future()
        self._waiter = waiter
        self._timer = self._loop.call_later(max(limit_ms, 0) / 1000, self._on_deadline, limit_ms)
        return waiter

    def _settle(self, answer: Answer | None) -> None:
        """Resolves what is waited for; everything printed until now is logged first."""
        self._output.end_of_call()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def _on_deadline(self, limit_ms: int) -> None:
        self._timer = None
        shown_ms = self._timeout_ms if self._api.state is ApiState.BUSY else limit_ms
        self._kill()
        self._settle(faults.timed_out(shown_ms, self._request_id))

    def _on_exit(self, exited: "asyncio.Future[Exit]") -> None:
        self._exit = exited.result()
        self._loop.call_later(_LAST_REQUESTS_SECONDS, self._on_end)

    def _on_end(self) -> None:
        if self._discarded is not None:
            return
        waiting = self._waiter is not None
        self._kill()
        self._settle(faults.exited(self._exit or Exit(status=0), self._request_id))
        if not waiting:
            callbacks, self._death_callbacks = self._death_callbacks, []
            for callback in callbacks:
                callback()

    def _kill(self) -> None:
        self.alive = False
        self._api.end()
        self._sandbox.kill()

    def _end(self) -> None:
        self._kill()
        if self._waiter is not None:
            self._settle(faults.exited(Exit(signal=9), self._request_id))


def _entrypoint_fault(code_dir: Path) -> str:
    """Why the code has no bootstrap that can run; empty if it has one. A symbolic link is judged inside the sandbox only."""
    path = code_dir / "bootstrap"
    try:
        found = os.lstat(path)
    except OSError:
        return f"Couldn't find valid bootstrap(s): [{' '.join(_BOOTSTRAPS)}]"
    if stat.S_ISLNK(found.st_mode):
        return ""
    if not stat.S_ISREG(found.st_mode):
        return f"Couldn't find valid bootstrap(s): [{' '.join(_BOOTSTRAPS)}]"
    if not found.st_mode & 0o111:
        return f"fork/exec {_BOOTSTRAPS[0]}: permission denied"
    return ""
