"""An environment whose guest speaks frames. `invoke` is the hot path: one write, one future, no task."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import cast

from lambent.clock import Clock
from lambent.invocation import Invocation
from lambent.runtimes import faults, frames, launch
from lambent.runtimes.contract import (
    Answer,
    AnswerKind,
    FunctionLog,
    FunctionStart,
    InitFailed,
    Runtime,
    Started,
)
from lambent.runtimes.frames import Frame, FrameError, FrameReader, Kind
from lambent.runtimes.output import EVENTS_MAX
from lambent.runtimes.waiting import Waiter
from lambent.runtimes.watch import Endpoint, OutputWatch
from lambent.sandbox.contract import Exit, Sandbox, SandboxError

#: Between the end of the process and the end of its frames: they are in the socket already.
_LAST_FRAMES_SECONDS = 0.2
#: Between the end of the frames and the end of the process; a guest that only closed its channel is killed then.
_EXIT_SECONDS = 1.0


class Phase(Enum):
    """LAUNCHING -> STANDBY -> STARTING -> READY <-> BUSY; DEAD from any."""

    LAUNCHING = "launching"
    STANDBY = "standby"
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    DEAD = "dead"


#: In which phase a guest may send what. LOG is allowed once there is a log, see `_on_log`.
EXPECTED: dict[Kind, Phase] = {
    Kind.HELLO: Phase.LAUNCHING,
    Kind.STARTED: Phase.STARTING,
    Kind.INIT_ERROR: Phase.STARTING,
    Kind.RESULT: Phase.BUSY,
    Kind.ERROR: Phase.BUSY,
    Kind.BAD_EVENT: Phase.BUSY,
}


class FrameEnvironment(asyncio.Protocol):
    """Implements `Environment`. Made by `EnvironmentFactory`, which waits for `hello` before it hands it out."""

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
        self._reader = FrameReader(payload_max + faults.RESULT_SLACK)
        self._phase = Phase.LAUNCHING
        #: Resolves the running phase or call: an Answer, or None for "went well" (HELLO, STARTED).
        self._waiter: Waiter[Answer | None] | None = None
        #: One timer serves call after call: it is set for the first deadline and looks then what the present one is.
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._limit_ms = 0
        self._send = sandbox.channel.send
        self._request_id = ""
        self._timeout_ms = 0
        self._transport: asyncio.Transport | None = None
        self._exit: Exit | None = None
        self._channel_closed = False
        self._death_callbacks: list[Callable[[], None]] = []
        self._discarded: asyncio.Future[None] | None = None
        sandbox.exited.add_done_callback(self._on_exit)

    def __repr__(self) -> str:
        return f"<FrameEnvironment {self.id} {self.runtime.identifier} {self._phase.value}>"

    # --- phases ---

    async def hello(self, limit_ms: int) -> None:
        """Connects the channel and waits until the guest is up. Raises `SandboxError`; the owner discards it then."""
        waiter = self._wait(limit_ms)
        # The transport closes what it is given; the channel is the sandbox's to close.
        await self._loop.create_unix_connection(lambda: self, sock=self._sandbox.channel.dup())
        answer = await waiter
        if answer is not None:
            early = self._output.early.decode("utf-8", "replace").strip()
            raise SandboxError(
                f"the {self.runtime.identifier} runtime ({self.runtime.interpreter}) did not come up: "
                f"{answer.error_type} {answer.exit_text}; it printed: {early or 'nothing'}"
            )
        self._phase = Phase.STANDBY

    async def adopt(self, start: FunctionStart, log: FunctionLog, limit_ms: int) -> Started:
        if self._phase is not Phase.STANDBY:
            raise SandboxError(f"{self!r} cannot be adopted")
        begun = self._clock.monotonic()
        self._phase = Phase.STARTING
        self._timeout_ms = start.timeout_ms
        self._output.log = log
        waiter = self._wait(limit_ms)
        limits = launch.limits_of(start)
        await self._sandbox.attach(launch.attach_binds(start), launch.init_limits(limits))
        environment = launch.variables(self.runtime, start, self._sandbox, endpoint=self._endpoint is not None)
        init = frames.Init(start.handler, environment, list(start.variables))
        self._write(frames.encode(Kind.INIT, init))
        answer = await waiter
        init_ms = (self._clock.monotonic() - begun) * 1000
        if answer is not None:
            self._end()
            raise InitFailed(answer, init_ms)
        self._sandbox.limit_cpu(limits.cpu_milli)
        return Started(init_ms)

    def invoke(self, invocation: Invocation, deadline_ms: int) -> Awaitable[Answer]:
        if self._phase is not Phase.READY:
            return self._refusal(invocation)
        self._request_id = invocation.request_id
        meta = frames.Invoke(
            invocation.request_id,
            deadline_ms,
            invocation.invoked_arn,
            invocation.trace_id,
            invocation.client_context,
            invocation.identity,
        )
        self._phase = Phase.BUSY
        waiter = self._wait(deadline_ms - self._clock.now_ms())
        self._write(frames.encode(Kind.INVOKE, meta, invocation.payload))
        # A call's waiter is never resolved with None: see `_on_frame`.
        return cast("Waiter[Answer]", waiter)

    def _refusal(self, invocation: Invocation) -> Awaitable[Answer]:
        """The answer when the process ended between the pool's look and the call."""
        assert self._phase is Phase.DEAD, f"a call went into {self!r}"
        future: asyncio.Future[Answer] = self._loop.create_future()
        future.set_result(faults.exited(self._exit or Exit(status=0), invocation.request_id))
        return future

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
            if self._timer is not None:
                self._timer.cancel()
            if self._transport is not None:
                self._transport.abort()
            if self._endpoint is not None:
                await self._endpoint.close()
            self._output.close()
            await self._sandbox.discard()
        finally:
            self._discarded.set_result(None)

    # --- waiting and resolving ---

    def _wait(self, limit_ms: int) -> Waiter[Answer | None]:
        waiter: Waiter[Answer | None] = Waiter(self._loop)
        self._waiter = waiter
        self._limit_ms = limit_ms
        self._deadline = deadline = self._loop.time() + max(limit_ms, 0) / 1000
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._on_timer)
        elif self._timer.when() > deadline:
            self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._on_timer)
        return waiter

    def _settle(self, answer: Answer | None) -> None:
        """Resolves what is waited for; everything printed until now is logged first."""
        self._output.end_of_call()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
            return
        shown_ms = self._timeout_ms if self._phase is Phase.BUSY else self._limit_ms
        self._phase = Phase.DEAD
        self.alive = False
        self._sandbox.kill()
        self._settle(faults.timed_out(shown_ms, self._request_id))

    def _write(self, data: bytes) -> None:
        """Straight into the socket where it takes the whole: the guest wakes up now, not when this turn of the loop ends."""
        transport = self._transport
        if transport is None or self._channel_closed:
            return
        if not transport.get_write_buffer_size():
            try:
                sent = self._send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                # The guest is gone; how it ended comes by the other ways.
                return
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(data)

    # --- what the guest sends ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        answer: Answer | None = None
        answered = False
        logged = 0
        try:
            for frame in self._reader.feed(data):
                if frame.kind is Kind.LOG:
                    logged += 1
                    if logged > EVENTS_MAX:
                        raise FrameError("the guest floods its log")
                    self._on_log(frame)
                elif answered:
                    raise FrameError(f"the guest sent {frame.kind.name} after its answer")
                elif self._phase is not Phase.DEAD:
                    answer = self._on_frame(frame)
                    answered = True
        except FrameError as error:
            self._on_broken(error)
            return
        if answered:
            # Last: what waits for it goes on from here, and may send the next call.
            self._settle(answer)

    def _on_frame(self, frame: Frame) -> Answer | None:
        """What the frame answers; None for "went well". Raises `FrameError`."""
        kind = frame.kind
        if self._phase is not EXPECTED[kind]:
            raise FrameError(f"the guest sent {kind.name} while it was {self._phase.value}")
        if kind is Kind.RESULT:
            self._phase = Phase.READY
            if frame.oversize:
                return faults.too_large(frame.size, self._payload_max)
            return Answer(AnswerKind.RESULT, frame.payload)
        if kind is Kind.HELLO:
            frames.hello(frame)
            return None
        if kind is Kind.STARTED:
            self._phase = Phase.READY
            return None
        if kind is Kind.BAD_EVENT:
            self._phase = Phase.READY
            return Answer(AnswerKind.BAD_EVENT, frame.payload)
        return self._on_error(frame)

    def _on_error(self, frame: Frame) -> Answer:
        meta = frames.failure(frame)
        if frame.kind is Kind.INIT_ERROR or meta.exiting:
            self.alive = False
        self._phase = Phase.READY if self.alive else Phase.DEAD
        if frame.oversize:
            return faults.too_large(frame.size, self._payload_max)
        return Answer(AnswerKind.ERROR, frame.payload, meta.type)

    def _on_log(self, frame: Frame) -> None:
        if self._phase is Phase.DEAD:
            return
        if self._output.log is None:
            raise FrameError(f"the guest sent {frame.kind.name} while it was {self._phase.value}")
        self._output.drain()
        text = frame.payload.decode("utf-8", "replace")
        self._output.log.write(text if text.endswith("\n") else text + "\n")

    # --- how it ends ---

    def _on_broken(self, error: FrameError) -> None:
        """The guest broke the protocol: it is killed, and what waits for it learns why."""
        self._phase = Phase.DEAD
        self.alive = False
        self._sandbox.kill()
        waiting = self._waiter is not None
        payload = faults.error_payload(faults.UNKNOWN, str(error), self._request_id)
        self._settle(Answer(AnswerKind.EXIT, payload, faults.UNKNOWN, "signal: killed"))
        if not waiting:
            self._tell_death()

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel_closed = True
        if self._exit is not None:
            self._on_end()
        elif self._discarded is None:
            self._loop.call_later(_EXIT_SECONDS, self._sandbox.kill)

    def _on_exit(self, exited: "asyncio.Future[Exit]") -> None:
        self._exit = exited.result()
        if self._channel_closed or self._transport is None:
            self._on_end()
        else:
            self._loop.call_later(_LAST_FRAMES_SECONDS, self._on_end)

    def _on_end(self) -> None:
        """Process and frames have both ended."""
        if self._discarded is not None:
            return
        waiting = self._waiter is not None
        self._phase = Phase.DEAD
        self.alive = False
        self._settle(faults.exited(self._exit or Exit(status=0), self._request_id))
        if not waiting:
            self._tell_death()

    def _end(self) -> None:
        self._phase = Phase.DEAD
        self.alive = False
        self._sandbox.kill()
        if self._waiter is not None:
            self._settle(faults.exited(Exit(signal=9), self._request_id))

    def _tell_death(self) -> None:
        callbacks, self._death_callbacks = self._death_callbacks, []
        for callback in callbacks:
            callback()
