"""The Lambda Runtime API of one environment: what a custom runtime may ask in which state. No sandbox, no socket in here.

Paths, headers and answers are those of the developer guide ("Using the Lambda runtime API for custom runtimes") and of AWS's runtime
interface emulator; sections 6 and 7 of the execution contract tell them. The routes serve AWS's own runtime interface clients.
"""

import asyncio
import re
from collections.abc import Callable
from enum import Enum

import msgspec

from lambent.httpd.messages import Request, Response
from lambent.invocation import Invocation
from lambent.runtimes import faults
from lambent.runtimes.contract import Answer, AnswerKind

_PREFIX = "/2018-06-01/runtime/"
_ERROR_TYPE_HEADER = "lambda-runtime-function-error-type"
#: A runtime's own type is kept if it looks like AWS's (execution contract, section 6).
_ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")
_JSON = [("content-type", "application/json")]


class ApiState(Enum):
    """INIT until the runtime asks for its first event; then READY <-> BUSY; ENDED after an init error or a kill."""

    INIT = "init"
    READY = "ready"
    BUSY = "busy"
    ENDED = "ended"


class RuntimeApi:
    """Serves `respond` as a door's handler. `settled` is called with the answer of the call (or init phase) that ended, or with
    None when the init phase went well: when the runtime asks for its first event.
    """

    def __init__(self, settled: Callable[[Answer | None], None], *, payload_max: int) -> None:
        self._settled = settled
        self._payload_max = payload_max
        self._size_max = payload_max + faults.RESULT_SLACK
        self._state = ApiState.INIT
        #: The call that runs or waits for the runtime, with its deadline.
        self._call: tuple[Invocation, int] | None = None
        #: Whether the runtime has got the call; until then it may ask for it.
        self._delivered = False
        self._next: asyncio.Future[Response] | None = None

    @property
    def state(self) -> ApiState:
        return self._state

    def invoke(self, invocation: Invocation, deadline_ms: int) -> None:
        """Hands the call to the runtime, now or when it asks."""
        assert self._state is ApiState.READY, f"a call went to a runtime that is {self._state.value}"
        self._state = ApiState.BUSY
        self._call = (invocation, deadline_ms)
        self._delivered = False
        if self._next is not None and not self._next.done():
            self._next.set_result(self._deliver())
            self._next = None

    def end(self) -> None:
        """No more events: a runtime that waits for one gets an answer, so that the server can close."""
        self._state = ApiState.ENDED
        self._call = None
        if self._next is not None and not self._next.done():
            self._next.set_result(_refusal(410, "Runtime.Ended", "the environment ends"))
        self._next = None

    async def respond(self, request: Request) -> Response:
        """The handler of the environment's port."""
        path = request.path
        if not path.startswith(_PREFIX):
            if path == "/2018-06-01/ping" or path == "/ping":
                return Response(200, b"pong")
            return _refusal(404, "NotFound", f"the Runtime API has no {path[:200]}")
        parts = path[len(_PREFIX) :].split("/")
        match (request.method, parts):
            case ("GET", ["invocation", "next"]):
                return await self._on_next()
            case ("POST", ["invocation", request_id, "response"]):
                return self._on_answer(request_id, Answer(AnswerKind.RESULT, request.body))
            case ("POST", ["invocation", request_id, "error"]):
                return self._on_answer(request_id, _error_answer(request, "Function.Unknown"))
            case ("POST", ["init", "error"]):
                return self._on_init_error(request, len(request.body))
        return _refusal(404, "NotFound", f"the Runtime API has no {request.method} {path[:200]}")

    def refuse(self, request: Request, size: int) -> Response:
        """The answer to a body that is so large that it is not read. What it was to end ends all the same."""
        match (request.method, request.path.removeprefix(_PREFIX).split("/")):
            case ("POST", ["invocation", request_id, "response" | "error"]):
                return self._not_current(request_id) or self._on_too_large(size)
            case ("POST", ["init", "error"]):
                return self._on_init_error(request, size)
        return self._too_large()

    async def _on_next(self) -> Response:
        if self._state is ApiState.ENDED or (self._state is ApiState.BUSY and self._delivered):
            # The emulator's answer to a runtime that asks for the next event before it has answered the last.
            return _refusal(403, "InvalidStateTransition", f"State transition is not allowed: {self._state.value}")
        if self._state is ApiState.INIT:
            self._state = ApiState.READY
            self._settled(None)
        if self._state is ApiState.BUSY:
            return self._deliver()
        if self._next is not None and not self._next.done():
            # The client gave up its first request and asks again; the old connection is gone or must not get the event.
            self._next.set_result(_refusal(409, "Conflict", "another request waits for the next event"))
        waiting: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._next = waiting
        try:
            return await waiting
        except asyncio.CancelledError:
            if self._next is waiting:
                self._next = None
            raise

    def _deliver(self) -> Response:
        assert self._call is not None
        self._delivered = True
        invocation, deadline_ms = self._call
        headers = [
            *_JSON,
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", invocation.invoked_arn),
        ]
        for name, value in (
            ("Lambda-Runtime-Trace-Id", invocation.trace_id),
            ("Lambda-Runtime-Client-Context", invocation.client_context),
            ("Lambda-Runtime-Cognito-Identity", invocation.identity),
        ):
            if value:
                headers.append((name, _header_text(value)))
        return Response(200, invocation.payload, headers)

    def _on_answer(self, request_id: str, answer: Answer) -> Response:
        refusal = self._not_current(request_id)
        if refusal is not None:
            return refusal
        if len(answer.payload) > self._size_max:
            return self._on_too_large(len(answer.payload))
        self._finish(answer)
        return _accepted()

    def _on_too_large(self, size: int) -> Response:
        self._finish(faults.too_large(size, self._payload_max))
        return self._too_large()

    def _too_large(self) -> Response:
        message = f"Exceeded maximum allowed payload size ({self._size_max} bytes)."
        return _refusal(413, "RequestEntityTooLarge", message)

    def _on_init_error(self, request: Request, size: int) -> Response:
        if self._state is not ApiState.INIT:
            return _refusal(403, "InvalidStateTransition", f"State transition is not allowed: {self._state.value}")
        self._state = ApiState.ENDED
        if size > self._size_max:
            # The type is known; the object is not taken.
            request.body = b""
            self._settled(
                _error_answer(request, faults.UNKNOWN, f"the error object has more than {self._size_max} bytes")
            )
            return self._too_large()
        self._settled(_error_answer(request, faults.UNKNOWN))
        return _accepted()

    def _not_current(self, request_id: str) -> Response | None:
        """An id other than the current one is refused before anything changes."""
        if self._call is not None and self._delivered and self._call[0].request_id == request_id:
            return None
        return _refusal(400, "InvalidRequestID", "Invalid request ID")

    def _finish(self, answer: Answer) -> None:
        self._call = None
        self._state = ApiState.READY
        self._settled(answer)


def _error_answer(request: Request, default_type: str, message: str = "") -> Answer:
    """The runtime's error object passes through untouched; an empty one gets the platform's form, with `message`."""
    given = request.headers.get(_ERROR_TYPE_HEADER, "")
    error_type = given if _ERROR_TYPE.fullmatch(given) else default_type
    payload = request.body or msgspec.json.encode({"errorType": error_type, "errorMessage": message})
    return Answer(AnswerKind.ERROR, payload, error_type)


def _header_text(value: str) -> str:
    """JSON text as a header: one line of Latin-1; other characters as JSON escapes, which mean the same."""
    return "".join(c if " " <= c <= "~" else _escape(c) for c in value)


def _escape(character: str) -> str:
    if character in "\r\n\t":
        # Between JSON tokens only: inside strings they are escaped already.
        return " "
    return msgspec.json.encode(character).decode().strip('"') if character < " " else _utf16(character)


def _utf16(character: str) -> str:
    data = character.encode("utf-16-be")
    return "".join(f"\\u{data[i]:02x}{data[i + 1]:02x}" for i in range(0, len(data), 2))


def _accepted() -> Response:
    return Response(202, b'{"status":"OK"}\n', list(_JSON))


def _refusal(status: int, error_type: str, message: str) -> Response:
    return Response(status, msgspec.json.encode({"errorMessage": message, "errorType": error_type}), list(_JSON))
