"""Carries out what `plan.py` decides: starts environments from standby, lends them, takes them back, discards them."""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from lambent.access.contract import Credentials
from lambent.arn import runtime_version_arn
from lambent.bus.tasks import end_task
from lambent.clock import Clock
from lambent.errors import LambentError
from lambent.functions.records import FunctionVersion
from lambent.ids import Ids
from lambent.observe.function_log import FunctionLog
from lambent.pool.environment import NoRoom, PooledEnvironment, StartFailed
from lambent.pool.plan import Fleet, expired, longest_idle
from lambent.pool.standby import Standby
from lambent.runtimes.contract import AnswerKind, FunctionStart, InitFailed, Runtime
from lambent.settings import Settings

logger = logging.getLogger("lambent.pool")

#: How long a function's credentials last (the longest that AssumeRole gives), and an environment before it is replaced:
#: between the two lies more than the longest call.
CREDENTIALS_SECONDS = 12 * 3600
LIFETIME_SECONDS = CREDENTIALS_SECONDS - 2 * 3600
#: How often idle environments are looked through.
SWEEP_SECONDS = 1.0

Waiter = asyncio.Future[PooledEnvironment]
Held = Fleet[PooledEnvironment, Waiter]


class PoolSources(Protocol):
    """What the pool asks of other rooms; filled by `wiring`."""

    def runtime(self, identifier: str) -> Runtime:
        """Raises a `LambentError` when the identifier has no interpreter here."""

    def code_directory(self, digest: str) -> Awaitable[Path]: ...

    def credentials(self, version: FunctionVersion, session_name: str, seconds: int) -> Credentials: ...

    def log(self, version: FunctionVersion, stream: str) -> FunctionLog: ...


class Pool:
    """Every environment of this node that belongs to a function."""

    def __init__(self, sources: PoolSources, standby: Standby, settings: Settings, clock: Clock, ids: Ids) -> None:
        self._sources = sources
        self._standby = standby
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._fleets: dict[str, Held] = {}
        self._size = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begins looking for environments that were idle too long."""
        self._sweeper = asyncio.create_task(self._sweep())

    def counts(self) -> dict[str, int]:
        """Environments by state."""
        fleets = self._fleets.values()
        return {
            "idle": sum(len(fleet.idle) for fleet in fleets),
            "busy": sum(fleet.busy for fleet in fleets),
            "starting": sum(fleet.starting for fleet in fleets),
        }

    def take_idle(self, version: FunctionVersion) -> PooledEnvironment | None:
        """The hot path: the most recently used idle environment of a version, or None."""
        fleet = self._fleets.get(version.key)
        return fleet.take_idle() if fleet is not None else None

    async def lease(self, version: FunctionVersion, init_limit_ms: int | None = None) -> PooledEnvironment:
        """An environment for one call, started when none is idle. Give it back with `release`.

        Raises `NoRoom`, `StartFailed` (the function's init phase failed), or the `LambentError` of what was missing.
        """
        held = self.take_idle(version)
        if held is not None:
            return held
        self._make_room()
        fleet = self._fleets.get(version.key)
        if fleet is None:
            fleet = self._fleets[version.key] = Fleet(version.key)
        waiter: Waiter = asyncio.get_running_loop().create_future()
        fleet.wait(waiter)
        limit_ms = init_limit_ms if init_limit_ms is not None else self._settings.init_seconds * 1000
        for _ in range(fleet.starts_needed()):
            fleet.starting += 1
            self._size += 1
            self._spawn(self._start(fleet, version, limit_ms))
        try:
            return await waiter
        except asyncio.CancelledError:
            # The environment may have come in the very moment in which the caller gave up.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())
            raise

    def release(self, held: PooledEnvironment, *, reusable: bool = True) -> None:
        """Takes an environment back after its call; a dead or unusable one is discarded."""
        fleet = self._fleets[held.version.key]
        fleet.busy -= 1
        if reusable and held.environment.alive and self._clock.monotonic() < held.expires:
            self._place(fleet, held)
        else:
            self._remove(held)
        self._forget_if_empty(fleet)

    def retire(self, key: str) -> None:
        """The version was replaced or deleted: running calls end on it, no other begins."""
        fleet = self._fleets.get(key)
        if fleet is None:
            return
        for held in fleet.retire():
            self._remove(held)
        self._forget_if_empty(fleet)

    async def stop(self) -> None:
        """Discards every idle environment; calls that still run are cut off with their sandboxes by the caller."""
        self._stopping = True
        if self._sweeper is not None:
            await end_task(self._sweeper)
        for fleet in list(self._fleets.values()):
            self.retire(fleet.key)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_room(self) -> None:
        """Rule 3 of the plan. Raises `NoRoom`."""
        if self._size < self._settings.environments_max:
            return
        oldest = longest_idle(self._fleets.values())
        if oldest is None:
            raise NoRoom(f"all {self._size} environments of this node are busy (environments_max)")
        fleet, held = oldest
        fleet.idle.remove(held)
        self._remove(held)
        self._forget_if_empty(fleet)

    async def _start(self, fleet: Held, version: FunctionVersion, limit_ms: int) -> None:
        try:
            held = await self._started(version, limit_ms)
        except LambentError as error:
            self._start_failed(fleet, error)
            return
        except BaseException as error:
            self._start_failed(fleet, LambentError("the environment could not be started"))
            if isinstance(error, Exception):
                logger.exception("starting %s", version.key)
                return
            raise
        fleet.starting -= 1
        self._place(fleet, held)
        self._forget_if_empty(fleet)

    def _start_failed(self, fleet: Held, error: LambentError) -> None:
        fleet.starting -= 1
        self._size -= 1
        waiter = fleet.next_waiter()
        if waiter is not None:
            waiter.set_exception(error)
        self._forget_if_empty(fleet)

    async def _started(self, version: FunctionVersion, limit_ms: int) -> PooledEnvironment:
        """Standby, code, credentials, log, init phase. Raises `LambentError`; then nothing of it is left."""
        runtime = self._sources.runtime(version.runtime)
        code_dir = await self._sources.code_directory(version.code_digest)
        environment = await self._standby.take(runtime)
        try:
            stream = self._stream_name(version)
            log = self._sources.log(version, stream)
            # When the init phase fails, its lines belong to the tail that the waiting caller asked for.
            log.begin_tail()
            start = self._start_values(version, str(code_dir), stream)
            log.write(_init_start(version, runtime))
            try:
                started = await environment.adopt(start, log, limit_ms)
            except InitFailed as failure:
                log.write(_init_report(failure))
                raise StartFailed(failure, log) from failure
        except BaseException:
            await environment.discard()
            raise
        expires = self._clock.monotonic() + LIFETIME_SECONDS
        held = PooledEnvironment(environment, version, log, stream, started.init_ms, expires)
        environment.on_death(lambda: self._died(held))
        return held

    def _stream_name(self, version: FunctionVersion) -> str:
        """`YYYY/MM/DD/[VERSION]<32 hex>`; with a shared group the function's name stands before the bracket (contract 5)."""
        day = datetime.datetime.fromtimestamp(self._clock.now_ms() / 1000, datetime.UTC).strftime("%Y/%m/%d")
        name = "" if version.log_group == f"/aws/lambda/{version.name}" else version.name
        return f"{day}/{name}[{version.version}]{self._ids.hex(32)}"

    def _start_values(self, version: FunctionVersion, code_dir: str, stream: str) -> FunctionStart:
        credentials = self._sources.credentials(version, version.name, CREDENTIALS_SECONDS)
        return FunctionStart(
            account=version.account,
            region=version.region,
            name=version.name,
            version=version.version,
            runtime=version.runtime,
            arn=version.arn,
            handler=version.handler,
            memory_mb=version.memory_mb,
            timeout_ms=version.timeout_s * 1000,
            tmp_mb=version.tmp_mb,
            variables=version.variables,
            code_dir=code_dir,
            log_group=version.log_group,
            log_stream=stream,
            access_key_id=credentials.access_key_id,
            secret_access_key=credentials.secret_access_key,
            session_token=credentials.session_token,
        )

    def _place(self, fleet: Held, held: PooledEnvironment) -> None:
        action, waiter = fleet.place(held, self._clock.monotonic())
        if action == "serve":
            assert waiter is not None
            waiter.set_result(held)
        elif action == "discard":
            self._remove(held)

    def _remove(self, held: PooledEnvironment) -> None:
        """Discards an environment that is in no fleet's counts any more."""
        self._size -= 1
        self._spawn(held.environment.discard())

    def _died(self, held: PooledEnvironment) -> None:
        fleet = self._fleets.get(held.version.key)
        if fleet is not None and held in fleet.idle:
            fleet.idle.remove(held)
            self._remove(held)
            self._forget_if_empty(fleet)

    def _forget_if_empty(self, fleet: Held) -> None:
        if fleet.empty:
            self._fleets.pop(fleet.key, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._clock.monotonic()
            for fleet in list(self._fleets.values()):
                for held in expired(fleet, now, self._settings.idle_seconds):
                    self._remove(held)
                self._forget_if_empty(fleet)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _init_start(version: FunctionVersion, runtime: Runtime) -> str:
    """AWS's form; the version is that of what really serves the runtime here."""
    served = f"{runtime.identifier}:{runtime.version}" if runtime.version else runtime.identifier
    arn = runtime_version_arn(version.region, version.runtime)
    return f"INIT_START Runtime Version: {served}\tRuntime Version ARN: {arn}\n"


def _init_report(failure: InitFailed) -> str:
    """The line that only a failed init phase writes (contract 5)."""
    status = "timeout" if failure.answer.kind is AnswerKind.TIMEOUT else "error"
    kind = f"\tError Type: {failure.answer.error_type}" if failure.answer.error_type and status == "error" else ""
    return f"INIT_REPORT Init Duration: {failure.init_ms:.2f} ms\tPhase: init\tStatus: {status}{kind}\n"
