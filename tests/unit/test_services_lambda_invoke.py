"""Invoke over the Lambda API, in process: what reaches the dispatcher, and how outcomes are answered."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from test_services_lambda_functions import ARN, create_params, deployed

from functions_fixtures import ACCOUNT, REGION, function_store
from lambent.errors import NotReady
from lambent.httpd.messages import Request
from lambent.invocation import Outcome, OutcomeKind
from lambent.state.memory import MemoryState
from services_fixtures import LambdaInProcess, call, lambda_in_process, refused


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def test_a_call_passes_the_payload_untouched_and_answers_with_the_result(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        payload = b' { "a" :1.0}'
        answer = await call(
            here.service,
            "Invoke",
            FunctionName="hello",
            Payload=payload,
            LogType="Tail",
            ClientContext=b64('{"custom": {}}'),
        )
        assert answer == {
            "StatusCode": 200,
            "ExecutedVersion": "$LATEST",
            "Payload": b'"hello"',
            "LogResult": b64("REPORT\n"),
        }
        version, sent = here.calls.ran[0]
        assert version.name == "hello" and sent.payload == payload
        assert (sent.invoked_arn, sent.request_id, sent.tail) == (ARN, "req-1", True)
        assert sent.client_context == '{"custom": {}}'
        assert sent.trace_id.startswith("Root=1-")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "qualifier", "arn", "version"),
    [
        ("hello", None, ARN, "$LATEST"),
        (f"{ACCOUNT}:function:hello", None, ARN, "$LATEST"),
        (ARN, "1", f"{ARN}:1", "1"),
        ("hello:1", None, f"{ARN}:1", "1"),
        ("hello", "$LATEST", f"{ARN}:$LATEST", "$LATEST"),
        (f"{ARN}:1", "1", f"{ARN}:1", "1"),
    ],
)
def test_the_invoked_arn_keeps_the_callers_qualifier(
    tmp_path: Path, name: str, qualifier: str | None, arn: str, version: str
) -> None:
    async def run() -> None:
        here = await deployed(tmp_path, Publish=True)
        params = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
        answer = await call(here.service, "Invoke", **params)
        assert answer["ExecutedVersion"] == version and "LogResult" not in answer
        assert here.calls.ran[0][1].invoked_arn == arn
        assert here.calls.ran[0][1].payload == b"{}"

    asyncio.run(run())


def test_a_given_trace_header_is_kept_and_a_bad_one_replaced(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        good = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        for header in (good, "Root=1\r\nX: y"):
            request = Request("POST", "/", headers={"x-amzn-trace-id": header})
            await call(here.service, "Invoke", request, FunctionName="hello")
        assert here.calls.ran[0][1].trace_id == good
        assert "\r" not in here.calls.ran[1][1].trace_id

    asyncio.run(run())


def test_an_event_is_queued_and_a_dry_run_does_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path, Publish=True)
        answer = await call(here.service, "Invoke", FunctionName="hello:1", InvocationType="Event", Payload=b"[1]")
        assert answer == {"StatusCode": 202}
        version, qualifier, sent = here.calls.queued[0]
        assert (version.version, qualifier, sent.payload, sent.invoked_arn) == ("1", "1", b"[1]", f"{ARN}:1")
        assert await call(here.service, "Invoke", FunctionName="hello", InvocationType="DryRun") == {"StatusCode": 204}
        assert here.calls.ran == [] and len(here.calls.queued) == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("params", "code", "status", "text"),
    [
        ({"FunctionName": "nope"}, "ResourceNotFoundException", 404, "Function not found: arn:aws:lambda"),
        ({"Qualifier": "prod"}, "ResourceNotFoundException", 404, ":function:hello:prod"),
        (
            {"InvocationType": "Event", "Payload": b"{"},
            "InvalidRequestContentException",
            400,
            "Could not parse request body",
        ),
        ({"InvocationType": "DryRun", "Payload": b"\xff"}, "InvalidRequestContentException", 400, "Could not parse"),
        ({"ClientContext": "%%%"}, "InvalidRequestContentException", 400, "valid Base64-encoded JSON object"),
        ({"ClientContext": b64("[1]")}, "InvalidRequestContentException", 400, "valid Base64-encoded JSON object"),
        ({"ClientContext": b64("x" * 3000)}, "InvalidRequestContentException", 400, "3583"),
        ({"TenantId": "t"}, "InvalidParameterValueException", 400, "TenantId"),
        ({"DurableExecutionName": "t"}, "InvalidParameterValueException", 400, "DurableExecutionName"),
        (
            {"Payload": b"x" * 6291457},
            "RequestTooLargeException",
            413,
            "6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)",
        ),
        (
            {"Payload": b"x" * 1048577, "InvocationType": "Event"},
            "RequestTooLargeException",
            413,
            "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
        ),
    ],
)
def test_calls_that_cannot_be_are_refused(
    tmp_path: Path, params: dict[str, Any], code: str, status: int, text: str
) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        error = await refused(here.service, "Invoke", **{"FunctionName": "hello", **params})
        assert (error.code, error.status) == (code, status) and text in error.message
        assert here.calls.ran == [] and here.calls.queued == []

    asyncio.run(run())


def test_custom_runtimes_get_json_only(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path, Runtime="provided.al2023")
        error = await refused(here.service, "Invoke", FunctionName="hello", Payload=b"not json")
        assert error.code == "InvalidRequestContentException" and here.calls.ran == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("outcome", "code", "status", "members"),
    [
        (
            Outcome(OutcomeKind.THROTTLED, message="Rate Exceeded.", reason="ConcurrentInvocationLimitExceeded"),
            "TooManyRequestsException",
            429,
            {"Reason": "ConcurrentInvocationLimitExceeded", "Type": "User"},
        ),
        (Outcome(OutcomeKind.BAD_EVENT, message="x"), "InvalidRequestContentException", 400, {"Type": "User"}),
        (Outcome(OutcomeKind.UNAVAILABLE, message="no sandbox"), "ServiceException", 500, {"Type": "Service"}),
        (NotReady("the bus is away"), "ServiceException", 500, {"Type": "Service"}),
    ],
)
def test_calls_that_no_function_answered_are_errors(
    tmp_path: Path, outcome: Any, code: str, status: int, members: dict[str, str]
) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        here.calls.outcome = outcome
        error = await refused(here.service, "Invoke", FunctionName="hello")
        assert (error.code, error.status, error.members) == (code, status, members)

    asyncio.run(run())


def test_an_event_is_not_acknowledged_when_it_could_not_be_stored(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        here.calls.outcome = NotReady("the bus is away")
        error = await refused(here.service, "Invoke", FunctionName="hello", InvocationType="Event")
        assert (error.code, error.status) == ("ServiceException", 500)

    asyncio.run(run())


def test_a_function_error_is_an_answer_with_a_mark(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        here.calls.outcome = Outcome(OutcomeKind.FUNCTION_ERROR, payload=b'{"errorMessage": "x"}')
        answer = await call(here.service, "Invoke", FunctionName="hello")
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")

    asyncio.run(run())


def test_a_restart_serves_what_was_deployed(tmp_path: Path) -> None:
    async def run() -> None:
        state = MemoryState()
        here: LambdaInProcess = await lambda_in_process(tmp_path, state)
        made = await call(here.service, "CreateFunction", **create_params(Publish=True))
        again = await lambda_in_process(tmp_path, state)
        found = await call(again.service, "GetFunctionConfiguration", FunctionName="hello", Qualifier="1")
        assert found == made
        other_node = await function_store(tmp_path / "other", state)
        digest = other_node.resolve(ACCOUNT, REGION, "hello", "1").code_digest
        assert (await other_node.code.directory(digest) / "app.py").exists()

    asyncio.run(run())


def test_a_name_that_was_called_before_is_not_found_after_its_deletion(tmp_path: Path) -> None:
    async def run() -> None:
        here = await deployed(tmp_path)
        for _ in range(2):
            await call(here.service, "Invoke", FunctionName="hello")
        await call(here.service, "DeleteFunction", FunctionName="hello")
        assert (await refused(here.service, "Invoke", FunctionName="hello")).status == 404
        await call(here.service, "CreateFunction", **create_params(Timeout=9))
        await call(here.service, "Invoke", FunctionName="hello")
        assert here.calls.ran[-1][0].timeout_s == 9

    asyncio.run(run())
