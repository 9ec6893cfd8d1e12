"""The protocol `rest-xml`: S3, Route 53, CloudFront."""

from collections.abc import Callable, Mapping
from typing import Any

from lambent.aws.contract import AwsError
from lambent.aws.models import OperationModel, ServiceModel, Shape
from lambent.aws.protocols import xml_values
from lambent.aws.protocols.contract import Parse, Serialise
from lambent.aws.protocols.errors import WireError
from lambent.aws.protocols.query_rpc import error_elements
from lambent.aws.protocols.rest import compile_parser, compile_serialiser
from lambent.aws.protocols.xml_values import escape
from lambent.httpd.messages import Response

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


class XmlBodies:
    """XML as the format of REST bodies."""

    content_type = "application/xml"

    def __init__(self, namespace: str) -> None:
        self._namespace = ("", namespace) if namespace else None
        self._readers = xml_values.XmlReaders()
        self._writers = xml_values.XmlWriters()

    def members_reader(self, shape: Shape) -> Callable[[bytes], dict[str, Any]]:
        read = self._readers.of(shape)
        return lambda body: read([xml_values.parse(body)])

    def members_writer(self, operation: OperationModel, shape: Shape) -> Callable[[Mapping[str, Any]], bytes]:
        return self._document(shape, shape.root_name or f"{operation.name}Response")

    def payload_reader(self, shape: Shape) -> Callable[[bytes], Any]:
        read = self._readers.of(shape)
        return lambda body: read([xml_values.parse(body)])

    def payload_writer(self, shape: Shape, name: str) -> Callable[[Any], bytes]:
        return self._document(shape, shape.root_name or shape.name)

    def _document(self, shape: Shape, root: str) -> Callable[[Any], bytes]:
        write = self._writers.of(shape)
        attributes = xml_values.namespace_attribute(shape.xml_namespace or self._namespace)

        def document(value: Any) -> bytes:
            pieces = [_DECLARATION]
            write(pieces, root, attributes, value)
            return "".join(pieces).encode()

        return document


class RestXml:
    """Implements `WireProtocol`. One instance serves one service."""

    name = "rest-xml"

    def __init__(self, namespace: str, *, bare_errors: bool) -> None:
        #: S3 sends `<Error>` alone, the others wrap it in `<ErrorResponse>`, and its request id has a header of its own.
        self._bare_errors = bare_errors
        self._bodies = XmlBodies(namespace)
        self._namespace = xml_values.namespace_attribute(("", namespace) if namespace else None)
        self._writers = xml_values.XmlWriters()
        self._request_id_header = "x-amz-request-id" if bare_errors else "x-amzn-RequestId"

    def parser(self, operation: OperationModel) -> Parse:
        return compile_parser(operation, self._bodies)

    def serialiser(self, operation: OperationModel) -> Serialise:
        return compile_serialiser(operation, self._bodies, self._request_id_header)

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> Response:
        wire = WireError(model, error)
        headers = [(self._request_id_header, request_id), ("Content-Type", "application/xml")]
        if self._bare_errors:
            body = (
                f"{_DECLARATION}<Error><Code>{escape(wire.code)}</Code><Message>{escape(wire.message)}</Message>"
                f"<RequestId>{escape(request_id)}</RequestId></Error>"
            )
        else:
            inner = "".join(error_elements(wire, self._writers))
            body = (
                f"{_DECLARATION}<ErrorResponse{self._namespace}>{inner}"
                f"<RequestId>{escape(request_id)}</RequestId></ErrorResponse>"
            )
        return Response(wire.status, body.encode(), headers)
