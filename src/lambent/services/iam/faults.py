"""Domain errors as IAM's codes, in one place. Codes and statuses are those of IAM's service model."""

from lambent.aws.contract import AwsError, Codes, fault_in
from lambent.errors import LambentError, NotReady
from lambent.services.iam.documents import MalformedPolicy
from lambent.services.iam.roles import ChangedMeanwhile, InTheWay, NotThere, QuotaExceeded, RoleExists


class MarkerRefused(LambentError):
    def __init__(self) -> None:
        super().__init__("Invalid Marker.")


_CODES: Codes = (
    (RoleExists, "EntityAlreadyExists", 409),
    (NotThere, "NoSuchEntity", 404),
    (InTheWay, "DeleteConflict", 409),
    (QuotaExceeded, "LimitExceeded", 409),
    (ChangedMeanwhile, "ConcurrentModification", 409),
    (MalformedPolicy, "MalformedPolicyDocument", 400),
    (MarkerRefused, "ValidationError", 400),
    (NotReady, "ServiceFailure", 500),
)


def fault_of(error: LambentError, operation: str) -> AwsError | None:
    return fault_in(_CODES, error)
