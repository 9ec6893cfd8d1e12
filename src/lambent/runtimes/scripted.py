"""The double of `Environments`: environments that answer from a script, without a process. For tests and the simulation."""

import asyncio
from collections.abc import Awaitable, Callable

from lambent.invocation import Invocation
from lambent.runtimes.contract import (
    Answer,
    AnswerKind,
    Environment,
    FunctionLog,
    FunctionStart,
    InitFailed,
    Runtime,
    Started,
)
from lambent.sandbox.contract import SandboxError

#: Gives the answer of a call; may wait.
Script = Callable[[Invocation], Awaitable[Answer]]


async def echo(invocation: Invocation) -> Answer:
    return Answer(AnswerKind.RESULT, payload=invocation.payload)


class ScriptedEnvironment:
    """Implements `Environment`."""

    def __init__(self, owner: "ScriptedEnvironments", runtime: Runtime, number: int) -> None:
        self.id = f"scripted-{number}"
        self.runtime = runtime
        self.alive = True
        self.start: FunctionStart | None = None
        self._owner = owner
        self._log: FunctionLog | None = None
        self._callbacks: list[Callable[[], None]] = []

    async def adopt(self, start: FunctionStart, log: FunctionLog, limit_ms: int) -> Started:
        self.start = start
        self._log = log
        await asyncio.sleep(0)
        failure = self._owner.init_failure(start, limit_ms)
        if failure is not None:
            self.alive = False
            raise InitFailed(failure, init_ms=12.5)
        return Started(init_ms=12.5)

    async def invoke(self, invocation: Invocation, deadline_ms: int) -> Answer:
        assert self.alive and self._log is not None, "a call went into an environment that is not ready"
        answer = await self._owner.script(invocation)
        if answer.kind in (AnswerKind.TIMEOUT, AnswerKind.EXIT, AnswerKind.OUT_OF_MEMORY):
            self.alive = False
        return answer

    def memory_peak_mib(self) -> int:
        return 40

    def on_death(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def die(self) -> None:
        """What a crash between calls does."""
        self.alive = False
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    async def discard(self) -> None:
        self.alive = False
        self._owner.live.discard(self)
        await asyncio.sleep(0)


class ScriptedEnvironments:
    """Implements `Environments`. `live` holds what was made and not discarded: a test that ends with it empty leaks nothing."""

    def __init__(self, script: Script = echo) -> None:
        self.script = script
        self.live: set[ScriptedEnvironment] = set()
        self.made = 0
        #: Raised by the next starts, one each.
        self.refusals: list[SandboxError] = []
        self.init_failure: Callable[[FunctionStart, int], Answer | None] = lambda start, limit_ms: None

    async def standby(self, runtime: Runtime) -> Environment:
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        self.made += 1
        environment = ScriptedEnvironment(self, runtime, self.made)
        self.live.add(environment)
        return environment
