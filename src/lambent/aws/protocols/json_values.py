"""Values in JSON, both ways: shared by `json` and `rest-json`.

The refusals are worded as AWS's own parser words them ("NUMBER_VALUE can not be converted to a String").
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lambent.aws.models import Shape
from lambent.aws.protocols import scalars
from lambent.aws.protocols.compiled import Compiled
from lambent.aws.protocols.contract import Malformed, WrongOutput

ReadJson = Callable[[Any], Any]
WriteJson = Callable[[Any], Any]

#: Levels of arrays and objects in a body. The deepest input in AWS's models that is not recursive has about 15; DynamoDB
#: documents 32 for its own values.
DEPTH_MAX = 100

_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def decode(body: bytes) -> Any:
    """The body as Python values. Raises `Malformed` for what is not JSON or is nested past `DEPTH_MAX`."""
    # Counting brackets costs nanoseconds and settles nearly every body; only one with many is measured.
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX and _depth(body) > DEPTH_MAX:
        raise Malformed(f"the body is nested deeper than {DEPTH_MAX} levels")
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Malformed(f"the body is not JSON: {error}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise Malformed("the body is not JSON in UTF-8") from error


def _depth(body: bytes) -> int:
    """The deepest nesting, counted outside of strings."""
    depth = deepest = 0
    inside = False
    position = 0
    while position < len(body):
        byte = body[position]
        if inside:
            if byte == 0x5C:  # a backslash hides the next character
                position += 1
            elif byte == 0x22:
                inside = False
        elif byte == 0x22:
            inside = True
            end = body.find(b'"', position + 1)
            if end > 0 and body.find(b"\\", position + 1, end) < 0:
                position, inside = end, False
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > DEPTH_MAX:
                return deepest
        elif byte in b"]}":
            depth -= 1
        position += 1
    return deepest


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _kind(value: Any) -> str:
    if value is True:
        return "TRUE_VALUE"
    if value is False:
        return "FALSE_VALUE"
    if isinstance(value, str):
        return "STRING_VALUE"
    if isinstance(value, (int, float)):
        return "NUMBER_VALUE"
    return "null"


def _wrong(value: Any, wanted: str) -> Malformed:
    if isinstance(value, dict):
        return Malformed("Start of structure or map found where not expected.")
    if isinstance(value, list):
        return Malformed("Start of list found where not expected")
    return Malformed(f"{_kind(value)} can not be converted to {wanted}")


def _read_string(value: Any) -> str:
    if type(value) is not str:
        raise _wrong(value, "a String")
    return value


def _read_boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise _wrong(value, "a Boolean")
    return value


def _read_float(value: Any) -> float:
    if type(value) is float or type(value) is int:
        try:
            return float(value)
        except OverflowError as error:
            raise Malformed("NUMBER_VALUE is out of range") from error
    if isinstance(value, str) and value in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[value]
    raise _wrong(value, "a Float")


def _integer_reader(kind: str) -> ReadJson:
    low, high = scalars.INTEGER_RANGES[kind]
    wanted = "an Integer" if kind == "integer" else "a Long"

    def read(value: Any) -> int:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise _wrong(value, wanted)
        if not low <= value <= high:
            raise Malformed(f"NUMBER_VALUE is out of the range of {wanted}")
        return value

    return read


def _read_blob(value: Any) -> bytes:
    if type(value) is not str:
        raise _wrong(value, "a Blob")
    return scalars.blob_from_base64(value)


def _timestamp_reader(shape: Shape) -> ReadJson:
    form = (shape.timestamp_format or "unixTimestamp").lower()
    read_text = scalars.TIMESTAMP_READERS[form]

    def read(value: Any) -> Any:
        if type(value) is int or type(value) is float:
            return scalars.timestamp_from_number(value)
        if type(value) is not str:
            raise _wrong(value, "a Timestamp")
        return read_text(value)

    return read


class JsonReaders:
    """Closures that turn decoded JSON into parameters."""

    def __init__(self) -> None:
        self._compiled: Compiled[ReadJson] = Compiled(self._compile, lambda shape: (shape.name, shape.timestamp_format))

    def of(self, shape: Shape) -> ReadJson:
        return self._compiled.of(shape)

    def _compile(self, shape: Shape) -> ReadJson:
        match shape.type:
            case "structure":
                return self._document if shape.document else self._structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
            case "string" | "character":
                return _read_string
            case "integer" | "long":
                return _integer_reader(shape.type)
            case "float" | "double":
                return _read_float
            case "boolean":
                return _read_boolean
            case "blob":
                return _read_blob
            case "timestamp":
                return _timestamp_reader(shape)
        raise TypeError(f"{shape.name}: unknown type {shape.type}")

    @staticmethod
    def _document(value: Any) -> Any:
        return value

    def _structure(self, shape: Shape) -> ReadJson:
        table = {member.wire_name or name: (name, self.of(member)) for name, member in shape.members.items()}
        return structure_reader(table, shape.name if shape.union else "")

    def _list(self, shape: Shape) -> ReadJson:
        read_item = self.of(shape.member)

        def read(value: Any) -> Any:
            if type(value) is not list:
                raise _wrong(value, "a List")
            return [None if item is None else read_item(item) for item in value]

        return read

    def _map(self, shape: Shape) -> ReadJson:
        read_item = self.of(shape.value)

        def read(value: Any) -> Any:
            if type(value) is not dict:
                raise _wrong(value, "a Map")
            return {key: None if item is None else read_item(item) for key, item in value.items()}

        return read


def structure_reader(table: Mapping[str, tuple[str, ReadJson]], union: str = "") -> ReadJson:
    """Reads an object by `table`: name on the wire to (member, reader). Unknown names and nulls are passed over. `union` is
    the shape's name when exactly one member must be there.
    """
    find = table.get

    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _wrong(value, "a Structure")
        members = {}
        for name, item in value.items():
            if item is not None:
                found = find(name)
                if found is not None:
                    members[found[0]] = found[1](item)
        if union and len(members) != 1:
            raise Malformed(f"{union} must have exactly one member set, not {len(members)}")
        return members

    return read


def _write_float(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise WrongOutput(f"expected a number, not {value!r}")
    return value if math.isfinite(value) else scalars.float_to_text(value)


def _checked(kind: type | tuple[type, ...], words: str) -> WriteJson:
    def write(value: Any) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise WrongOutput(f"expected {words}, not {value!r}")
        return value

    return write


_WRITERS: dict[str, WriteJson] = {
    "string": _checked(str, "a text"),
    "character": _checked(str, "a text"),
    "integer": _checked(int, "an integer"),
    "long": _checked(int, "an integer"),
    "float": _write_float,
    "double": _write_float,
    "boolean": _checked(bool, "a boolean"),
    "blob": scalars.blob_to_base64,
}


class JsonWriters:
    """Closures that turn outputs into what `encode` takes. A member that the shape does not have raises `WrongOutput`."""

    def __init__(self) -> None:
        self._compiled: Compiled[WriteJson] = Compiled(
            self._compile, lambda shape: (shape.name, shape.timestamp_format)
        )

    def of(self, shape: Shape) -> WriteJson:
        return self._compiled.of(shape)

    def _compile(self, shape: Shape) -> WriteJson:
        match shape.type:
            case "structure":
                return JsonReaders._document if shape.document else self._structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
            case "timestamp":
                if (shape.timestamp_format or "unixTimestamp").lower() == "unixtimestamp":
                    return scalars.timestamp_to_number
                return scalars.text_writer(shape, "iso8601")
        return _WRITERS[shape.type]

    def _structure(self, shape: Shape) -> WriteJson:
        table = {name: (member.wire_name or name, self.of(member)) for name, member in shape.members.items()}
        name_of_shape = shape.name

        def write(value: Any) -> dict[str, Any]:
            return write_members(value, table, name_of_shape)

        return write

    def _list(self, shape: Shape) -> WriteJson:
        write_item = self.of(shape.member)

        def write(value: Any) -> Any:
            if isinstance(value, (str, bytes, Mapping)):
                raise WrongOutput(f"expected a list, not {value!r}")
            return [None if item is None else write_item(item) for item in value]

        return write

    def _map(self, shape: Shape) -> WriteJson:
        write_item = self.of(shape.value)

        def write(value: Any) -> Any:
            if not isinstance(value, Mapping):
                raise WrongOutput(f"expected a map, not {value!r}")
            return {key: None if item is None else write_item(item) for key, item in value.items()}

        return write


def write_members(value: Any, table: Mapping[str, tuple[str, WriteJson]], name_of_shape: str) -> dict[str, Any]:
    """An object by `table`: member to (name on the wire, writer). None members are left out."""
    if not isinstance(value, Mapping):
        raise WrongOutput(f"{name_of_shape}: expected its members, not {value!r}")
    written = {}
    for name, item in value.items():
        if item is None:
            continue
        try:
            wire_name, write = table[name]
        except KeyError as error:
            raise WrongOutput(f"{name_of_shape} has no member {name!r}") from error
        written[wire_name] = write(item)
    return written
