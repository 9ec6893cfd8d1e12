"""A dispatcher on a real pool over scripted environments, in memory."""

import asyncio
from pathlib import Path

from lambent import settings
from lambent.access.contract import Credentials
from lambent.clock import SystemClock
from lambent.dispatch.admission import Admission
from lambent.dispatch.dispatcher import Dispatcher
from lambent.functions.records import FunctionVersion
from lambent.ids import Ids
from lambent.invocation import Invocation
from lambent.observe.function_log import FunctionLog
from lambent.pool.pool import Pool
from lambent.pool.standby import Standby
from lambent.runtimes.contract import Family, Runtime
from lambent.runtimes.scripted import Script, ScriptedEnvironments, echo

PYTHON = Runtime(identifier="python3.11", family=Family.PYTHON, interpreter="/usr/bin/python3.11", version="3.11.2")


class Lines:
    """A log writer that keeps what was written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, message: str, timestamp_ms: int) -> None:
        self.lines.append(message)


class Stage:
    """Everything between a door and the sandbox, with the doubles at hand. Implements `PoolSources`."""

    def __init__(self, script: Script = echo, *, standby: int = 0, **overrides: object) -> None:
        self.settings = settings.load(overrides, environment={})
        self.environments = ScriptedEnvironments(script)
        self.clock = SystemClock()
        self.standby = Standby(self.environments, lambda runtime: standby)
        self.pool = Pool(self, self.standby, self.settings, self.clock, Ids())
        self.admission = Admission(self.settings.account_concurrency)
        self.dispatcher = Dispatcher(self.pool, self.admission, self.clock)
        self.logs: list[Lines] = []

    def runtime(self, identifier: str) -> Runtime:
        return PYTHON

    async def code_directory(self, digest: str) -> Path:
        return Path("/nowhere") / digest

    def credentials(self, version: FunctionVersion, session_name: str, seconds: int) -> Credentials:
        return Credentials(access_key_id="ASIA", secret_access_key="s", session_token="t", expires_ms=0)

    def log(self, version: FunctionVersion, stream: str) -> FunctionLog:
        lines = Lines()
        self.logs.append(lines)
        return FunctionLog(lines, self.clock)

    async def stop(self) -> None:
        await self.pool.stop()
        await self.standby.stop()
        assert not self.environments.live, "environments were left behind"
        assert len(asyncio.all_tasks()) == 1, "tasks were left behind"


def version(name: str = "f", revision: str = "r1", **fields: object) -> FunctionVersion:
    values: dict[str, object] = {
        "account": "123456789012",
        "region": "us-east-1",
        "name": name,
        "runtime": "python3.11",
        "handler": "m.f",
        "role": "arn:aws:iam::123456789012:role/r",
        "code_digest": "00",
        "code_size": 1,
        "revision_id": revision,
        "last_modified_ms": 0,
        "log_group": f"/aws/lambda/{name}",
        **fields,
    }
    return FunctionVersion(**values)  # type: ignore[arg-type]


def call(payload: bytes = b"{}", *, tail: bool = False, request_id: str = "id-1") -> Invocation:
    return Invocation(request_id=request_id, payload=payload, invoked_arn="arn", tail=tail)
