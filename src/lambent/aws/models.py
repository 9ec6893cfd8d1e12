"""Service models: botocore's `service-2.json` read as data, without importing botocore.

A service is read when it is first needed (1 to 20 ms) and kept. Documentation texts are skipped while reading. The format is
that of the files themselves: a shape has traits, a reference to a shape may repeat and override some of them.
"""

import gzip
import importlib.util
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from lambent.errors import LambentError


class ModelMissing(LambentError):
    """There is no model of that name, neither in botocore's data nor in the folders that were given."""


class _Reference(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A use of a shape: as a member, a list's element, a map's key or value, an operation's input or output."""

    shape: str
    location: str | None = None
    locationName: str | None = None
    flattened: bool | None = None
    streaming: bool | None = None
    timestampFormat: str | None = None
    xmlNamespace: dict[str, Any] | str | None = None
    xmlAttribute: bool | None = None
    jsonvalue: bool | None = None
    idempotencyToken: bool | None = None
    resultWrapper: str | None = None
    payload: str | None = None


class _Shape(msgspec.Struct, kw_only=True, omit_defaults=True):
    type: str
    members: dict[str, _Reference] = {}
    required: list[str] = []
    member: _Reference | None = None
    key: _Reference | None = None
    value: _Reference | None = None
    enum: list[str] | None = None
    min: float | None = None
    max: float | None = None
    pattern: str | None = None
    payload: str | None = None
    locationName: str | None = None
    flattened: bool | None = None
    streaming: bool | None = None
    timestampFormat: str | None = None
    xmlNamespace: dict[str, Any] | str | None = None
    xmlAttribute: bool | None = None
    jsonvalue: bool | None = None
    union: bool = False
    document: bool = False
    sensitive: bool = False
    eventstream: bool = False
    exception: bool = False
    fault: bool = False
    error: dict[str, Any] = {}


class _Http(msgspec.Struct, kw_only=True):
    method: str = "POST"
    requestUri: str = "/"
    responseCode: int | None = None


class _Operation(msgspec.Struct, kw_only=True):
    name: str = ""
    http: _Http = msgspec.field(default_factory=_Http)
    input: _Reference | None = None
    output: _Reference | None = None
    errors: list[_Reference] = []
    deprecated: bool = False


class _Service(msgspec.Struct, kw_only=True):
    metadata: dict[str, Any]
    operations: dict[str, _Operation]
    shapes: dict[str, _Shape]


class Shape:
    """A shape as it is used in one place: the shape's own traits with those of the reference over them."""

    def __init__(self, model: "ServiceModel", reference: _Reference) -> None:
        self._model = model
        self._reference = reference
        self._own = model.shapes[reference.shape]
        self.name = reference.shape
        self.type = self._own.type

    def _trait(self, name: str) -> Any:
        value = getattr(self._reference, name)
        return value if value is not None else getattr(self._own, name)

    @cached_property
    def location(self) -> str | None:
        return self._reference.location

    @cached_property
    def wire_name(self) -> str | None:
        """The `locationName` of the reference: the name on the wire where it is not the member's own."""
        return self._reference.locationName

    @cached_property
    def root_name(self) -> str | None:
        """The name of the shape as the root of an XML document, where the model gives one."""
        return self._own.locationName or self._reference.locationName

    @cached_property
    def flattened(self) -> bool:
        return bool(self._trait("flattened"))

    @cached_property
    def timestamp_format(self) -> str | None:
        """`unixTimestamp`, `iso8601`, `rfc822` or None for the protocol's default."""
        text: str | None = self._trait("timestampFormat")
        return text

    @cached_property
    def xml_namespace(self) -> tuple[str, str] | None:
        """(prefix or empty, URI)."""
        value = self._trait("xmlNamespace")
        if isinstance(value, dict):
            return value.get("prefix") or "", value["uri"]
        return ("", value) if value else None

    @cached_property
    def xml_attribute(self) -> bool:
        return bool(self._trait("xmlAttribute"))

    @cached_property
    def json_value(self) -> bool:
        return bool(self._trait("jsonvalue"))

    @property
    def result_wrapper(self) -> str | None:
        return self._reference.resultWrapper

    @property
    def payload(self) -> str | None:
        """The member that is the whole body, in the REST protocols."""
        return self._own.payload

    @property
    def required(self) -> list[str]:
        return self._own.required

    @property
    def enum(self) -> list[str] | None:
        return self._own.enum

    @property
    def minimum(self) -> float | None:
        return self._own.min

    @property
    def maximum(self) -> float | None:
        return self._own.max

    @property
    def pattern(self) -> str | None:
        return self._own.pattern

    @property
    def union(self) -> bool:
        return self._own.union

    @property
    def document(self) -> bool:
        return self._own.document

    @property
    def sensitive(self) -> bool:
        return self._own.sensitive

    @property
    def event_stream(self) -> bool:
        return self._own.eventstream

    @cached_property
    def members(self) -> dict[str, "Shape"]:
        return {name: Shape(self._model, reference) for name, reference in self._own.members.items()}

    @cached_property
    def member(self) -> "Shape":
        assert self._own.member is not None, self.name
        return Shape(self._model, self._own.member)

    @cached_property
    def key(self) -> "Shape":
        assert self._own.key is not None, self.name
        return Shape(self._model, self._own.key)

    @cached_property
    def value(self) -> "Shape":
        assert self._own.value is not None, self.name
        return Shape(self._model, self._own.value)


class ErrorShape(msgspec.Struct, frozen=True):
    """How one error of a service looks on the wire."""

    #: The shape's name: the code of the JSON protocols.
    name: str
    #: The code of the query and REST-XML protocols; the name where the model gives no other.
    code: str
    status: int
    #: True when the caller is at fault.
    sender: bool
    shape: Shape


class OperationModel:
    """One operation of a service."""

    def __init__(self, model: "ServiceModel", name: str, raw: _Operation) -> None:
        self.service = model
        self.name = name
        self.method = raw.http.method
        self.request_uri = raw.http.requestUri
        self.status = raw.http.responseCode or 200
        self.deprecated = raw.deprecated
        self.input = Shape(model, raw.input) if raw.input else None
        self.output = Shape(model, raw.output) if raw.output else None


class ServiceModel:
    """One service: its operations and shapes. `name` is the folder's name in botocore's data."""

    def __init__(self, name: str, raw: _Service) -> None:
        self.name = name
        self.shapes = raw.shapes
        self._operations = raw.operations
        metadata = raw.metadata
        self.api_version: str = metadata.get("apiVersion", "")
        self.protocol: str = metadata["protocol"]
        self.protocols: list[str] = metadata.get("protocols") or [self.protocol]
        self.endpoint_prefix: str = metadata.get("endpointPrefix", name)
        self.signing_name: str = metadata.get("signingName") or self.endpoint_prefix
        self.target_prefix: str = metadata.get("targetPrefix", "")
        self.json_version: str = metadata.get("jsonVersion", "1.0")
        self.query_compatible = "awsQueryCompatible" in metadata
        #: A service with one endpoint for all regions is signed for us-east-1 by its clients.
        self.is_global = "globalEndpoint" in metadata
        namespace = metadata.get("xmlNamespace")
        self.xml_namespace: str = namespace["uri"] if isinstance(namespace, dict) else namespace or ""

    @cached_property
    def operations(self) -> dict[str, OperationModel]:
        return {name: OperationModel(self, name, raw) for name, raw in self._operations.items()}

    @cached_property
    def errors(self) -> dict[str, ErrorShape]:
        """Error shapes by shape name and by code."""
        found = {}
        for name, raw in self.shapes.items():
            if not raw.exception:
                continue
            status = raw.error.get("httpStatusCode") or (500 if raw.fault else 400)
            shape = ErrorShape(
                name=name,
                code=raw.error.get("code") or name,
                status=status,
                sender=raw.error.get("senderFault", status < 500),
                shape=Shape(self, _Reference(shape=name)),
            )
            found[name] = shape
            found.setdefault(shape.code, shape)
        return found


class Models:
    """Finds and reads models. `extra` are folders laid out as botocore's data: `SERVICE/VERSION/service-2.json` (or `.gz`)."""

    def __init__(self, extra: Sequence[Path] = ()) -> None:
        self._folders = [*extra, botocore_data()]
        self._read: dict[str, ServiceModel] = {}

    def get(self, name: str) -> ServiceModel:
        """The newest version of the model `name`. Raises `ModelMissing`."""
        model = self._read.get(name)
        if model is None:
            model = self._read[name] = ServiceModel(name, _read(self._newest(name)))
        return model

    def _newest(self, name: str) -> Path:
        if name.replace("-", "").replace("_", "").isalnum():  # a name from a request must not lead out of the folders
            for folder in self._folders:
                files = sorted(_model_files(folder / name), key=lambda file: file.parent.name)
                if files:
                    return files[-1]
        raise ModelMissing(f"there is no service model named {name[:64]!r}")


def botocore_data() -> Path:
    """The data folder of the installed botocore package, found without importing it. Raises `ModelMissing`."""
    spec = importlib.util.find_spec("botocore")
    if spec is None or spec.origin is None:
        raise ModelMissing("the botocore package, whose service models the AWS API is made of, is not installed")
    return Path(spec.origin).parent / "data"


def _model_files(folder: Path) -> Iterator[Path]:
    for pattern in ("*/service-2.json", "*/service-2.json.gz", "service-2.json"):
        yield from folder.glob(pattern)


def _read(file: Path) -> _Service:
    data = file.read_bytes()
    if file.suffix == ".gz":
        data = gzip.decompress(data)
    return parse_model(data)


def parse_model(data: bytes) -> _Service:
    """Raises `ModelMissing` when the bytes are no service model."""
    try:
        return msgspec.json.decode(data, type=_Service)
    except msgspec.MsgspecError as error:
        raise ModelMissing(f"not a service model in botocore's format: {error}") from error
