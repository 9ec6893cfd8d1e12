"""Makes standby environments of every family."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lambent.clock import Clock
from lambent.httpd.limits import Limits
from lambent.httpd.messages import Handler
from lambent.ids import Ids
from lambent.runtimes import launch
from lambent.runtimes.contract import Environment, Family, Runtime
from lambent.runtimes.custom_environment import CustomEnvironment
from lambent.runtimes.environment import FrameEnvironment
from lambent.runtimes.watch import Endpoint, OutputWatch
from lambent.sandbox.contract import Sandbox, SandboxError, Sandboxes

#: An interpreter is up within 50 ms; past this it never will be.
HELLO_LIMIT_MS = 10_000
#: Connections of one sandbox to the platform's API. AWS's clients keep 50 at most (JavaScript); each costs the node a
#: descriptor and the memory of an unfinished request, of which one function must not take everybody's.
ENDPOINT_CONNECTIONS_MAX = 64


class EnvironmentFactory:
    """Implements `Environments`.

    `folders` holds, by family, the host folder that appears as /var/runtime (`sdk.py` makes them). `api` answers what
    functions ask of the platform (AWS_ENDPOINT_URL) under `api_limits` with fewer connections; its requests carry the environment as their door.
    """

    def __init__(
        self,
        sandboxes: Sandboxes,
        *,
        clock: Clock,
        ids: Ids,
        folders: Mapping[Family, Path],
        api: Handler | None,
        api_limits: Limits,
        payload_max: int,
    ) -> None:
        self._sandboxes = sandboxes
        self._clock = clock
        self._ids = ids
        self._folders = folders
        self._api = api
        self._endpoint_limits = msgspec.structs.replace(api_limits, connections_max=ENDPOINT_CONNECTIONS_MAX)
        self._payload_max = payload_max

    async def standby(self, runtime: Runtime) -> Environment:
        """Raises `SandboxError`; then nothing of it is left."""
        if runtime.unavailable:
            raise SandboxError(f"{runtime.identifier} cannot run here: {runtime.unavailable}")
        spec = launch.standby_spec(runtime, self._ids.hex(16), self._folders.get(runtime.family))
        sandbox = await self._sandboxes.create(spec)
        loop = asyncio.get_running_loop()
        output = OutputWatch(loop, sandbox)
        endpoint = self._endpoint(loop, sandbox)
        if runtime.family is Family.PROVIDED:
            return CustomEnvironment(
                runtime, sandbox, output, endpoint, clock=self._clock, payload_max=self._payload_max
            )
        environment = FrameEnvironment(
            runtime, sandbox, output, endpoint, clock=self._clock, payload_max=self._payload_max
        )
        try:
            await environment.hello(HELLO_LIMIT_MS)
        except BaseException:
            await environment.discard()
            raise
        return environment

    def _endpoint(self, loop: asyncio.AbstractEventLoop, sandbox: Sandbox) -> Endpoint | None:
        listener = sandbox.listeners.get(launch.ENDPOINT_PORT)
        if listener is None or self._api is None:
            return None
        return Endpoint(loop, listener, self._api, self._endpoint_limits, f"sandbox {sandbox.id}")
