"""The Runtime API as requests and responses, without a socket."""

import asyncio
import json
from typing import Any

import pytest

from lambent.httpd.messages import Request, Response
from lambent.runtimes.contract import Answer, AnswerKind
from lambent.runtimes.runtime_api import ApiState, RuntimeApi
from runtimes_fixtures import ARN, REQUEST_ID, invocation

NEXT = "/2018-06-01/runtime/invocation/next"
LIMIT = 1000


class Session:
    """An API with what it settled."""

    def __init__(self) -> None:
        self.settled: list[Answer | None] = []
        self.api = RuntimeApi(self.settled.append, payload_max=LIMIT)

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.api.respond(Request(method, path, headers=names, body=body))

    async def busy(self, **changes: Any) -> Response:
        waiting = asyncio.ensure_future(self.ask("GET", NEXT))
        await asyncio.sleep(0)
        self.api.invoke(invocation(b'{"a": 1}', **changes), 1234)
        return await waiting

    async def answer(self, what: str, body: bytes = b"1", request_id: str = REQUEST_ID, **headers: str) -> Response:
        return await self.ask("POST", f"/2018-06-01/runtime/invocation/{request_id}/{what}", body, **headers)


def text(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def test_first_next_ends_the_init_phase_and_waits_for_the_event() -> None:
    async def body() -> None:
        session = Session()
        response = await session.busy(trace_id="Root=1", client_context='{"ü": "😀"}', identity='{"i": 1}')
        assert session.settled == [None]
        assert response.body == b'{"a": 1}'
        headers = dict(response.headers)
        assert headers["Lambda-Runtime-Aws-Request-Id"] == REQUEST_ID
        assert headers["Lambda-Runtime-Deadline-Ms"] == "1234"
        assert headers["Lambda-Runtime-Invoked-Function-Arn"] == ARN
        assert headers["Lambda-Runtime-Trace-Id"] == "Root=1"
        assert headers["Lambda-Runtime-Client-Context"] == '{"\\u00fc": "\\ud83d\\ude00"}'
        assert headers["Lambda-Runtime-Cognito-Identity"] == '{"i": 1}'

    asyncio.run(body())


def test_what_is_empty_has_no_header() -> None:
    async def body() -> None:
        names = {name for name, _ in (await Session().busy()).headers}
        assert not names & {
            "Lambda-Runtime-Trace-Id",
            "Lambda-Runtime-Client-Context",
            "Lambda-Runtime-Cognito-Identity",
        }

    asyncio.run(body())


def test_response_is_the_result_byte_for_byte() -> None:
    async def body() -> None:
        session = Session()
        await session.busy()
        response = await session.answer("response", b"any \xff bytes")
        assert response.status == 202
        assert session.settled[1:] == [Answer(AnswerKind.RESULT, b"any \xff bytes")]
        assert session.api.state is ApiState.READY

    asyncio.run(body())


def test_event_may_come_before_the_runtime_asks_again() -> None:
    async def body() -> None:
        session = Session()
        await session.busy()
        await session.answer("response")
        session.api.invoke(invocation(b"2", request_id="second"), 1)
        assert (await session.ask("GET", NEXT)).body == b"2"

    asyncio.run(body())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Runtime.MyError", "Runtime.MyError"),
        ("Function.Bad", "Function.Bad"),
        ("my error", "Function.Unknown"),
        ("", "Function.Unknown"),
        ("Runtime.My Error", "Function.Unknown"),
    ],
)
def test_error_type_is_kept_if_it_looks_like_awss(given: str, kept: str) -> None:
    async def body() -> None:
        session = Session()
        await session.busy()
        response = await session.answer("error", b'{"x": 1}', lambda_runtime_function_error_type=given)
        assert response.status == 202
        assert session.settled[1:] == [Answer(AnswerKind.ERROR, b'{"x": 1}', kept)]

    asyncio.run(body())


@pytest.mark.parametrize("what", ["response", "error"])
def test_another_id_is_refused_before_anything_changes(what: str) -> None:
    async def body() -> None:
        session = Session()
        await session.busy()
        response = await session.answer(what, request_id="other")
        assert (response.status, text(response)["errorType"]) == (400, "InvalidRequestID")
        assert session.settled == [None]
        assert session.api.state is ApiState.BUSY

    asyncio.run(body())


def test_second_answer_to_one_event_is_refused() -> None:
    async def body() -> None:
        session = Session()
        await session.busy()
        await session.answer("response")
        assert (await session.answer("response")).status == 400
        assert len(session.settled) == 2

    asyncio.run(body())


def test_result_past_the_limit_is_413_and_too_large() -> None:
    async def body() -> None:
        session = Session()
        await session.busy()
        response = await session.answer("response", b"x" * (LIMIT + 101))
        assert (response.status, text(response)["errorType"]) == (413, "RequestEntityTooLarge")
        answer = session.settled[1]
        assert answer is not None and (answer.kind, answer.size) == (AnswerKind.TOO_LARGE, LIMIT + 101)

    asyncio.run(body())


@pytest.mark.parametrize("what", ["response", "error"])
def test_answer_that_is_too_large_to_be_read_ends_the_call(what: str) -> None:
    async def body() -> None:
        session = Session()
        await session.busy()
        path = f"/2018-06-01/runtime/invocation/{REQUEST_ID}/{what}"
        response = session.api.refuse(Request("POST", path), 10**9)
        assert (response.status, text(response)["errorType"]) == (413, "RequestEntityTooLarge")
        answer = session.settled[1]
        assert answer is not None
        assert (answer.kind, answer.error_type, answer.size) == (
            AnswerKind.TOO_LARGE,
            "Function.ResponseSizeTooLarge",
            10**9,
        )
        assert session.api.state is ApiState.READY

    asyncio.run(body())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/2018-06-01/runtime/invocation/other/response", 400),
        ("POST", "/2018-06-01/runtime/init/error", 403),
        ("GET", NEXT, 413),
        ("POST", "/elsewhere", 413),
        ("POST", f"/invocation/{REQUEST_ID}/response", 413),
    ],
)
def test_other_bodies_too_large_to_be_read_change_nothing(method: str, path: str, status: int) -> None:
    async def body() -> None:
        session = Session()
        await session.busy()
        assert session.api.refuse(Request(method, path), 10**9).status == status
        assert session.settled == [None]
        assert session.api.state is ApiState.BUSY

    asyncio.run(body())


@pytest.mark.parametrize("size", [LIMIT + 101, 10**9])
def test_init_error_too_large_ends_the_init_phase_with_its_type(size: int) -> None:
    async def body() -> None:
        session = Session()
        path, headers = "/2018-06-01/runtime/init/error", {"lambda-runtime-function-error-type": "Runtime.NoSuchThing"}
        if size < 10**6:
            response = await session.api.respond(Request("POST", path, headers=headers, body=b"x" * size))
        else:
            response = session.api.refuse(Request("POST", path, headers=headers), size)
        assert response.status == 413
        (answer,) = session.settled
        assert answer is not None
        assert (answer.kind, answer.error_type) == (AnswerKind.ERROR, "Runtime.NoSuchThing")
        assert json.loads(answer.payload) == {
            "errorType": "Runtime.NoSuchThing",
            "errorMessage": f"the error object has more than {LIMIT + 100} bytes",
        }
        assert session.api.state is ApiState.ENDED

    asyncio.run(body())


def test_next_before_the_answer_is_refused() -> None:
    async def body() -> None:
        session = Session()
        await session.busy()
        response = await session.ask("GET", NEXT)
        assert (response.status, text(response)["errorType"]) == (403, "InvalidStateTransition")

    asyncio.run(body())


def test_init_error_ends_the_init_phase() -> None:
    async def body() -> None:
        session = Session()
        path = "/2018-06-01/runtime/init/error"
        response = await session.ask(
            "POST", path, b'{"e": 1}', lambda_runtime_function_error_type="Runtime.NoSuchThing"
        )
        assert response.status == 202
        assert session.settled == [Answer(AnswerKind.ERROR, b'{"e": 1}', "Runtime.NoSuchThing")]
        assert (await session.ask("POST", path, b"{}")).status == 403
        assert (await session.ask("GET", NEXT)).status == 403

    asyncio.run(body())


def test_waiting_runtime_is_answered_when_the_environment_ends() -> None:
    async def body() -> None:
        session = Session()
        waiting = asyncio.ensure_future(session.ask("GET", NEXT))
        await asyncio.sleep(0)
        session.api.end()
        assert (await waiting).status == 410

    asyncio.run(body())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", NEXT),
        ("GET", "/2018-06-01/runtime/restore/next"),
        ("POST", "/2020-01-01/extension/register"),
    ],
)
def test_what_is_not_there_is_named(method: str, path: str) -> None:
    async def body() -> None:
        response = await Session().ask(method, path)
        assert response.status == 404
        assert path in text(response)["errorMessage"]

    asyncio.run(body())
