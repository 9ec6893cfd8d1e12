"""Domain errors as CloudWatch Logs' codes, in one place. All are HTTP 400 or 503 (the service model's error shapes)."""

from lambent.aws.contract import AwsError, Codes, fault_in
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


_CODES: Codes = (
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


def fault_of(error: LambentError, operation: str) -> AwsError | None:
    return fault_in(_CODES, error)
