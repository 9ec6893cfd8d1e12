"""Domain errors as the codes of this service's model."""

from lambent.arn import MalformedFunctionName
from lambent.aws.contract import AwsError, Codes, fault_in
from lambent.errors import LambentError, NotReady
from lambent.functions.store import FunctionNotFound
from lambent.gateway.routes import BadBinding
from lambent.sources.bindings import InvalidQueue, InvalidSubject, ReservedSubject


class BindingNotFound(LambentError):
    """There is no such binding of this account."""


class AlreadyBound(LambentError):
    """Something else is bound there."""


#: (error, code, status). The codes are those of the model.
FAULTS: Codes = (
    (BadBinding, "InvalidParameterValueException", 400),
    (InvalidSubject, "InvalidParameterValueException", 400),
    (ReservedSubject, "InvalidParameterValueException", 400),
    (InvalidQueue, "InvalidParameterValueException", 400),
    (MalformedFunctionName, "InvalidParameterValueException", 400),
    (FunctionNotFound, "ResourceNotFoundException", 404),
    (BindingNotFound, "ResourceNotFoundException", 404),
    (AlreadyBound, "ResourceConflictException", 409),
    (NotReady, "ServiceUnavailableException", 503),
)


def fault_of(error: LambentError, operation: str) -> AwsError | None:
    fault = fault_in(FAULTS, error)
    if fault is not None:
        fault.members["Type"] = "User" if (fault.status or 500) < 500 else "Server"
    return fault
