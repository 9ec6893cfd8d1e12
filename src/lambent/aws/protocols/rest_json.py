"""The protocol `rest-json`: Lambda, API Gateway, EventBridge Scheduler, and Lambent's own administration."""

from collections.abc import Callable, Mapping
from typing import Any

from lambent.aws.contract import AwsError
from lambent.aws.models import OperationModel, ServiceModel, Shape
from lambent.aws.protocols import json_values
from lambent.aws.protocols.contract import Parse, Serialise
from lambent.aws.protocols.errors import WireError
from lambent.aws.protocols.rest import compile_parser, compile_serialiser, header_writers
from lambent.aws.protocols.xml_values import OUTPUT_PLACES
from lambent.httpd.messages import Response


class JsonBodies:
    """JSON as the format of REST bodies."""

    content_type = "application/json"

    def __init__(self) -> None:
        self._readers = json_values.JsonReaders()
        self._writers = json_values.JsonWriters()

    def members_reader(self, shape: Shape) -> Callable[[bytes], dict[str, Any]]:
        read = json_values.structure_reader(
            {
                member.wire_name or name: (name, self._readers.of(member))
                for name, member in shape.members.items()
                if member.location is None
            }
        )
        return lambda body: read(json_values.decode(body))

    def members_writer(self, operation: OperationModel, shape: Shape) -> Callable[[Mapping[str, Any]], bytes]:
        table = self.table(shape)
        return lambda members: json_values.encode(json_values.write_members(members, table, shape.name))

    def table(self, shape: Shape) -> dict[str, tuple[str, json_values.WriteJson]]:
        return {
            name: (member.wire_name or name, self._writers.of(member))
            for name, member in shape.members.items()
            if member.location not in OUTPUT_PLACES
        }

    def payload_reader(self, shape: Shape) -> Callable[[bytes], Any]:
        read = self._readers.of(shape)
        return lambda body: read(json_values.decode(body))

    def payload_writer(self, shape: Shape, name: str) -> Callable[[Any], bytes]:
        write = self._writers.of(shape)
        return lambda value: json_values.encode(write(value))


class RestJson:
    """Implements `WireProtocol`. One instance serves one service."""

    name = "rest-json"

    def __init__(self) -> None:
        self._bodies = JsonBodies()

    def parser(self, operation: OperationModel) -> Parse:
        return compile_parser(operation, self._bodies)

    def serialiser(self, operation: OperationModel) -> Serialise:
        return compile_serialiser(operation, self._bodies, "x-amzn-RequestId")

    def error(self, model: ServiceModel | None, error: AwsError, request_id: str) -> Response:
        """`x-amzn-ErrorType` names the error; the body has the members of its shape, as recorded from Lambda:
        `{"Type":"User","Message":"Function not found: …"}`, or `{"message":…}` for errors outside the model.
        """
        wire = WireError(model, error)
        headers = [("x-amzn-RequestId", request_id), ("x-amzn-ErrorType", wire.name)]
        members = dict(wire.members)
        body: Mapping[str, Any] = members
        if wire.shape is not None:
            for name, write in header_writers(wire.shape.shape).items():
                if members.get(name) is not None:
                    write(members.pop(name), headers)
            body = json_values.write_members(members, self._bodies.table(wire.shape.shape), wire.name)
        headers.append(("Content-Type", "application/json"))
        return Response(wire.status, json_values.encode(body), headers)
