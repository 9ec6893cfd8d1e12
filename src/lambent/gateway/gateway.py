"""The handler of the HTTP port: find the binding, make the event, call the function, make the response."""

import logging
from collections.abc import Awaitable, Callable

import msgspec

from lambent.clock import Clock
from lambent.errors import LambentError
from lambent.gateway.answers import JSON_TYPE, MalformedAnswer, response_of
from lambent.gateway.events import event_of, request_time
from lambent.gateway.routes import HttpBinding, Routes
from lambent.httpd.messages import Request, Response
from lambent.ids import Ids
from lambent.invocation import Outcome, OutcomeKind
from lambent.state.contract import Table

log = logging.getLogger("lambent.gateway")

#: Calls a function: (account, name or ARN with optional qualifier, event, request). The request's headers hold the ids that
#: were given to it: `x-amzn-requestid` and `x-amzn-trace-id`. Raises `LambentError` when there is no such function.
Call = Callable[[str, str, bytes, Request], Awaitable[Outcome]]

# What a client gets to see; never inner text. The statuses are those of function URLs (Lambda developer guide,
# "Monitoring and troubleshooting function URLs"): 502 for the function's failures, 429 for throttling, 413 for size.
_REFUSALS = {
    404: "Not Found",
    413: "Request Too Long",
    429: "Too Many Requests",
    502: "Internal Server Error",
    503: "Service Unavailable",
}

_STATUS_OF = {
    OutcomeKind.FUNCTION_ERROR: 502,
    OutcomeKind.BAD_EVENT: 502,
    OutcomeKind.THROTTLED: 429,
    OutcomeKind.UNAVAILABLE: 503,
}


class Gateway:
    """Serves what is bound. Bindings are live as soon as the table knows them."""

    def __init__(
        self,
        bindings: Table[HttpBinding],
        call: Call,
        *,
        clock: Clock,
        ids: Ids,
        event_max: int,
        port: int,
    ) -> None:
        """`event_max` bounds the event (Settings.payload_max, bytes); `port` is what the event says of the listener."""
        self._call = call
        self._clock = clock
        self._ids = ids
        self._event_max = event_max
        self._port = port
        self.routes = Routes()
        self._second = -1
        self._time_text = ""
        # First subscribed, then filled: what changes in between is put twice, not lost.
        bindings.subscribe(self._changed)
        for entry in bindings.entries():
            self.routes.put(entry.record)

    def _changed(self, key: str, binding: HttpBinding | None) -> None:
        if binding is None:
            self.routes.remove(key)
        else:
            self.routes.put(binding)

    async def handle(self, request: Request) -> Response:
        """The `Handler` of the HTTP port."""
        request_id = self._ids.uuid()
        headers = request.headers
        match = self.routes.find(request.method, headers.get("host", ""), request.path)
        if match is None:
            return _refusal(404, request_id)
        now_ms = self._clock.now_ms()
        trace_id = headers.get("x-amzn-trace-id") or f"Root=1-{now_ms // 1000:08x}-{self._ids.hex(24)}"
        event = event_of(
            request,
            match,
            request_id=request_id,
            trace_id=trace_id,
            now_ms=now_ms,
            time_text=self._time(now_ms),
            port=self._port,
        )
        if len(event) > self._event_max:
            return _refusal(413, request_id)
        headers["x-amzn-requestid"] = request_id
        headers["x-amzn-trace-id"] = trace_id
        binding = match.binding
        try:
            outcome = await self._call(binding.account, binding.function, event, request)
        except LambentError as error:
            # The binding outlived its function, or the platform is in trouble; both are for the log.
            log.warning("request %s: %s could not be called: %s", request_id, binding.function, error)
            return _refusal(502, request_id)
        if outcome.kind is not OutcomeKind.RESULT:
            return _refusal(_STATUS_OF[outcome.kind], request_id)
        try:
            response = response_of(outcome.payload)
        except MalformedAnswer as error:
            log.warning("request %s: %s gave no valid response: %s", request_id, binding.function, error)
            return _refusal(502, request_id)
        response.headers.append(("x-amzn-RequestId", request_id))
        return response

    def _time(self, now_ms: int) -> str:
        second = now_ms // 1000
        if second != self._second:
            self._second = second
            self._time_text = request_time(now_ms)
        return self._time_text


def _refusal(status: int, request_id: str) -> Response:
    body = msgspec.json.encode({"message": _REFUSALS[status]})
    return Response(status, body, [JSON_TYPE, ("x-amzn-RequestId", request_id)])
