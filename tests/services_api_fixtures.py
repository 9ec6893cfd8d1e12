"""The services behind the real wire: HTTP server, endpoint and signatures, in a thread of the test; state in memory.

    with running_api(tmp_path) as api:
        client = api.client("lambda")

With `logs=True` a NATS server of the test's own is started for the log store.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aws_fixtures import ACCOUNT, KEY, MASTER, REGION, SECRET
from bus_fixtures import running_bus
from functions_fixtures import function_store, settings
from lambent.access.keys import Keys
from lambent.aws.endpoint import Endpoint
from lambent.clock import SystemClock
from lambent.functions.store import FunctionStore
from lambent.httpd.limits import Limits
from lambent.httpd.messages import Request, Response
from lambent.httpd.server import listen, serve
from lambent.ids import Ids
from lambent.observe.logs import LogStore
from lambent.services.iam.roles import Roles
from lambent.services.iam.service import IamService
from lambent.services.lambda_.service import LambdaService
from lambent.services.logs.service import LogsService
from lambent.services.sts.service import StsService
from lambent.state.memory import MemoryState
from services_fixtures import ScriptedCalls, find_runtime


class Api:
    """A running API: where it listens, and what stands behind it."""

    def __init__(self) -> None:
        self.url = ""
        self.calls = ScriptedCalls()
        self.store: FunctionStore

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client without retries (a retry would hide a wrong answer)."""
        import boto3
        from botocore.config import Config

        # A session of its own: boto3's default one is shared and not safe to make clients from in threads.
        return boto3.session.Session().client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}),
            **{"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, **credentials},
        )


@contextlib.contextmanager
def running_api(tmp_path: Path, *, logs: bool = False, **changes: object) -> Iterator[Api]:
    api, ready, failures = Api(), threading.Event(), []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        end = asyncio.Event()
        stop.append((asyncio.get_running_loop(), end))
        async with contextlib.AsyncExitStack() as stack:
            await _start(api, tmp_path, stack, logs, changes)
            ready.set()
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="api")
    thread.start()
    ready.wait()
    try:
        if not failures:
            yield api
    finally:
        if stop and not failures:
            loop, end = stop[0]
            loop.call_soon_threadsafe(end.set)
        thread.join()
        if failures:
            raise failures[0]


async def _start(
    api: Api, tmp_path: Path, stack: contextlib.AsyncExitStack, logs: bool, changes: dict[str, object]
) -> None:
    clock, ids, state, chosen = SystemClock(), Ids(), MemoryState(), settings(tmp_path, **changes)
    keys = Keys(
        account=ACCOUNT, access_key_id=KEY, secret_access_key=SECRET, master=MASTER, clock=clock, ids=ids, open=False
    )
    roles = await Roles.open(state, clock)
    api.store = await function_store(tmp_path, state, clock, **changes)
    functions = LambdaService(
        api.store,
        find_runtime,
        api.calls.run,
        api.calls.enqueue,
        chosen,
        clock,
        ids,
        role_trusts=roles.trusts,
        architecture="x86_64",
    )
    services = [functions.service(), IamService(roles).service(), StsService(keys, roles.by_arn).service()]
    if logs:
        bus = await stack.enter_async_context(running_bus(tmp_path / "bus"))
        log_store = await LogStore.open(bus.streams, state, chosen, clock, ids)
        stack.push_async_callback(log_store.stop)
        services.append(LogsService(log_store, clock).service())
    endpoint = Endpoint(services, keys, region=REGION, ids=ids, clock=clock)

    async def handle(request: Request) -> Response:
        if request.path.startswith(functions.code_path_prefix):
            return await functions.code_download(request)
        return await endpoint.handle(request)

    limits = Limits(body_max=chosen.api_body_max)
    server = await serve(handle, sock=listen("127.0.0.1", 0), limits=limits)
    stack.push_async_callback(server.close, 1)
    api.url = f"http://127.0.0.1:{server.port}"
