"""Invoke: the hot path of the API. No I/O, no task, no look into the payload on the way to the dispatcher."""

import re
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from lambent.arn import function_arn
from lambent.aws.contract import Call
from lambent.clock import Clock
from lambent.functions.records import FunctionVersion
from lambent.functions.store import FunctionStore
from lambent.ids import Ids
from lambent.invocation import Invocation, Outcome, OutcomeKind
from lambent.services.lambda_.faults import (
    ContentRefused,
    NotRunnable,
    NotSupportedHere,
    PayloadTooLarge,
    Throttled,
)
from lambent.services.lambda_.names import Named, named
from lambent.settings import Settings

#: Bytes of the base64 form (API reference, Invoke, X-Amz-Client-Context).
CLIENT_CONTEXT_MAX = 3583
#: Names remembered; when there are more, all are forgotten and read again.
NAMES_MAX = 20_000
_TRACE_HEADER = re.compile(r"(?:Root|Parent|Sampled|Lineage|Self)=[A-Za-z0-9:;=|-]{1,500}")
_CUSTOM = "provided"

Run = Callable[[FunctionVersion, Invocation], Awaitable[Outcome]]
#: Stores an asynchronous event durably: version, the qualifier as the caller gave it, the call.
Enqueue = Callable[[FunctionVersion, str | None, Invocation], Awaitable[None]]


class Invocations:
    """The operation Invoke."""

    def __init__(
        self, store: FunctionStore, run: Run, enqueue: Enqueue, settings: Settings, clock: Clock, ids: Ids
    ) -> None:
        self._store = store
        self._run = run
        self._enqueue = enqueue
        self._clock = clock
        self._ids = ids
        #: How callers named functions that are there: (name, qualifier, account, region) as given.
        self._names: dict[tuple[str, str | None, str, str], tuple[Named, str]] = {}
        self._limits = {
            "RequestResponse": settings.payload_max,
            "DryRun": settings.payload_max,
            "Event": settings.async_payload_max,
        }

    async def invoke(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        kind = params.get("InvocationType") or "RequestResponse"
        for part in ("DurableExecutionName", "TenantId"):
            if params.get(part):
                raise NotSupportedHere(part)
        version, qualifier, invoked_arn = self._target(call)
        # AWS: no event is the empty object.
        payload = bytes(params.get("Payload") or b"{}")
        limit = self._limits[kind]
        if len(payload) > limit:
            raise PayloadTooLarge(len(payload), kind, limit)
        encoded_context = params.get("ClientContext")
        client_context = decoded_client_context(encoded_context) if encoded_context else ""
        if kind != "RequestResponse" or version.runtime.startswith(_CUSTOM):
            # Our guests find out by parsing; a queued event and a custom runtime must not get what is not JSON.
            check_event(payload)
        if kind == "DryRun":
            return {"StatusCode": 204}
        invocation = Invocation(
            request_id=call.request_id,
            payload=payload,
            invoked_arn=invoked_arn,
            trace_id=self._trace_id(call),
        )
        if kind == "Event":
            # AWS passes the client context on for synchronous calls only.
            await self._enqueue(version, qualifier, invocation)
            return {"StatusCode": 202}
        invocation.client_context = client_context
        invocation.tail = params.get("LogType") == "Tail"
        return answer(await self._run(version, invocation), invocation.tail)

    def _target(self, call: Call) -> tuple[FunctionVersion, str | None, str]:
        """The version, the qualifier as the caller gave it, and the ARN with it. Names that were read once are remembered."""
        params = call.params
        asked = (params["FunctionName"], params.get("Qualifier"), call.account, call.region)
        known = self._names.get(asked)
        if known is not None:
            found, arn = known
            return self._store.resolve(*found), found.qualifier, arn
        found = named(call)
        version = self._store.resolve(*found)
        arn = function_arn(found.region, found.account, found.name, found.qualifier)
        if len(self._names) >= NAMES_MAX:
            self._names.clear()
        self._names[asked] = (found, arn)
        return version, found.qualifier, arn

    def _trace_id(self, call: Call) -> str:
        given = call.request.headers.get("x-amzn-trace-id")
        if given is not None and _TRACE_HEADER.fullmatch(given):
            return given
        root = f"1-{self._clock.now_ms() // 1000:08x}-{self._ids.hex(24)}"
        return f"Root={root};Parent={self._ids.hex(16)};Sampled=0"


def answer(outcome: Outcome, tail: bool) -> dict[str, Any]:
    """The members of a synchronous answer. Raises what `faults.py` knows for calls that no function answered."""
    if outcome.kind is OutcomeKind.THROTTLED:
        raise Throttled(outcome.message or "Rate Exceeded.", outcome.reason)
    if outcome.kind is OutcomeKind.UNAVAILABLE:
        raise NotRunnable(outcome.message)
    if outcome.kind is OutcomeKind.BAD_EVENT:
        raise ContentRefused(_not_json(outcome.message))
    members: dict[str, Any] = {
        "StatusCode": 200,
        "ExecutedVersion": outcome.executed_version,
        "Payload": outcome.payload,
    }
    if outcome.kind is OutcomeKind.FUNCTION_ERROR:
        members["FunctionError"] = "Unhandled"
    if tail:
        members["LogResult"] = b64encode(outcome.log_tail).decode()
    return members


def check_event(payload: bytes) -> None:
    """Raises `ContentRefused` when the event is not JSON."""
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContentRefused(_not_json(str(error))) from error


def decoded_client_context(encoded: str) -> str:
    """The JSON text in the header. Raises `ContentRefused`."""
    if len(encoded) > CLIENT_CONTEXT_MAX:
        raise ContentRefused(f"Client context must be no more than {CLIENT_CONTEXT_MAX} bytes when encoded.")
    try:
        text = b64decode(encoded, validate=True).decode()
        value = msgspec.json.decode(text)
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise ContentRefused("Client context must be a valid Base64-encoded JSON object.") from error
    if not isinstance(value, dict):
        raise ContentRefused("Client context must be a valid Base64-encoded JSON object.")
    return text


def _not_json(why: str) -> str:
    return f"Could not parse request body into json: Could not parse payload into json: {why}"
