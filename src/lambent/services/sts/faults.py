"""Domain errors as STS's codes, in one place."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import AwsError, Call, Operation
from lambent.errors import LambentError, NotReady


class RoleRefused(LambentError):
    """There is no such role, or the caller may not assume it: AWS tells the two apart to nobody."""

    def __init__(self, caller_arn: str, role_arn: str) -> None:
        super().__init__(f"User: {caller_arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}")


class ParameterRefused(LambentError):
    """A parameter cannot be honoured, and ignoring it would give more than was asked for."""


_CODES: tuple[tuple[type[LambentError], str, int], ...] = (
    (RoleRefused, "AccessDenied", 403),
    (ParameterRefused, "ValidationError", 400),
    (NotReady, "ServiceUnavailable", 503),
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
