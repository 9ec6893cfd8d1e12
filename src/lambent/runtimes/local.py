"""Runs one handler from a folder once, without the platform: `lambent run`. A plain process of this user, no isolation."""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from lambent.arn import function_arn
from lambent.clock import SystemClock
from lambent.httpd.limits import Limits
from lambent.ids import Ids
from lambent.invocation import Invocation
from lambent.runtimes import faults
from lambent.runtimes.contract import Answer, AnswerKind, FunctionStart, InitFailed, Runtime
from lambent.runtimes.factory import EnvironmentFactory
from lambent.runtimes.python_sdk import python_caches
from lambent.runtimes.sdk import Sdk
from lambent.runtimes.table import IDENTIFIERS, RuntimeTable, RuntimeUnavailable, UnknownRuntime
from lambent.sandbox.process import ProcessSandboxes
from lambent.settings import TABLE, executable_folders

#: What the context says where the platform would know better.
_ACCOUNT = "000000000000"
_REGION = "us-east-1"
#: As on the platform: the longest init phase.
_INIT_LIMIT_MS = 10_000
_PAYLOAD_MAX = next(int(row.default) for row in TABLE if row.name == "payload_max")


class Done(msgspec.Struct, frozen=True):
    """How it ended. `payload` is the result or the error object as JSON; `error_type` is empty for a result."""

    payload: bytes
    error_type: str
    init_ms: float
    duration_ms: float


class _Log:
    """Implements `FunctionLog`."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write


def run_once(
    folder: Path,
    *,
    handler: str,
    runtime: str,
    event: bytes,
    timeout_s: int,
    memory_mb: int,
    variables: Mapping[str, str],
    log: Callable[[str], None],
) -> Done:
    """Runs `handler` of the code in `folder` with one event. `runtime` is an identifier or a family (`python`, `node`, `nodejs`,
    `provided`), which takes the newest that is there. `log` gets each log event.

    Raises `UnknownRuntime`, `RuntimeUnavailable`, `SandboxError`.
    """
    table = RuntimeTable(executable_folders())
    chosen = choose(table, runtime)
    start = _start_values(folder, handler, chosen, timeout_s, memory_mb, variables)
    with tempfile.TemporaryDirectory(prefix="lambent-run-") as scratch:
        return asyncio.run(_run(chosen, start, event, log, Path(scratch)))


def choose(table: RuntimeTable, name: str) -> Runtime:
    """The runtime with this identifier, or the newest usable one of a family. Raises `UnknownRuntime`, `RuntimeUnavailable`."""
    if name in IDENTIFIERS:
        return table.find(name)
    family = "nodejs" if name in ("node", "nodejs") else name
    of_family = [identifier for identifier in IDENTIFIERS if family and identifier.startswith(family)]
    if not of_family or family not in ("python", "nodejs", "provided"):
        return table.find(name)
    for identifier in reversed(of_family):
        try:
            return table.find(identifier)
        except RuntimeUnavailable:
            continue
    raise RuntimeUnavailable(f"nothing on this machine can run {name}; tried {', '.join(of_family)}")


async def _run(runtime: Runtime, start: FunctionStart, event: bytes, log: Callable[[str], None], scratch: Path) -> Done:
    clock, ids = SystemClock(), Ids()
    sdk = Sdk(scratch / "runtimes", executable_folders(), clock, python=python_caches(scratch / "runtimes"))
    sandboxes = ProcessSandboxes(str(scratch / "sandboxes"))
    factory = EnvironmentFactory(
        sandboxes,
        clock=clock,
        ids=ids,
        folders=sdk.prepare(),
        api=None,
        api_limits=Limits(),
        payload_max=_PAYLOAD_MAX,
    )
    try:
        environment = await factory.standby(runtime)
        try:
            request_id = ids.uuid()
            try:
                init_ms = (await environment.adopt(start, _Log(log), _INIT_LIMIT_MS)).init_ms
            except InitFailed as failed:
                return _done(faults.with_request_id(failed.answer, request_id), failed.init_ms, 0.0)
            begun = clock.monotonic()
            deadline_ms = clock.now_ms() + start.timeout_ms
            answer = await environment.invoke(Invocation(request_id, event, start.arn), deadline_ms)
            return _done(answer, init_ms, (clock.monotonic() - begun) * 1000)
        finally:
            await environment.discard()
    finally:
        await sandboxes.stop()


def _done(answer: Answer, init_ms: float, duration_ms: float) -> Done:
    error_type = "" if answer.kind is AnswerKind.RESULT else answer.error_type or answer.kind.value
    return Done(answer.payload, error_type, init_ms, duration_ms)


def _start_values(
    folder: Path, handler: str, runtime: Runtime, timeout_s: int, memory_mb: int, variables: Mapping[str, str]
) -> FunctionStart:
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in folder.resolve().name)[:64] or "function"
    return FunctionStart(
        account=_ACCOUNT,
        region=_REGION,
        name=name,
        version="$LATEST",
        arn=function_arn(_REGION, _ACCOUNT, name),
        handler=handler,
        memory_mb=memory_mb,
        timeout_ms=timeout_s * 1000,
        tmp_mb=512,
        variables=dict(variables),
        code_dir=str(folder.resolve()),
        log_group=f"/aws/lambda/{name}",
        log_stream="local",
        access_key_id="local",
        secret_access_key="local",
        session_token="local",
        runtime=runtime.identifier,
    )


__all__ = ["Done", "RuntimeUnavailable", "UnknownRuntime", "run_once"]
