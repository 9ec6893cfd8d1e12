"""Domain errors as CloudWatch Logs' codes, in one place. All are HTTP 400 or 503 (the service model's error shapes)."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import AwsError, Call, Operation
from lambent.errors import LambentError, NotReady
from lambent.observe.faults import (
    InvalidEvents,
    InvalidPattern,
    InvalidToken,
    LogGroupExists,
    LogGroupMissing,
    LogStreamExists,
    LogStreamMissing,
)
from lambent.state.contract import Conflict


class ParameterRefused(LambentError):
    """A parameter that the model allows and the service does not; the message is AWS's where it has one."""


class NotSupportedHere(ParameterRefused):
    """A part of CloudWatch Logs that this installation does not have; never silently accepted."""

    def __init__(self, part: str) -> None:
        super().__init__(f"{part} is not supported by this Lambent installation; leave it out.")


class OtherPlace(LambentError):
    """An ARN of another account or region; there is nothing of it here."""

    def __init__(self) -> None:
        super().__init__("The specified log group does not exist.")


_CODES: tuple[tuple[type[LambentError], str, int], ...] = (
    (LogGroupExists, "ResourceAlreadyExistsException", 400),
    (LogStreamExists, "ResourceAlreadyExistsException", 400),
    (LogGroupMissing, "ResourceNotFoundException", 400),
    (LogStreamMissing, "ResourceNotFoundException", 400),
    (OtherPlace, "ResourceNotFoundException", 400),
    (InvalidToken, "InvalidParameterException", 400),
    (InvalidEvents, "InvalidParameterException", 400),
    (InvalidPattern, "InvalidParameterException", 400),
    (ParameterRefused, "InvalidParameterException", 400),
    (Conflict, "OperationAbortedException", 400),
    (NotReady, "ServiceUnavailableException", 503),
)


def answering(operation: Operation) -> Operation:
    """The operation with its expected failures in AWS's form."""

    async def answered(call: Call) -> Mapping[str, Any]:
        try:
            return await operation(call)
        except LambentError as error:
            for kind, code, status in _CODES:
                if isinstance(error, kind):
                    raise AwsError(code, str(error), status) from error
            raise

    return answered
