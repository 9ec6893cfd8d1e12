"""One call of a function: what goes in and what comes out. Every door builds the first and answers with the second."""

from enum import Enum

import msgspec


class Invocation(msgspec.Struct):
    """What a door hands to the dispatcher.

    `payload` is the event as JSON bytes, passed through untouched; a door that takes it from outside has bounded its size.
    """

    request_id: str
    payload: bytes
    #: The ARN as the caller qualified it; goes to the function as `invokedFunctionArn`.
    invoked_arn: str
    #: The client context as decoded JSON text (not base64), or empty.
    client_context: str = ""
    #: Cognito identity as JSON text, or empty.
    identity: str = ""
    trace_id: str = ""
    #: Whether the caller wants the last 4 KB of the log.
    tail: bool = False


class OutcomeKind(Enum):
    """How a call ended, from the caller's point of view."""

    RESULT = "result"
    #: The function failed (raised, exited, timed out, ran out of memory): HTTP 200 with X-Amz-Function-Error.
    FUNCTION_ERROR = "function-error"
    #: The event was not JSON; the guest found out. AWS: InvalidRequestContentException.
    BAD_EVENT = "bad-event"
    #: No room: a concurrency limit. AWS: TooManyRequestsException with `reason`.
    THROTTLED = "throttled"
    #: The platform could not run it (no isolation, spawner gone). AWS: ServiceException.
    UNAVAILABLE = "unavailable"


class Outcome(msgspec.Struct):
    """How a call ended. `payload` is the result or the error object as JSON bytes (custom runtimes: whatever they posted)."""

    kind: OutcomeKind
    payload: bytes = b""
    executed_version: str = "$LATEST"
    #: The last 4 KB of the log of this call, when it was asked for.
    log_tail: bytes = b""
    #: For BAD_EVENT, THROTTLED and UNAVAILABLE: a text for the caller.
    message: str = ""
    #: For THROTTLED: AWS's reason, such as `ReservedFunctionConcurrentInvocationLimitExceeded`.
    reason: str = ""
    duration_ms: float = 0.0
    #: Milliseconds of the init phase when this call was the environment's first, else None.
    init_ms: float | None = None
