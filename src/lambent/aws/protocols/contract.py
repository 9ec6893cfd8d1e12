"""What a protocol is to the endpoint."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lambent.aws.contract import AwsError
from lambent.aws.models import OperationModel, ServiceModel
from lambent.errors import LambentError
from lambent.httpd.messages import Request, Response

#: Values of the labels of a REST path, decoded; empty for the RPC protocols.
Labels = Mapping[str, str]

#: Parameters of one operation out of a request. Raises `Malformed`.
Parse = Callable[[Request, Labels], dict[str, Any]]

#: Output members and the request id to a response. An output that the model does not allow raises `WrongOutput`.
Serialise = Callable[[Mapping[str, Any], str], Response]


class Malformed(LambentError):
    """The request's body, query or headers cannot be read as what the model says they are."""


class WrongOutput(Exception):
    """An operation returned something that its model has no place for: a mistake of ours, not of the caller."""


class WireProtocol(Protocol):
    """One protocol. `parser` and `serialiser` compile one operation; what they return is kept by the caller."""

    #: The name in the models' metadata: `rest-json`, `json`, `query`, `rest-xml`.
    name: str

    def parser(self, operation: OperationModel) -> Parse: ...

    def serialiser(self, operation: OperationModel) -> Serialise: ...

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> Response:
        """The error's form. `model` is None when no service could be told from the request."""
