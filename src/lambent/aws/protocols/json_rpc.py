"""The protocol `json` (1.0 and 1.1): CloudWatch Logs, DynamoDB, SQS, Kinesis, EventBridge, Step Functions and more."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import AwsError
from lambent.aws.models import OperationModel, ServiceModel
from lambent.aws.protocols import json_values
from lambent.aws.protocols.contract import Labels, Parse, Serialise, WrongOutput
from lambent.aws.protocols.errors import WireError
from lambent.httpd.messages import Request, Response


class JsonRpc:
    """Implements `WireProtocol`. One instance serves one service."""

    name = "json"

    def __init__(self, version: str) -> None:
        self._content_type = f"application/x-amz-json-{version}"
        self._readers = json_values.JsonReaders()
        self._writers = json_values.JsonWriters()

    def parser(self, operation: OperationModel) -> Parse:
        if operation.input is None:
            return lambda request, labels: {}
        read = self._readers.of(operation.input)

        def parse(request: Request, labels: Labels) -> dict[str, Any]:
            params: dict[str, Any] = read(json_values.decode(request.body)) if request.body else {}
            return params

        return parse

    def serialiser(self, operation: OperationModel) -> Serialise:
        content_type = self._content_type
        write = self._writers.of(operation.output) if operation.output else None
        if operation.output and any(member.event_stream for member in operation.output.members.values()):
            raise NotImplementedError(f"event streams as output ({operation.name})")

        def serialise(output: Mapping[str, Any], request_id: str) -> Response:
            headers = [("x-amzn-RequestId", request_id), ("Content-Type", content_type)]
            if write is None:
                if output:
                    raise WrongOutput(f"{operation.name} has no output, not {sorted(output)}")
                return Response(200, b"", headers)
            return Response(200, json_values.encode(write(output)), headers)

        return serialise

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> Response:
        wire = WireError(model, error)
        members: Mapping[str, Any] = wire.members
        if wire.shape is not None:
            members = self._writers.of(wire.shape.shape)(members)
        body = {"__type": wire.name, **members}
        if not any(name.lower() == "message" for name in body):
            body["message"] = wire.message  # shapes without a message member are sent with one all the same
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", self._content_type)]
        if model is not None and model.query_compatible:
            # Clients of services that once spoke the query protocol still know their errors by the old codes.
            headers.append(("x-amzn-query-error", f"{wire.code};{'Sender' if wire.sender else 'Receiver'}"))
        return Response(wire.status, json_values.encode(body), headers)
