"""Values in forms (`application/x-www-form-urlencoded`): `Tags.member.1.Key=a`. Only requests are forms; answers are XML."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from lambent.aws.models import Shape
from lambent.aws.protocols import scalars
from lambent.aws.protocols.compiled import Compiled
from lambent.aws.protocols.contract import Malformed
from lambent.aws.protocols.xml_values import element_names

#: Fields in one form. The largest real request, CloudWatch's PutMetricData, has 1,000 metrics of some ten fields.
FIELDS_MAX = 20_000
#: Dots in one field's name, two for each level of lists and maps.
DEPTH_MAX = 64


class Branch(dict[str, "Branch"]):
    """The fields below one name; `text` is the value of the name itself."""

    __slots__ = ("text",)

    def __init__(self) -> None:
        super().__init__()
        self.text: str | None = None


ReadBranch = Callable[[Branch], Any]


def fields(form: bytes) -> list[tuple[str, str]]:
    """Raises `Malformed` for a form that is not UTF-8 or has too many fields."""
    try:
        return parse_qsl(
            form.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, encoding="utf-8", errors="strict"
        )
    except UnicodeDecodeError as error:
        raise Malformed("the form is not percent-encoded UTF-8") from error
    except ValueError as error:
        raise Malformed(f"the form has more than {FIELDS_MAX} fields") from error


def tree(pairs: list[tuple[str, str]]) -> Branch:
    """The fields by the parts of their names."""
    root = Branch()
    for name, value in pairs:
        parts = name.split(".", DEPTH_MAX)
        if len(parts) > DEPTH_MAX:
            raise Malformed(f"a parameter's name has more than {DEPTH_MAX} parts")
        branch = root
        for part in parts:
            below = branch.get(part)
            if below is None:
                below = branch[part] = Branch()
            branch = below
        branch.text = value
    return root


def _numbered(branch: Branch) -> list[Branch]:
    """The elements of a list in the order of their numbers; gaps close up, as with AWS."""
    numbers = []
    for part in branch:
        if not part.isascii() or not part.isdigit() or len(part) > 9:
            raise Malformed(f"'{part[:64]}' is not the number of a list's element")
        numbers.append((int(part), branch[part]))
    numbers.sort(key=lambda pair: pair[0])
    return [element for _, element in numbers]


class QueryReaders:
    """Closures that turn branches of a form into parameters."""

    def __init__(self) -> None:
        self._compiled: Compiled[ReadBranch] = Compiled(
            self._compile, lambda shape: (shape.name, shape.timestamp_format, shape.flattened)
        )

    def of(self, shape: Shape) -> ReadBranch:
        return self._compiled.of(shape)

    def _compile(self, shape: Shape) -> ReadBranch:
        match shape.type:
            case "structure":
                return self._structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
        read_text = scalars.text_reader(shape, "iso8601")

        def read(branch: Branch) -> Any:
            if branch.text is None:
                raise Malformed(f"a {shape.type} is expected where the form has further names")
            return read_text(branch.text)

        return read

    def _structure(self, shape: Shape) -> ReadBranch:
        members = [(name, element_names(name, member), self.of(member)) for name, member in shape.members.items()]
        union = shape.name if shape.union else ""

        def read(branch: Branch) -> Any:
            found = {}
            for name, fields_of, read_member in members:
                for field in fields_of:
                    below = branch.get(field)
                    if below is not None:
                        found[name] = read_member(below)
                        break
            if union and len(found) != 1:
                raise Malformed(f"{union} must have exactly one member set, not {len(found)}")
            return found

        return read

    def _list(self, shape: Shape) -> ReadBranch:
        read_item = self.of(shape.member)
        flattened = shape.flattened
        item_name = shape.member.wire_name or "member"

        def read(branch: Branch) -> Any:
            if not flattened:
                if not branch:
                    return []  # `Name=` is how a client writes an empty list
                # Some clients leave the level of the element's name out where they should not.
                branch = branch.get(item_name, branch)
            return [read_item(element) for element in _numbered(branch)]

        return read

    def _map(self, shape: Shape) -> ReadBranch:
        key_name = shape.key.wire_name or "key"
        value_name = shape.value.wire_name or "value"
        read_key = self.of(shape.key)
        read_value = self.of(shape.value)
        flattened = shape.flattened

        def read(branch: Branch) -> Any:
            if not flattened:
                branch = branch.get("entry", Branch())
            found = {}
            for entry in _numbered(branch):
                key, value = entry.get(key_name), entry.get(value_name)
                if key is None or value is None:
                    raise Malformed(f"an entry of a map needs a '{key_name}' and a '{value_name}'")
                found[read_key(key)] = read_value(value)
            return found

        return read
