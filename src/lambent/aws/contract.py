"""What a service gives to the wire and gets from it.

Adding an operation is one entry in a service's table and its test: parsing, checks and serialising come from the model.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lambent.access.contract import Identity
from lambent.errors import LambentError
from lambent.httpd.messages import Request


class AwsError(LambentError):
    """An answer in AWS's error form. Status and extra members come from the service model where the code is one of its
    error shapes; `status` is for codes that the model does not list.
    """

    def __init__(self, code: str, message: str, status: int | None = None, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        #: Further members of the error shape, such as Reason or Type.
        self.members = members


class Call:
    """One authenticated, parsed and checked request."""

    __slots__ = ("account", "identity", "operation", "params", "region", "request", "request_id")

    def __init__(
        self, operation: str, params: dict[str, Any], identity: Identity, region: str, request_id: str, request: Request
    ) -> None:
        self.operation = operation
        #: Members by the model's names; blobs are bytes, timestamps aware datetimes. Absent members are absent.
        self.params = params
        self.identity = identity
        self.account = identity.account
        self.region = region
        self.request_id = request_id
        #: The request itself, for the few operations that need its host or URL.
        self.request = request


#: Takes a call, returns the output members by the model's names (None members are left out). Raises `AwsError`.
Operation = Callable[[Call], Awaitable[Mapping[str, Any]]]


class Service:
    """A service's implemented operations. `model` is the folder name in botocore's data (`lambda`, `logs`, `sts`, `iam`)."""

    def __init__(self, model: str, operations: Mapping[str, Operation]) -> None:
        self.model = model
        self.operations = operations


#: The AWS error that an expected failure of a service's domain is, or None when it is none of that operation's.
FaultOf = Callable[[LambentError, str], AwsError | None]

#: Rows (error class, AWS's code, HTTP status), the first that fits counts.
Codes = tuple[tuple[type[LambentError], str, int], ...]


def answering(operations: Mapping[str, Operation], fault_of: FaultOf) -> dict[str, Operation]:
    """The operations with the expected failures of their domain in AWS's form; what `fault_of` does not know is raised as it is."""
    return {name: _answering(operation, fault_of) for name, operation in operations.items()}


def _answering(operation: Operation, fault_of: FaultOf) -> Operation:
    async def answered(call: Call) -> Mapping[str, Any]:
        try:
            return await operation(call)
        except AwsError:
            raise
        except LambentError as error:
            fault = fault_of(error, call.operation)
            if fault is None:
                raise
            raise fault from error

    return answered


def fault_in(codes: Codes, error: LambentError) -> AwsError | None:
    """The row of the table that fits, with the error's own text."""
    for kind, code, status in codes:
        if isinstance(error, kind):
            return AwsError(code, str(error), status)
    return None
