"""An error as values that every protocol writes in its own form."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import AwsError
from lambent.aws.models import ErrorShape, ServiceModel

#: How error shapes call the member that holds the text.
MESSAGE_MEMBERS = ("message", "Message", "errorMessage")


class WireError:
    """One error of one service, resolved against its model."""

    __slots__ = ("code", "members", "message", "name", "sender", "shape", "status")

    def __init__(self, model: ServiceModel | None, error: AwsError) -> None:
        found = model.errors.get(error.code) if model else None
        self.shape: ErrorShape | None = found
        self.message = error.message
        #: The code of the JSON protocols.
        self.name = found.name if found else error.code
        #: The code of the query and XML protocols.
        self.code = found.code if found else error.code
        self.status: int = error.status or (found.status if found else 400)
        self.sender = self.status < 500
        self.members: Mapping[str, Any] = self._members(error.members)

    def _members(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The members of the error's shape, message included under the name that the shape has for it."""
        members = dict(given)
        if self.shape is None:
            return {"message": self.message, **members}
        known = self.shape.shape.members
        for name in MESSAGE_MEMBERS:
            if name in known:
                members.setdefault(name, self.message)
                break
        if "Type" in known and known["Type"].type == "string":
            # Lambda's errors say who is at fault in the body: {"Type":"User","Message":"Function not found: …"}.
            members.setdefault("Type", "User" if self.sender else "Service")
        return members
