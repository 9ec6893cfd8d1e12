"""One service as the endpoint offers it: its model, its protocols, and each operation compiled when it is first called."""

from collections.abc import Mapping

from lambent.aws.checks import Check, Checks
from lambent.aws.contract import Operation
from lambent.aws.models import OperationModel, ServiceModel
from lambent.aws.protocols.contract import Parse, Serialise, WireProtocol
from lambent.aws.protocols.json_rpc import JsonRpc
from lambent.aws.protocols.query_rpc import QueryRpc
from lambent.aws.protocols.rest_json import RestJson
from lambent.aws.protocols.rest_xml import RestXml
from lambent.aws.routes import Routes


class NoSuchOperation(ValueError):
    """A service registers an operation that its model does not have, or cannot have here: a mistake of ours, at start."""


class Compiled:
    """An implemented operation in one protocol, ready to be called."""

    __slots__ = ("check", "name", "parse", "run", "serialise")

    def __init__(self, name: str, parse: Parse, check: Check | None, run: Operation, serialise: Serialise) -> None:
        self.name = name
        self.parse = parse
        self.check = check
        self.run = run
        self.serialise = serialise


class Offer:
    """A service on this endpoint."""

    def __init__(self, model: ServiceModel, operations: Mapping[str, Operation]) -> None:
        self.model = model
        self.operations = operations
        self._protocols: dict[str, WireProtocol] = {}
        self._compiled: dict[tuple[str, str], Compiled] = {}
        self._checks = Checks()
        self._routes: Routes | None = None
        #: `rest-json`, `rest-xml` or empty.
        self.rest = next((name for name in model.protocols if name.startswith("rest-")), "")
        for name in operations:
            if name not in model.operations:
                raise NoSuchOperation(f"the model of {model.name} has no operation {name}")
            if _has_event_stream(model.operations[name]):
                raise NoSuchOperation(f"{model.name} {name} has an event stream, which is not supported yet")

    @property
    def routes(self) -> Routes:
        if self._routes is None:
            self._routes = Routes(self.model.operations.values())
        return self._routes

    def speaks(self, protocol: str) -> bool:
        return protocol in self.model.protocols

    def protocol(self, name: str) -> WireProtocol:
        found = self._protocols.get(name)
        if found is None:
            found = self._protocols[name] = make_protocol(name, self.model)
        return found

    def compiled(self, protocol: str, operation: OperationModel) -> Compiled | None:
        """None when the operation is not implemented."""
        key = (protocol, operation.name)
        found = self._compiled.get(key)
        if found is None:
            run = self.operations.get(operation.name)
            if run is None:
                return None
            wire = self.protocol(protocol)
            check = self._checks.of(operation.input) if operation.input else None
            found = Compiled(operation.name, wire.parser(operation), check, run, wire.serialiser(operation))
            self._compiled[key] = found
        return found


def make_protocol(name: str, model: ServiceModel) -> WireProtocol:
    match name:
        case "rest-json":
            return RestJson()
        case "json":
            return JsonRpc(model.json_version)
        case "query":
            return QueryRpc(model.xml_namespace)
        case "rest-xml":
            return RestXml(model.xml_namespace, bare_errors=model.name == "s3")
    raise NoSuchOperation(f"the protocol {name} is not spoken here")


def _has_event_stream(operation: OperationModel) -> bool:
    return any(
        member.event_stream
        for shape in (operation.input, operation.output)
        if shape is not None
        for member in shape.members.values()
    )
