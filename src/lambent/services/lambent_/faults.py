"""Domain errors as the codes of this service's model."""

from collections.abc import Mapping
from typing import Any

from lambent.arn import MalformedFunctionName
from lambent.aws.contract import AwsError, Call, Operation
from lambent.errors import LambentError, NotReady
from lambent.functions.store import FunctionNotFound
from lambent.gateway.routes import BadBinding
from lambent.sources.bindings import InvalidQueue, InvalidSubject, ReservedSubject


class BindingNotFound(LambentError):
    """There is no such binding of this account."""


class AlreadyBound(LambentError):
    """Something else is bound there."""


#: (error, code, status). The codes are those of the model.
FAULTS: tuple[tuple[type[LambentError], str, int], ...] = (
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


def answering(operation: Operation) -> Operation:
    """The operation with its expected failures in AWS's form."""

    async def answered(call: Call) -> Mapping[str, Any]:
        try:
            return await operation(call)
        except AwsError:
            raise
        except LambentError as error:
            for kind, code, status in FAULTS:
                if isinstance(error, kind):
                    raise AwsError(code, str(error), status, Type="User" if status < 500 else "Server") from error
            raise

    return answered
