"""Domain errors as AWS's codes, in one place. Codes and statuses are those of the operations in Lambda's service model."""

import math

from lambent.arn import MalformedFunctionName
from lambent.aws.contract import AwsError, Codes, fault_in
from lambent.errors import LambentError, NotReady
from lambent.functions.code import CodeMissing
from lambent.functions.package import PackageRefused, ZipTooLarge
from lambent.functions.store import (
    ChangedMeanwhile,
    CodeMismatch,
    FunctionExists,
    FunctionNotFound,
    LatestNotDeletable,
    RevisionMismatch,
    TooManyTags,
)
from lambent.services.lambda_.shapes import code_sha256


class ParameterRefused(LambentError):
    """A parameter has a value that the model allows and Lambda (or this installation) does not."""


class OutOfRange(LambentError):
    """A value is outside of what AWS's own model check would allow here; AWS: ValidationException."""

    def __init__(self, value: object, member: str, constraint: str) -> None:
        super().__init__(
            f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
        )


class NotSupportedHere(ParameterRefused):
    """A part of Lambda that this installation does not have; never silently accepted."""

    def __init__(self, part: str) -> None:
        super().__init__(f"{part} is not supported by this Lambent installation; leave it out.")


class OtherRegion(LambentError):
    def __init__(self, asked: str, here: str) -> None:
        super().__init__(f"Functions from '{asked}' are not reachable in this region ('{here}')")


class OtherAccount(LambentError):
    """The ARN names another account, and no resource policy lets the caller in."""

    def __init__(self, caller_arn: str, action: str, arn: str) -> None:
        super().__init__(
            f"User: {caller_arn} is not authorized to perform: lambda:{action} on resource: {arn} "
            f"because no resource-based policy allows the lambda:{action} action"
        )


class CodeStorageExceeded(LambentError):
    def __init__(self) -> None:
        super().__init__("Code storage limit exceeded.")


class ContentRefused(LambentError):
    """The event or the client context is not what it must be."""


class PayloadTooLarge(LambentError):
    def __init__(self, size: int, invocation_type: str, limit: int) -> None:
        # Recorded: "6294149 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)".
        super().__init__(
            f"{size} byte payload is too large for the {invocation_type} invocation type (limit {limit} bytes)"
        )


class Throttled(LambentError):
    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotRunnable(LambentError):
    """The platform could not run the call."""


#: Errors whose own text is AWS's.
_PLAIN: Codes = (
    (FunctionNotFound, "ResourceNotFoundException", 404),
    (OtherRegion, "ResourceNotFoundException", 404),
    (FunctionExists, "ResourceConflictException", 409),
    (ChangedMeanwhile, "ResourceConflictException", 409),
    (RevisionMismatch, "PreconditionFailedException", 412),
    (LatestNotDeletable, "InvalidParameterValueException", 400),
    (TooManyTags, "InvalidParameterValueException", 400),
    (ParameterRefused, "InvalidParameterValueException", 400),
    (PackageRefused, "InvalidParameterValueException", 400),
    (CodeStorageExceeded, "CodeStorageExceededException", 400),
    (ContentRefused, "InvalidRequestContentException", 400),
    (PayloadTooLarge, "RequestTooLargeException", 413),
)


def fault_of(error: LambentError, operation: str) -> AwsError | None:
    """The AWS error for a domain error; None when there is none, which is a mistake of ours."""
    if isinstance(error, ZipTooLarge):
        # AWS counts the request, in which the zip is base64: 69905067 is 50 MB so encoded (a recorded answer).
        return AwsError(
            "RequestEntityTooLargeException",
            f"Request must be smaller than {math.ceil(error.limit * 4 / 3)} bytes for the {operation} operation",
            413,
        )
    if isinstance(error, CodeMismatch):
        return AwsError("InvalidParameterValueException", _code_mismatch_text(error), 400, Type="User")
    if isinstance(error, Throttled):
        return AwsError("TooManyRequestsException", str(error), 429, Reason=error.reason, Type="User")
    if isinstance(error, (OutOfRange, MalformedFunctionName)):
        return AwsError("ValidationException", str(error), 400)
    if isinstance(error, OtherAccount):
        return AwsError("AccessDeniedException", str(error), 403)
    if isinstance(error, (NotReady, NotRunnable, CodeMissing)):
        return AwsError("ServiceException", str(error), 500, Type="Service")
    fault = fault_in(_PLAIN, error)
    if fault is not None:
        fault.members["Type"] = "User"
    return fault


def _code_mismatch_text(error: CodeMismatch) -> str:
    current = code_sha256(error.current_digest)
    return (
        f"CodeSHA256 ({error.given}) is different from current CodeSHA256 in $LATEST ({current}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )
