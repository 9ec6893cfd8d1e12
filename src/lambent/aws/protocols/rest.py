"""What the two REST protocols share: which member travels in the path, the query string, a header, the status, the body.

Rules: "HTTP bindings" of the Smithy specification; the formats of bodies are passed in.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from lambent.aws.models import OperationModel, Shape
from lambent.aws.protocols import scalars
from lambent.aws.protocols.contract import Labels, Malformed, Parse, Serialise, WrongOutput
from lambent.aws.protocols.xml_values import OUTPUT_PLACES
from lambent.httpd.messages import Request, Response

#: Parameters in one query string.
QUERY_FIELDS_MAX = 1000

#: Statuses that have no body.
_BODILESS = frozenset({204, 304})


class BodyFormat(Protocol):
    """How a REST protocol writes structures: JSON or XML."""

    content_type: str

    def members_reader(self, shape: Shape) -> Callable[[bytes], dict[str, Any]]:
        """Reads the members of `shape` that have no other place from a body that is not empty."""

    def members_writer(self, operation: OperationModel, shape: Shape) -> Callable[[Mapping[str, Any]], bytes]:
        """Writes the members of `shape` that have no other place."""

    def payload_reader(self, shape: Shape) -> Callable[[bytes], Any]:
        """Reads the one member that is the whole body."""

    def payload_writer(self, shape: Shape, name: str) -> Callable[[Any], bytes]:
        """Writes the one member that is the whole body."""


def decoded(text: str) -> str:
    """A piece of a path. Raises `Malformed` for what is not UTF-8."""
    if "%" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError as error:
        raise Malformed("the path is not percent-encoded UTF-8") from error


def compile_parser(operation: OperationModel, format: BodyFormat) -> Parse:
    """Input bindings of one operation as a closure."""
    shape = operation.input
    if shape is None:
        return lambda request, labels: {}
    labels_of = [
        (name, member.wire_name or name, scalars.text_reader(member, "iso8601"))
        for name, member in shape.members.items()
        if member.location == "uri"
    ]
    read_query = _query_reader(shape)
    read_headers = _headers_reader(shape)
    read_body = _body_reader(shape, format)

    def parse(request: Request, labels: Labels) -> dict[str, Any]:
        params = {}
        for name, label, read in labels_of:
            params[name] = read(labels[label])
        if read_query is not None and request.query:
            read_query(request.query, params)
        if read_headers is not None:
            read_headers(request.headers, params)
        if read_body is not None:
            read_body(request.body, params)
        return params

    return parse


def _query_reader(shape: Shape) -> Callable[[str, dict[str, Any]], None] | None:
    single: dict[str, tuple[str, scalars.ReadText]] = {}
    lists: dict[str, tuple[str, scalars.ReadText]] = {}
    rest: tuple[str, bool] | None = None
    for name, member in shape.members.items():
        if member.location != "querystring":
            continue
        if member.type == "list":
            lists[member.wire_name or name] = (name, scalars.text_reader(member.member, "iso8601"))
        elif member.type == "map":
            rest = (name, member.value.type == "list")
        else:
            single[member.wire_name or name] = (name, scalars.text_reader(member, "iso8601"))
    if not single and not lists and rest is None:
        return None

    def read(query: str, params: dict[str, Any]) -> None:
        for key, value in query_fields(query):
            if key in single:
                name, read_text = single[key]
                params[name] = read_text(value)
            elif key in lists:
                name, read_text = lists[key]
                params.setdefault(name, []).append(read_text(value))
            if rest is not None:
                # Smithy's rule for servers: the map has every parameter, those that are members of their own too.
                name, many = rest
                entries = params.setdefault(name, {})
                if many:
                    entries.setdefault(key, []).append(value)
                else:
                    entries.setdefault(key, value)

    return read


def query_fields(query: str) -> list[tuple[str, str]]:
    """Raises `Malformed`."""
    try:
        return parse_qsl(
            query.encode("latin-1").decode(), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX, errors="strict"
        )
    except UnicodeDecodeError as error:
        raise Malformed("the query string is not percent-encoded UTF-8") from error
    except ValueError as error:
        raise Malformed(f"the query string has more than {QUERY_FIELDS_MAX} parameters") from error


def _headers_reader(shape: Shape) -> Callable[[dict[str, str], dict[str, Any]], None] | None:
    singles = []
    prefixes = []
    for name, member in shape.members.items():
        if member.location == "header":
            singles.append((name, (member.wire_name or name).lower(), header_reader(member)))
        elif member.location == "headers":
            prefixes.append((name, (member.wire_name or "").lower()))
    if not singles and not prefixes:
        return None

    def read(headers: dict[str, str], params: dict[str, Any]) -> None:
        for name, header, read_text in singles:
            text = headers.get(header)
            if text is not None:
                params[name] = read_text(text)
        for name, prefix in prefixes:
            found = {key[len(prefix) :]: value for key, value in headers.items() if key.startswith(prefix)}
            if found:
                params[name] = found

    return read


def header_reader(shape: Shape) -> scalars.ReadText:
    if shape.type == "list":
        read_item = scalars.text_reader(shape.member, "rfc822")
        dates = shape.member.type == "timestamp" and (shape.member.timestamp_format or "rfc822").lower() == "rfc822"
        return lambda text: [read_item(piece) for piece in split_header(text, dates=dates)]
    if shape.json_value:
        return _read_json_header
    return scalars.text_reader(shape, "rfc822")


def _read_json_header(text: str) -> Any:
    try:
        return msgspec.json.decode(scalars.blob_from_base64(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("a header is not JSON in base64") from error


def split_header(text: str, *, dates: bool) -> list[str]:
    """The elements of a list in one header. Dates have a comma in them; other texts with a comma are in double quotes."""
    if dates:
        parts = [part.strip() for part in text.split(",")]
        return [", ".join(parts[index : index + 2]) for index in range(0, len(parts), 2)]
    if '"' not in text:
        return [part.strip() for part in text.split(",")] if text.strip() else []
    pieces: list[str] = []
    position = 0
    while position < len(text):
        while position < len(text) and text[position] in " \t,":
            position += 1
        if position >= len(text):
            break
        if text[position] != '"':
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            pieces.append(text[position:end].strip())
            position = end
            continue
        piece, position = _quoted(text, position + 1)
        pieces.append(piece)
    return pieces


def _quoted(text: str, position: int) -> tuple[str, int]:
    """The quoted text that starts at `position`, and where the text after its closing quote starts."""
    piece: list[str] = []
    while position < len(text):
        character = text[position]
        if character == "\\" and position + 1 < len(text):
            position += 1
            character = text[position]
        elif character == '"':
            return "".join(piece), position + 1
        piece.append(character)
        position += 1
    raise Malformed("a quoted text in a header does not end")


def _body_reader(shape: Shape, format: BodyFormat) -> Callable[[bytes, dict[str, Any]], None] | None:
    payload = shape.payload
    if payload is not None:
        member = shape.members[payload]
        if member.type == "blob":
            return lambda body, params: params.__setitem__(payload, body) if body else None
        if member.type == "string":
            return lambda body, params: params.__setitem__(payload, _utf8(body)) if body else None
        if member.event_stream:
            raise NotImplementedError(f"event streams as input ({shape.name})")
        read_payload = format.payload_reader(member)
        return lambda body, params: params.__setitem__(payload, read_payload(body)) if body else None
    if all(member.location for member in shape.members.values()):
        return None
    read_members = format.members_reader(shape)
    return lambda body, params: params.update(read_members(body)) if body else None


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Malformed("the body is not UTF-8") from error


def compile_serialiser(operation: OperationModel, format: BodyFormat, request_id_header: str) -> Serialise:
    """Output bindings of one operation as a closure."""
    shape = operation.output
    if shape is None:
        return _without_output(operation, request_id_header)
    write_members_of = header_writers(shape)
    body_members = {
        name for name, member in shape.members.items() if member.location not in OUTPUT_PLACES and name != shape.payload
    }
    write_body = None
    if shape.payload is None and (body_members or format.content_type == "application/json"):
        # JSON clients are given an object even when every member is a header (Smithy's protocol tests ask servers for it).
        write_body = format.members_writer(operation, shape)
    write_payload, payload_type = _payload_writer(shape, format)
    payload = shape.payload
    content_type = format.content_type
    usual_status = operation.status
    name_of_shape = shape.name

    def serialise(output: Mapping[str, Any], request_id: str) -> Response:
        status = usual_status
        headers = [(request_id_header, request_id)]
        inner: dict[str, Any] = {}
        body: bytes | AsyncIterator[bytes] = b""
        kind = ""
        for name, value in output.items():
            if value is None:
                continue
            if name == payload:
                body, kind = write_payload(value), payload_type
            elif name in body_members:
                inner[name] = value
            else:
                try:
                    write = write_members_of[name]
                except KeyError as error:
                    raise WrongOutput(f"{name_of_shape} has no member {name!r}") from error
                changed = write(value, headers)
                status = changed or status
        if status in _BODILESS:
            return Response(status, b"", headers)
        if write_body is not None:
            body, kind = write_body(inner), content_type
        if kind and not (len(headers) > 1 and any(name.lower() == "content-type" for name, _ in headers)):
            headers.append(("Content-Type", kind))
        return Response(status, body, headers)

    return serialise


def _without_output(operation: OperationModel, request_id_header: str) -> Serialise:
    status = operation.status

    def serialise(output: Mapping[str, Any], request_id: str) -> Response:
        if output:
            raise WrongOutput(f"{operation.name} has no output, not {sorted(output)}")
        return Response(status, b"", [(request_id_header, request_id)])

    return serialise


#: Adds to the headers; returns the status for the member that is the status, else 0.
WriteHeader = Callable[[Any, list[tuple[str, str]]], int]


def header_writers(shape: Shape) -> dict[str, WriteHeader]:
    """Writers of the members of `shape` that are headers or the status."""
    writers: dict[str, WriteHeader] = {}
    for name, member in shape.members.items():
        if member.location == "header":
            writers[name] = _single_header(member.wire_name or name, member)
        elif member.location == "headers":
            writers[name] = _prefixed_headers(member.wire_name or "")
        elif member.location == "statusCode":
            writers[name] = _status
    return writers


def _single_header(header: str, shape: Shape) -> WriteHeader:
    write_text = _header_text_writer(shape)

    def write(value: Any, headers: list[tuple[str, str]]) -> int:
        headers.append((header, _clean(write_text(value))))
        return 0

    return write


def _header_text_writer(shape: Shape) -> scalars.WriteText:
    if shape.type == "list":
        write_item = scalars.text_writer(shape.member, "rfc822")
        quote = _quote if shape.member.type == "string" else str
        return lambda value: ", ".join([quote(write_item(item)) for item in value if item is not None])
    if shape.json_value:
        return lambda value: scalars.blob_to_base64(msgspec.json.encode(value))
    return scalars.text_writer(shape, "rfc822")


def _prefixed_headers(prefix: str) -> WriteHeader:
    def write(value: Any, headers: list[tuple[str, str]]) -> int:
        headers.extend((_clean(prefix + key), _clean(scalars.string_to_text(text))) for key, text in value.items())
        return 0

    return write


def _status(value: Any, _headers: list[tuple[str, str]]) -> int:
    if not isinstance(value, int) or not 100 <= value <= 599:
        raise WrongOutput(f"{value!r} is no HTTP status")
    return value


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if "," in text or '"' in text else text


def _clean(text: str) -> str:
    """A header's name or value. A line break in it would start another header."""
    if "\n" in text or "\r" in text or "\0" in text:
        raise WrongOutput("a header must not have line breaks")
    try:
        if not text.isascii():
            text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise WrongOutput("a header has a character that HTTP headers cannot carry") from error
    return text


def _payload_writer(shape: Shape, format: BodyFormat) -> tuple[Callable[[Any], Any], str]:
    """How the member that is the whole body is written, and the content type it has when no header member says."""
    if shape.payload is None:
        return (lambda value: value), ""
    member = shape.members[shape.payload]
    if member.type == "blob":
        return _raw_payload, _blob_type(shape, format)
    if member.type == "string":
        return (lambda value: scalars.string_to_text(value).encode()), "text/plain"
    if member.event_stream:
        raise NotImplementedError(f"event streams as output ({shape.name})")
    return format.payload_writer(member, shape.payload), format.content_type


def _blob_type(shape: Shape, format: BodyFormat) -> str:
    """Where the type of a blob is a member, the operation says it or nobody. Lambda answers Invoke with application/json."""
    for name, member in shape.members.items():
        if member.location == "header" and (member.wire_name or name).lower() == "content-type":
            return ""
    return format.content_type if format.content_type == "application/json" else "application/octet-stream"


def _raw_payload(value: Any) -> Any:
    """Bytes pass through untouched, a stream of bytes too."""
    if isinstance(value, (bytes, bytearray)) or hasattr(value, "__aiter__"):
        return value
    raise WrongOutput(f"a blob must be bytes or an asynchronous iterator of bytes, not {value!r}")
