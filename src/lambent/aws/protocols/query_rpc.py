"""The protocol `query`: forms in, XML out. IAM, STS, SNS, CloudFormation; CloudWatch and SQS from older clients."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import AwsError
from lambent.aws.models import OperationModel, ServiceModel
from lambent.aws.protocols import query_values, xml_values
from lambent.aws.protocols.contract import Labels, Parse, Serialise, WrongOutput
from lambent.aws.protocols.errors import WireError
from lambent.aws.protocols.xml_values import escape
from lambent.httpd.messages import Request, Response

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


class QueryRpc:
    """Implements `WireProtocol`. One instance serves one service."""

    name = "query"

    def __init__(self, namespace: str) -> None:
        self._namespace = xml_values.namespace_attribute(("", namespace) if namespace else None)
        self._readers = query_values.QueryReaders()
        self._writers = xml_values.XmlWriters()

    def parser(self, operation: OperationModel) -> Parse:
        if operation.input is None:
            return lambda request, labels: {}
        read = self._readers.of(operation.input)

        def parse(request: Request, labels: Labels) -> dict[str, Any]:
            params: dict[str, Any] = read(query_values.tree(form_fields(request)))
            return params

        return parse

    def serialiser(self, operation: OperationModel) -> Serialise:
        shape = operation.output
        write = self._writers.of(shape) if shape else None
        response = f"{operation.name}Response"
        result = shape.result_wrapper if shape else None
        namespace = self._namespace

        def serialise(output: Mapping[str, Any], request_id: str) -> Response:
            pieces = [_DECLARATION, f"<{response}{namespace}>"]
            if write is None:
                if output:
                    raise WrongOutput(f"{operation.name} has no output, not {sorted(output)}")
            else:
                write(pieces, result or f"{operation.name}Result", "", output)
            pieces.append(
                f"<ResponseMetadata><RequestId>{escape(request_id)}</RequestId></ResponseMetadata></{response}>"
            )
            return Response(200, "".join(pieces).encode(), _headers(request_id))

        return serialise

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> Response:
        wire = WireError(model, error)
        pieces = [_DECLARATION, f"<ErrorResponse{self._namespace}>"]
        pieces.extend(error_elements(wire, self._writers))
        pieces.append(f"<RequestId>{escape(request_id)}</RequestId></ErrorResponse>")
        return Response(wire.status, "".join(pieces).encode(), _headers(request_id))


def form_fields(request: Request) -> list[tuple[str, str]]:
    """The parameters of a query request: the form in the body, or the query string of a GET."""
    return query_values.fields(request.body or request.query.encode("latin-1"))


def error_elements(wire: WireError, writers: xml_values.XmlWriters) -> list[str]:
    """`<Error>` with Type, Code, Message and the further members of the shape."""
    pieces = [f"<Error><Type>{'Sender' if wire.sender else 'Receiver'}</Type><Code>{escape(wire.code)}</Code>"]
    pieces.append(f"<Message>{escape(wire.message)}</Message>")
    if wire.shape is not None:
        known = wire.shape.shape.members
        for name, value in wire.members.items():
            if name.lower() in ("message", "type", "code") or value is None:
                continue
            member = known.get(name)
            if member is None:
                raise WrongOutput(f"{wire.name} has no member {name!r}")
            writers.of(member)(pieces, xml_values.element_names(name, member)[0], "", value)
    pieces.append("</Error>")
    return pieces


def _headers(request_id: str) -> list[tuple[str, str]]:
    return [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")]
