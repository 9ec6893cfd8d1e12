"""Builds every part from the settings and connects them. The only file that knows all rooms; it decides nothing."""

import asyncio
import contextlib
import gc
import logging
import os
import platform
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from lambent import __version__
from lambent.access.contract import Credentials
from lambent.access.installation import claim_data_dir, open_installation, write_private
from lambent.access.keys import Keys
from lambent.arn import function_arn, parse_function_name
from lambent.aws.endpoint import Endpoint
from lambent.bus import subjects
from lambent.bus.bus import Bus
from lambent.bus.tasks import end_task
from lambent.bus.work_queue import WorkQueue
from lambent.clock import Clock, SystemClock
from lambent.dispatch.admission import Admission
from lambent.dispatch.dispatcher import Dispatcher
from lambent.dispatch.queue import ACK_WAIT_SECONDS, AsyncQueue, QueuedCall
from lambent.dispatch.retry import RetryRules, read_waits
from lambent.errors import SettingsError
from lambent.functions.code import CodeStore
from lambent.functions.collector import Collector
from lambent.functions.records import FunctionVersion
from lambent.functions.store import FunctionStore
from lambent.gateway.gateway import Gateway
from lambent.gateway.routes import HttpBinding
from lambent.httpd.limits import BodyBudget, Limits
from lambent.httpd.messages import Handler, Request, Response
from lambent.httpd.server import listen, serve
from lambent.ids import Ids
from lambent.invocation import Invocation, Outcome
from lambent.observe.function_log import FunctionLog
from lambent.observe.logs import LogStore
from lambent.pool.pool import Pool
from lambent.pool.standby import Standby
from lambent.runtimes.contract import Family, Runtime
from lambent.runtimes.factory import EnvironmentFactory
from lambent.runtimes.prepare import Compiler
from lambent.runtimes.python_sdk import python_caches
from lambent.runtimes.sdk import Sdk
from lambent.runtimes.table import RuntimeTable
from lambent.sandbox.client import SpawnedSandboxes, SpawnerProcess, connect, launch_spawner
from lambent.sandbox.confine import confine
from lambent.sandbox.contract import SandboxError, Sandboxes
from lambent.sandbox.process import ProcessSandboxes
from lambent.services import lambent_
from lambent.services.iam.roles import Roles
from lambent.services.iam.service import IamService
from lambent.services.lambda_.service import LambdaService
from lambent.services.lambent_.platform import Status
from lambent.services.lambent_.service import service as platform_service
from lambent.services.logs.service import LogsService
from lambent.services.sts.service import StsService
from lambent.settings import Settings
from lambent.sources.bindings import SubjectBinding
from lambent.sources.subjects import SubjectSource
from lambent.state.jetstream import JetStreamState

logger = logging.getLogger("lambent")

#: Between two restarts of a spawner that keeps ending.
SPAWNER_PAUSE_SECONDS = 1.0

ENDPOINT_FILE = "endpoint.json"
#: In the data directory: what appears as /var/runtime and is not shared with other data directories.
RUNTIMES_FOLDER = "runtimes"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a running platform tells about itself: the ready line of `up --json`, and `endpoint.json` in its data directory."""

    api_url: str
    http_url: str
    nats_url: str
    region: str
    account: str
    access_key_id: str
    secret_access_key: str
    #: Of Lambent's own NATS account; plain clients need none. Empty with an external server.
    nats_user: str
    nats_password: str
    pid: int
    isolation: str
    cgroups: str
    weaker: tuple[str, ...]
    data_dir: str
    version: str


def serve_platform(
    settings: Settings, on_ready: Callable[[Ready], None], on_stop: Callable[[], None] = lambda: None
) -> int:
    """Runs the platform until SIGINT or SIGTERM; returns the exit status. Raises a `LambentError` when it cannot start.
    `on_stop` is called when a running platform was told to stop and begins to.

    The spawner is started first, while this process still has its rights; then they are given up.
    """
    _check(settings)
    data_dir = Path(settings.data_dir)
    lock = claim_data_dir(data_dir)
    compiler = Compiler(python_caches(data_dir / RUNTIMES_FOLDER))
    try:
        compiler.start()
        spawner = None
        if settings.isolation == "sandbox":
            run_dir = data_dir / "sandboxes"
            run_dir.mkdir(mode=0o700, exist_ok=True)
            installation = open_installation(data_dir, Ids())
            spawner = launch_spawner(str(run_dir), installation.account, settings.sandbox_uid_base)
            if os.geteuid() == 0:
                confine((str(data_dir),))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(settings, spawner, on_ready, on_stop))
    finally:
        compiler.stop()
        os.close(lock)


async def _run(
    settings: Settings,
    spawner: SpawnerProcess | None,
    on_ready: Callable[[Ready], None],
    on_stop: Callable[[], None],
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        node = _Node(settings, stack, stop)
        starting = asyncio.create_task(node.start(spawner))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            on_ready(await starting)
            # What the start made stays for good: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            await waiting
            on_stop()
        waiting.cancel()
    return 1 if node.failed else 0


def _check(settings: Settings) -> None:
    """What no single setting can check by itself."""
    read_waits(settings.async_retry_seconds)
    if settings.open and settings.listen not in LOOPBACK:
        raise SettingsError("--open accepts any credentials and works on loopback only; leave out --listen or --open")


class _Node:
    """One start of the platform, part by part from low to high; `stack` stops them in the opposite order."""

    def __init__(self, settings: Settings, stack: AsyncExitStack, stop: asyncio.Event) -> None:
        self._settings = settings
        self._stack = stack
        self._stop = stop
        #: The platform stops because it cannot go on; whoever supervises it should start it again.
        self.failed = False
        self._data_dir = Path(settings.data_dir)
        self._clock = SystemClock()
        self._ids = Ids()
        self._begun = time.monotonic()
        self._installation = open_installation(self._data_dir, self._ids)

    async def start(self, spawner: SpawnerProcess | None) -> Ready:
        self._sandboxes = await self._start_sandboxes(spawner)
        await self._start_state()
        await self._start_calls()
        await self._start_queue()
        await self._open_doors()
        return self._ready()

    async def _start_sandboxes(self, spawner: SpawnerProcess | None) -> Sandboxes:
        if spawner is None:
            processes = ProcessSandboxes(str(self._data_dir / "sandboxes"))
            self._stack.push_async_callback(processes.stop)
            return processes
        sandboxes = await connect(spawner)
        self._stack.push_async_callback(sandboxes.stop)
        keeper = asyncio.create_task(self._keep_spawner(sandboxes), name="spawner keeper")
        self._stack.push_async_callback(end_task, keeper)
        return sandboxes

    async def _keep_spawner(self, sandboxes: SpawnedSandboxes) -> None:
        """Its sandboxes are gone with it; calls get new ones as soon as there is another."""
        while True:
            await asyncio.shield(sandboxes.died)
            try:
                await sandboxes.restart()
            except SandboxError as error:
                logger.error("%s", error)
                self.failed = True
                self._stop.set()
                return
            logger.error("the process that makes sandboxes had ended and was started again")
            await asyncio.sleep(SPAWNER_PAUSE_SECONDS)

    async def _start_state(self) -> None:
        """The bus and everything that survives: tables, code packages, logs."""
        settings, clock = self._settings, self._clock
        self._bus = Bus(settings)
        await self._bus.start()
        self._stack.push_async_callback(self._bus.stop)
        state = JetStreamState(self._bus.streams)
        self._stack.push_async_callback(state.stop)
        self._logs = LogStore(self._bus.streams, state, settings, clock, self._ids)
        await self._logs.start()
        self._stack.push_async_callback(self._logs.stop)
        self._code = CodeStore(await state.blobs("code"), self._data_dir / "code", settings, clock)
        await self._code.open()
        self._store = await FunctionStore.open(state, self._code, clock, self._ids)
        collector = Collector(self._store)
        collector.start()
        self._stack.push_async_callback(collector.stop)
        self._roles = await Roles.open(state, clock)
        self._http_bindings = await state.table("http_bindings", HttpBinding)
        self._nats_bindings = await state.table("nats_bindings", SubjectBinding)

    async def _start_calls(self) -> None:
        """Everything between a door and a sandbox."""
        settings, clock, ids = self._settings, self._clock, self._ids
        self._keys = Keys(
            account=self._installation.account,
            access_key_id=self._installation.access_key_id,
            secret_access_key=self._installation.secret_access_key,
            master=self._installation.master_secret.encode(),
            clock=clock,
            ids=ids,
            open=settings.open,
        )
        self._api = _LateHandler()
        folders = os.get_exec_path()
        own_cache = self._data_dir / RUNTIMES_FOLDER
        sdk = Sdk(own_cache, folders, clock, python=python_caches(own_cache))
        guests = await asyncio.to_thread(sdk.prepare)
        self._stack.push_async_callback(sdk.stop)
        want_sdk = sdk.want if settings.node_sdk else lambda identifier: None
        self._runtimes = RuntimeTable(folders, used=want_sdk, note=sdk.note)
        environments = EnvironmentFactory(
            self._sandboxes,
            clock=clock,
            ids=ids,
            folders=guests,
            api=self._api,
            # A budget of their own: what functions hold must not shut the ports for everybody else.
            api_limits=_limits(settings, settings.api_body_max, BodyBudget(settings.bodies_max // 4)),
            payload_max=settings.payload_max,
        )
        self._standby = Standby(environments, lambda runtime: _standby_level(settings, runtime))
        self._stack.push_async_callback(self._standby.stop)
        parts = _PoolParts(self._runtimes, self._code, self._keys, self._logs, clock)
        self._pool = Pool(parts, self._standby, settings, clock, ids)
        self._stack.push_async_callback(self._pool.stop)
        self._pool.start()
        self._store.on_change(self._pool.retire)
        self._dispatcher = Dispatcher(self._pool, Admission(settings.account_concurrency), clock)
        self._stack.push_async_callback(self._dispatcher.drain, settings.shutdown_grace_seconds)

    async def _start_queue(self) -> None:
        """Asynchronous calls. Stopped before the doors close: what runs then is delivered again after the next start."""
        settings = self._settings
        stored = WorkQueue(self._bus.streams, subjects.ASYNC_STREAM, subjects.async_events(), ACK_WAIT_SECONDS)
        await stored.open()
        self._stack.push_async_callback(stored.close)
        rules = RetryRules(settings.async_attempts, read_waits(settings.async_retry_seconds))

        def resolve(call: QueuedCall) -> FunctionVersion:
            return self._store.resolve(call.account, call.region, call.name, call.qualifier)

        run = self._dispatcher.run
        self._queue = AsyncQueue(stored, run, resolve, rules, settings.async_in_flight, self._clock)

    async def _open_doors(self) -> None:
        """Ports are taken first, so that a taken one is said before anything is served."""
        settings = self._settings
        api_socket = listen(settings.listen, settings.api_port, setting="--api-port")
        self._stack.callback(api_socket.close)
        http_socket = listen(settings.listen, settings.http_port, setting="--http-port")
        self._stack.callback(http_socket.close)
        nats_port = self._bus.server.port if self._bus.server is not None else 0
        self._ports = {"api": _port(api_socket), "http": _port(http_socket), "nats": nats_port}
        caller = _Caller(self._store, self._dispatcher, settings.region, self._ids)
        self._api.handler = self._api_handler()
        gateway = Gateway(
            self._http_bindings,
            caller.http,
            clock=self._clock,
            ids=self._ids,
            event_max=settings.payload_max,
            port=self._ports["http"],
        )
        grace_seconds = settings.shutdown_grace_seconds
        bodies = BodyBudget(settings.bodies_max)
        api_limits = _limits(settings, settings.api_body_max, bodies)
        api_server = await serve(self._api, sock=api_socket, limits=api_limits)
        self._stack.push_async_callback(api_server.close, grace_seconds)
        http_limits = _limits(settings, settings.http_body_max, bodies)
        http_server = await serve(gateway.handle, sock=http_socket, limits=http_limits)
        self._stack.push_async_callback(http_server.close, grace_seconds)
        source = SubjectSource(self._bus.events, self._nats_bindings, caller.subject, settings)
        await source.start()
        self._stack.push_async_callback(source.stop)
        self._queue.start()
        self._stack.push_async_callback(self._queue.stop)
        for runtime in self._first_wanted():
            self._standby.want(runtime)

    def _api_handler(self) -> Handler:
        """The AWS API, and beside it the unsigned code locations that GetFunction gives."""
        lambda_service = LambdaService(
            self._store,
            self._find_runtime,
            self._dispatcher.run,
            self._queue.enqueue,
            self._settings,
            self._clock,
            self._ids,
            role_trusts=self._roles.trusts,
            link_secret=self._installation.master_secret.encode(),
        )
        services = [
            lambda_service.service(),
            LogsService(self._logs, self._clock).service(),
            StsService(self._keys, self._roles.by_arn).service(),
            IamService(self._roles).service(),
            platform_service(
                http_bindings=self._http_bindings,
                nats_bindings=self._nats_bindings,
                resolve=self._store.resolve,
                runtimes=self._runtimes.rows,
                status=self._status,
                clock=self._clock,
            ),
        ]
        endpoint = Endpoint(
            services,
            self._keys,
            region=self._settings.region,
            ids=self._ids,
            clock=self._clock,
            extra_models=[lambent_.MODELS],
            any_region=self._settings.open,
        )

        def handle(request: Request) -> Awaitable[Response]:
            if request.path.startswith(lambda_service.code_path_prefix):
                return lambda_service.code_download(request)
            return endpoint.handle(request)

        return handle

    def _find_runtime(self, identifier: str) -> Runtime:
        """A function that is deployed will soon be called: its runtime stands by from here on."""
        runtime = self._runtimes.find(identifier)
        self._standby.want(runtime)
        return runtime

    def _first_wanted(self) -> list[Runtime]:
        """What stands by from the start: the runtimes of deployed functions, and the newest of each family."""
        wanted = {version.runtime for version in self._store.all_versions()}
        rows = [row for row in self._runtimes.rows() if not row.unavailable]
        newest = {row.family: row.identifier for row in rows}
        wanted.update(newest.values())
        return [row for row in rows if row.identifier in wanted]

    def _status(self) -> Status:
        return Status(
            version=__version__,
            python_version=platform.python_version(),
            nats_version=self._bus.own.server_version,
            region=self._settings.region,
            account=self._installation.account,
            pid=os.getpid(),
            uptime_seconds=int(time.monotonic() - self._begun),
            isolation=self._sandboxes.isolation.mode,
            isolation_note=" ".join(self._sandboxes.isolation.weaker),
            ports=self._ports,
            environments={**self._pool.counts(), "standby": sum(self._standby.levels().values())},
            functions=len(self._store.latest_versions(self._installation.account, self._settings.region)),
        )

    def _ready(self) -> Ready:
        server = self._bus.server
        host = _client_host(self._settings.listen)
        isolation = self._sandboxes.isolation
        ready = Ready(
            api_url=f"http://{host}:{self._ports['api']}",
            http_url=f"http://{host}:{self._ports['http']}",
            nats_url=self._bus.url,
            region=self._settings.region,
            account=self._installation.account,
            access_key_id=self._installation.access_key_id,
            secret_access_key=self._installation.secret_access_key,
            nats_user=server.credential.user if server is not None else "",
            nats_password=server.credential.password if server is not None else "",
            pid=os.getpid(),
            isolation=isolation.mode,
            cgroups=isolation.cgroups,
            weaker=isolation.weaker,
            data_dir=str(self._data_dir),
            version=__version__,
        )
        endpoint_file = self._data_dir / ENDPOINT_FILE
        write_private(endpoint_file, msgspec.json.encode(ready))
        self._stack.callback(endpoint_file.unlink, missing_ok=True)
        return ready


class _LateHandler:
    """The API's handler, known to sandboxes before it is built (it calls functions, which run in sandboxes)."""

    handler: Handler

    def __call__(self, request: Request) -> Awaitable[Response]:
        return self.handler(request)


class _PoolParts:
    """Implements `pool.PoolSources` from the rooms that the pool does not know."""

    def __init__(self, runtimes: RuntimeTable, code: CodeStore, keys: Keys, logs: LogStore, clock: Clock) -> None:
        self.runtime = runtimes.find
        self.code_directory = code.directory
        self._keys = keys
        self._logs = logs
        self._clock = clock

    def credentials(self, version: FunctionVersion, session_name: str, seconds: int) -> Credentials:
        return self._keys.temporary(
            account=version.account, role_arn=version.role, session_name=session_name, seconds=seconds
        )

    def log(self, version: FunctionVersion, stream: str) -> FunctionLog:
        return FunctionLog(self._logs.writer(version.account, version.log_group, stream), self._clock)


class _Caller:
    """How the HTTP port and NATS subjects call a function by its name."""

    def __init__(self, store: FunctionStore, dispatcher: Dispatcher, region: str, ids: Ids) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._region = region
        self._ids = ids

    async def http(self, account: str, function: str, payload: bytes, request: Request) -> Outcome:
        headers = request.headers
        invocation = Invocation(
            request_id=headers["x-amzn-requestid"], payload=payload, invoked_arn="", trace_id=headers["x-amzn-trace-id"]
        )
        return await self._call(account, function, invocation)

    async def subject(self, account: str, function: str, payload: bytes, client_context: str) -> Outcome:
        request_id = self._ids.uuid()
        invocation = Invocation(request_id=request_id, payload=payload, invoked_arn="", client_context=client_context)
        return await self._call(account, function, invocation)

    async def _call(self, account: str, function: str, invocation: Invocation) -> Outcome:
        """Raises `FunctionNotFound`, `MalformedFunctionName`."""
        name = parse_function_name(function)
        version = self._store.resolve(account, self._region, name.name, name.qualifier)
        invocation.invoked_arn = function_arn(self._region, account, name.name, name.qualifier)
        return await self._dispatcher.run(version, invocation)


def _standby_level(settings: Settings, runtime: Runtime) -> int:
    return {
        Family.PYTHON: settings.standby_python,
        Family.NODE: settings.standby_node,
        Family.PROVIDED: settings.standby_provided,
    }[runtime.family]


def _limits(settings: Settings, body_max: int, budget: BodyBudget) -> Limits:
    return Limits(
        header_max=settings.header_max, body_max=body_max, connections_max=settings.connections_max, budget=budget
    )


def _port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def _client_host(listen_host: str) -> str:
    """Where a client on this machine connects when the platform listens on all addresses."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen_host, listen_host)
    return f"[{host}]" if ":" in host else host
