import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from lambent.clock import FixedClock
from lambent.errors import LambentError
from lambent.gateway.gateway import Gateway
from lambent.gateway.routes import HttpBinding, binding_of
from lambent.httpd.messages import Request, Response
from lambent.ids import Ids
from lambent.invocation import Outcome, OutcomeKind
from lambent.state.contract import Table
from lambent.state.memory import MemoryState

ACCOUNT = "111122223333"


class Function:
    """Answers every call with `outcome` and remembers what it was called with."""

    def __init__(self, outcome: Outcome | LambentError) -> None:
        self.outcome = outcome
        self.calls: list[tuple[str, str, bytes, Request]] = []

    async def call(self, account: str, function: str, event: bytes, request: Request) -> Outcome:
        self.calls.append((account, function, event, request))
        if isinstance(self.outcome, LambentError):
            raise self.outcome
        return self.outcome


def bound(path: str, function: str = "f") -> HttpBinding:
    return binding_of(account=ACCOUNT, function=function, path=path)


def with_gateway(
    function: Function,
    check: Callable[[Gateway, Table[HttpBinding]], Awaitable[None]],
    *,
    event_max: int = 100_000,
) -> None:
    async def run() -> None:
        table = await MemoryState().table("http-bindings", HttpBinding)
        first = bound("/first")
        await table.create(first.id, first)
        gateway = Gateway(table, function.call, clock=FixedClock(), ids=Ids(), event_max=event_max, port=8080)
        await check(gateway, table)

    asyncio.run(run())


def header(response: Response, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name.lower()), None)


def test_a_bound_path_calls_its_function_and_answers_with_its_result() -> None:
    function = Function(Outcome(OutcomeKind.RESULT, b'{"statusCode": 201, "body": "made"}'))

    async def check(gateway: Gateway, _: object) -> None:
        response = await gateway.handle(Request("POST", "/first", body=b"x"))
        assert (response.status, response.body) == (201, b"made")
        [(account, name, event, request)] = function.calls
        assert (account, name) == (ACCOUNT, "f")
        context = json.loads(event)["requestContext"]
        assert context["requestId"] == header(response, "x-amzn-RequestId") == request.headers["x-amzn-requestid"]
        assert json.loads(event)["headers"]["x-amzn-trace-id"] == request.headers["x-amzn-trace-id"]

    with_gateway(function, check)


def test_bindings_are_live_when_the_table_changes() -> None:
    function = Function(Outcome(OutcomeKind.RESULT, b"1"))

    async def check(gateway: Gateway, table: Table[HttpBinding]) -> None:
        second = bound("/second", "g")
        assert (await gateway.handle(Request("GET", "/second"))).status == 404
        await table.create(second.id, second)
        assert (await gateway.handle(Request("GET", "/second"))).status == 200
        await table.put(second.id, bound("/second", "h"))
        await gateway.handle(Request("GET", "/second"))
        assert [call[1] for call in function.calls] == ["g", "h"]
        await table.remove(second.id)
        assert (await gateway.handle(Request("GET", "/second"))).status == 404

    with_gateway(function, check)


@pytest.mark.parametrize(
    ("outcome", "status", "message"),
    [
        (Outcome(OutcomeKind.FUNCTION_ERROR, b'{"errorMessage": "secret"}'), 502, "Internal Server Error"),
        (Outcome(OutcomeKind.BAD_EVENT, message="secret"), 502, "Internal Server Error"),
        (Outcome(OutcomeKind.THROTTLED, message="secret"), 429, "Too Many Requests"),
        (Outcome(OutcomeKind.UNAVAILABLE, message="secret"), 503, "Service Unavailable"),
        (Outcome(OutcomeKind.RESULT, b'{"statusCode": "secret"}'), 502, "Internal Server Error"),
        (LambentError("secret"), 502, "Internal Server Error"),
    ],
)
def test_a_failure_answers_without_inner_text(outcome: Outcome | LambentError, status: int, message: str) -> None:
    async def check(gateway: Gateway, _: object) -> None:
        response = await gateway.handle(Request("GET", "/first"))
        assert response.status == status
        assert isinstance(response.body, bytes)
        assert json.loads(response.body) == {"message": message}
        assert header(response, "x-amzn-RequestId")

    with_gateway(Function(outcome), check)


def test_an_unknown_path_is_not_found_and_calls_nothing() -> None:
    function = Function(Outcome(OutcomeKind.RESULT, b"1"))

    async def check(gateway: Gateway, _: object) -> None:
        response = await gateway.handle(Request("GET", "/nowhere"))
        assert (response.status, response.body) == (404, b'{"message":"Not Found"}')
        assert header(response, "x-amzn-RequestId")
        assert not function.calls

    with_gateway(function, check)


def test_an_event_larger_than_a_payload_may_be_is_refused() -> None:
    function = Function(Outcome(OutcomeKind.RESULT, b"1"))

    async def check(gateway: Gateway, _: object) -> None:
        body = b"\0" * 9000
        response = await gateway.handle(Request("POST", "/first", headers={"content-type": "image/png"}, body=body))
        assert (response.status, response.body) == (413, b'{"message":"Request Too Long"}')
        assert not function.calls

    with_gateway(function, check, event_max=10_000)
