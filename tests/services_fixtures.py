"""Services in process: state in memory, a clock that stands, a dispatcher that is a script."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from functions_fixtures import ACCOUNT, REGION, function_store, settings
from lambent.access.contract import Credentials, Identity
from lambent.aws.contract import AwsError, Call, Service
from lambent.clock import FixedClock
from lambent.errors import LambentError
from lambent.functions.records import FunctionVersion
from lambent.functions.store import FunctionStore
from lambent.httpd.messages import Request
from lambent.ids import Ids
from lambent.invocation import Invocation, Outcome, OutcomeKind
from lambent.runtimes.contract import Family, Runtime
from lambent.services.iam.roles import Roles
from lambent.services.lambda_.service import LambdaService
from lambent.state.memory import MemoryState

ROOT = Identity(account=ACCOUNT, arn=f"arn:aws:iam::{ACCOUNT}:root", user_id=ACCOUNT, access_key_id="AKIAX")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/x"
TRUST_LAMBDA = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
    '"Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
)


async def call(service: Service, operation: str, request: Request | None = None, **params: Any) -> Mapping[str, Any]:
    """Runs one operation as the account's root; members of None are left out, as the wire does."""
    given = request or Request("POST", "/", headers={"host": "api.test:4566"})
    answer = await service.operations[operation](Call(operation, params, ROOT, REGION, "req-1", given))
    return {name: value for name, value in answer.items() if value is not None}


async def refused(service: Service, operation: str, **params: Any) -> AwsError:
    """Runs an operation that must fail, and gives the error."""
    try:
        answer = await call(service, operation, **params)
    except AwsError as error:
        return error
    raise AssertionError(f"{operation} answered {answer!r}")


class NoSuchRuntime(LambentError):
    pass


def find_runtime(identifier: str) -> Runtime:
    if identifier == "java21":
        return Runtime(identifier=identifier, family=Family.PROVIDED, unavailable="install a JDK")
    if not identifier.startswith(("python3", "nodejs", "provided")):
        raise NoSuchRuntime(f"there is no runtime {identifier}")
    return Runtime(identifier=identifier, family=Family.PYTHON, interpreter="/usr/bin/python3")


class ScriptedCalls:
    """Stands for the dispatcher and the queue: notes what came, answers with `outcome`."""

    def __init__(self) -> None:
        self.ran: list[tuple[FunctionVersion, Invocation]] = []
        self.queued: list[tuple[FunctionVersion, str | None, Invocation]] = []
        self.outcome: Outcome | LambentError = Outcome(OutcomeKind.RESULT, payload=b'"hello"', log_tail=b"REPORT\n")

    async def run(self, version: FunctionVersion, invocation: Invocation) -> Outcome:
        self.ran.append((version, invocation))
        if isinstance(self.outcome, LambentError):
            raise self.outcome
        self.outcome.executed_version = version.version
        return self.outcome

    async def enqueue(self, version: FunctionVersion, qualifier: str | None, invocation: Invocation) -> None:
        if isinstance(self.outcome, LambentError):
            raise self.outcome
        self.queued.append((version, qualifier, invocation))


class LambdaInProcess:
    """The Lambda service with everything around it; made by `lambda_in_process`."""

    def __init__(self, store: FunctionStore, api: LambdaService, calls: ScriptedCalls, clock: FixedClock, roles: Roles):
        self.store = store
        self.api = api
        self.service = api.service()
        self.calls = calls
        self.clock = clock
        self.roles = roles


async def lambda_in_process(tmp_path: Path, state: MemoryState | None = None, **changes: object) -> LambdaInProcess:
    state, clock, calls = state or MemoryState(), FixedClock(1_767_225_600_123), ScriptedCalls()
    store = await function_store(tmp_path, state, clock, **changes)
    roles = await Roles.open(state, clock)
    api = LambdaService(
        store,
        find_runtime,
        calls.run,
        calls.enqueue,
        settings(tmp_path, **changes),
        clock,
        Ids(),
        role_trusts=roles.trusts,
        architecture="x86_64",
    )
    return LambdaInProcess(store, api, calls, clock, roles)


class ScriptedAuthenticator:
    """Stands for `access`: notes what temporary credentials were asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def authenticate(self, request: Request, service: str) -> Identity:
        return ROOT

    def temporary(self, *, account: str, role_arn: str, session_name: str, seconds: int) -> Credentials:
        self.asked.append({"account": account, "role_arn": role_arn, "session_name": session_name, "seconds": seconds})
        return Credentials(access_key_id="ASIAX", secret_access_key="s", session_token="t", expires_ms=seconds * 1000)
