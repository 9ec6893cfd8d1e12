"""Domain errors as IAM's codes, in one place. Codes and statuses are those of IAM's service model."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import AwsError, Call, Operation
from lambent.errors import LambentError, NotReady
from lambent.services.iam.documents import MalformedPolicy
from lambent.services.iam.roles import ChangedMeanwhile, InTheWay, NotThere, QuotaExceeded, RoleExists


class MarkerRefused(LambentError):
    def __init__(self) -> None:
        super().__init__("Invalid Marker.")


_CODES: tuple[tuple[type[LambentError], str, int], ...] = (
    (RoleExists, "EntityAlreadyExists", 409),
    (NotThere, "NoSuchEntity", 404),
    (InTheWay, "DeleteConflict", 409),
    (QuotaExceeded, "LimitExceeded", 409),
    (ChangedMeanwhile, "ConcurrentModification", 409),
    (MalformedPolicy, "MalformedPolicyDocument", 400),
    (MarkerRefused, "ValidationError", 400),
    (NotReady, "ServiceFailure", 500),
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
