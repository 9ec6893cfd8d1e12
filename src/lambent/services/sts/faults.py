"""Domain errors as STS's codes, in one place."""

from lambent.aws.contract import AwsError, Codes, fault_in
from lambent.errors import LambentError, NotReady


class RoleRefused(LambentError):
    """There is no such role, or the caller may not assume it: AWS tells the two apart to nobody."""

    def __init__(self, caller_arn: str, role_arn: str) -> None:
        super().__init__(f"User: {caller_arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}")


class ParameterRefused(LambentError):
    """A parameter cannot be honoured, and ignoring it would give more than was asked for."""


_CODES: Codes = (
    (RoleRefused, "AccessDenied", 403),
    (ParameterRefused, "ValidationError", 400),
    (NotReady, "ServiceUnavailable", 503),
)


def fault_of(error: LambentError, operation: str) -> AwsError | None:
    return fault_in(_CODES, error)
