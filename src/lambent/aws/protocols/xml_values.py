"""Values in XML: requests of `rest-xml`, answers of `rest-xml` and `query`.

The reader takes no document type declaration, so there are no entities to expand, and bounds depth and elements.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.parsers import expat

from lambent.aws.models import Shape
from lambent.aws.protocols import scalars
from lambent.aws.protocols.compiled import Compiled
from lambent.aws.protocols.contract import Malformed, WrongOutput

#: Levels of elements.
DEPTH_MAX = 100
#: Elements in one document: S3 deletes 1,000 keys in one request, with some four elements each.
ELEMENTS_MAX = 100_000

#: Places of an output's members outside the body. Others that a shape may name (`querystring`) are places of inputs only.
OUTPUT_PLACES = frozenset({"header", "headers", "statusCode"})

#: Characters that XML 1.0 cannot carry in any form.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Node:
    """An element: its tag without prefix, its attributes as written, its text and the elements in it."""

    __slots__ = ("attributes", "children", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.text = ""
        self.children: list[Node] = []


class _Builder:
    """Builds the tree while expat reads, and stops at the bounds."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._texts: list[list[str]] = []
        self._elements = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > ELEMENTS_MAX or len(self._open) >= DEPTH_MAX:
            raise Malformed(f"the XML has more than {ELEMENTS_MAX} elements or {DEPTH_MAX} levels")
        node = Node(tag.rpartition(":")[2], attributes)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)
        self._texts.append([])

    def end(self, _tag: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def characters(self, text: str) -> None:
        self._texts[-1].append(text)

    def doctype(self, *_: object) -> None:
        raise Malformed("a document type declaration is not allowed")


def parse(document: bytes) -> Node:
    """The root element. Raises `Malformed`."""
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, UnicodeDecodeError, ValueError, LookupError) as error:
        raise Malformed(f"the body is not XML: {error}") from error
    if builder.root is None:
        raise Malformed("the body is empty")
    return builder.root


def escape(text: str) -> str:
    """Text between tags. What XML cannot carry becomes U+FFFD, as there is no form for it that a parser would take."""
    if not text.isalnum():
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")
        text = _ILLEGAL.sub("\ufffd", text)
    return text


def escape_attribute(text: str) -> str:
    return escape(text).replace('"', "&quot;").replace("\n", "&#xA;").replace("\t", "&#x9;")


#: Takes every element of one name, so that flattened lists and maps are read like the others.
ReadNodes = Callable[[list[Node]], Any]


class XmlReaders:
    """Closures that turn elements into parameters."""

    def __init__(self) -> None:
        self._compiled: Compiled[ReadNodes] = Compiled(
            self._compile, lambda shape: (shape.name, shape.timestamp_format, shape.flattened)
        )

    def of(self, shape: Shape) -> ReadNodes:
        return self._compiled.of(shape)

    def _compile(self, shape: Shape) -> ReadNodes:
        match shape.type:
            case "structure":
                return self._structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
        read_text = scalars.text_reader(shape, "iso8601")

        def read(nodes: list[Node]) -> Any:
            if nodes[-1].children:
                raise Malformed(f"a {shape.type} is expected in <{nodes[-1].tag}>, which has elements in it")
            return read_text(nodes[-1].text)

        return read

    def _structure(self, shape: Shape) -> ReadNodes:
        members = [
            (name, element_names(name, member), member.xml_attribute, self.of(member))
            for name, member in shape.members.items()
            if member.location is None
        ]
        union = shape.name if shape.union else ""

        def read(nodes: list[Node]) -> Any:
            node = nodes[-1]
            by_tag: dict[str, list[Node]] = {}
            for child in node.children:
                by_tag.setdefault(child.tag, []).append(child)
            found = {}
            for name, tags, attribute, read_member in members:
                for tag in tags:
                    if attribute and tag in node.attributes:
                        holder = Node(tag, {})
                        holder.text = node.attributes[tag]
                        found[name] = read_member([holder])
                    elif not attribute and tag in by_tag:
                        found[name] = read_member(by_tag[tag])
                        break
            if union and len(found) != 1:
                raise Malformed(f"{union} must have exactly one member set, not {len(found)}")
            return found

        return read

    def _list(self, shape: Shape) -> ReadNodes:
        read_item = self.of(shape.member)
        flattened = shape.flattened
        item_name = shape.member.wire_name or "member"

        def read(nodes: list[Node]) -> Any:
            items = nodes if flattened else [child for child in nodes[-1].children if child.tag == item_name]
            return [read_item([item]) for item in items]

        return read

    def _map(self, shape: Shape) -> ReadNodes:
        key_name = shape.key.wire_name or "key"
        value_name = shape.value.wire_name or "value"
        read_key = self.of(shape.key)
        read_value = self.of(shape.value)
        flattened = shape.flattened

        def read(nodes: list[Node]) -> Any:
            entries = nodes if flattened else [child for child in nodes[-1].children if child.tag == "entry"]
            found = {}
            for entry in entries:
                keys = [child for child in entry.children if child.tag == key_name]
                values = [child for child in entry.children if child.tag == value_name]
                if not keys or not values:
                    raise Malformed(f"an entry of a map needs a <{key_name}> and a <{value_name}>")
                found[read_key(keys)] = read_value(values)
            return found

        return read


def element_names(name: str, member: Shape) -> list[str]:
    """Names of a member's element, the one to write first. A flattened list goes by its own name where the model gives one, else
    by its elements' name. Clients made from newer models pass that name over, so all of them are read.
    """
    names = [member.wire_name] if member.wire_name else []
    if member.type == "list" and member.flattened and member.member.wire_name:
        names.append(member.member.wire_name)
    if len(names) != 1 or member.wire_name is None:
        names.append(name)
    return names


def namespace_attribute(namespace: tuple[str, str] | None) -> str:
    if namespace is None:
        return ""
    prefix, uri = namespace
    return f' xmlns{":" + prefix if prefix else ""}="{escape_attribute(uri)}"'


#: Appends the element(s) of a value to the pieces: (pieces, tag, attributes, value).
WriteNode = Callable[[list[str], str, str, Any], None]


class XmlWriters:
    """Closures that append elements. A member that the shape does not have raises `WrongOutput`."""

    def __init__(self) -> None:
        self._compiled: Compiled[WriteNode] = Compiled(
            self._compile, lambda shape: (shape.name, shape.timestamp_format, shape.flattened)
        )

    def of(self, shape: Shape) -> WriteNode:
        return self._compiled.of(shape)

    def _compile(self, shape: Shape) -> WriteNode:
        match shape.type:
            case "structure":
                return self._structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
        write_text = scalars.text_writer(shape, "iso8601")

        def write(pieces: list[str], tag: str, attributes: str, value: Any) -> None:
            pieces.append(f"<{tag}{attributes}>{escape(write_text(value))}</{tag}>")

        return write

    def _structure(self, shape: Shape) -> WriteNode:
        table: dict[str, tuple[str, bool, str, WriteNode]] = {
            name: (
                element_names(name, member)[0],
                member.xml_attribute,
                namespace_attribute(member.xml_namespace),
                self.of(member),
            )
            for name, member in shape.members.items()
            if member.location not in OUTPUT_PLACES
        }
        name_of_shape = shape.name

        def write(pieces: list[str], tag: str, attributes: str, value: Any) -> None:
            if not isinstance(value, Mapping):
                raise WrongOutput(f"{name_of_shape}: expected its members, not {value!r}")
            inner: list[str] = []
            for name, item in value.items():
                if item is None:
                    continue
                try:
                    element, attribute, namespace, write_member = table[name]
                except KeyError as error:
                    raise WrongOutput(f"{name_of_shape} has no member {name!r}") from error
                if attribute:
                    attributes += f' {element}="{escape_attribute(scalars.string_to_text(item))}"'
                else:
                    write_member(inner, element, namespace, item)
            pieces.append(f"<{tag}{attributes}>")
            pieces.extend(inner)
            pieces.append(f"</{tag}>")

        return write

    def _list(self, shape: Shape) -> WriteNode:
        write_item = self.of(shape.member)
        flattened = shape.flattened
        item_name = shape.member.wire_name or "member"
        item_namespace = namespace_attribute(shape.member.xml_namespace)

        def write(pieces: list[str], tag: str, attributes: str, value: Any) -> None:
            if isinstance(value, (str, bytes, Mapping)):
                raise WrongOutput(f"expected a list, not {value!r}")
            if flattened:
                for item in value:
                    write_item(pieces, tag, attributes or item_namespace, item)
                return
            pieces.append(f"<{tag}{attributes}>")
            for item in value:
                write_item(pieces, item_name, item_namespace, item)
            pieces.append(f"</{tag}>")

        return write

    def _map(self, shape: Shape) -> WriteNode:
        key_name = shape.key.wire_name or "key"
        value_name = shape.value.wire_name or "value"
        key_namespace = namespace_attribute(shape.key.xml_namespace)
        value_namespace = namespace_attribute(shape.value.xml_namespace)
        write_key = self.of(shape.key)
        write_value = self.of(shape.value)
        flattened = shape.flattened

        def write(pieces: list[str], tag: str, attributes: str, value: Any) -> None:
            if not isinstance(value, Mapping):
                raise WrongOutput(f"expected a map, not {value!r}")
            entry, entry_attributes = (tag, attributes) if flattened else ("entry", "")
            if not flattened:
                pieces.append(f"<{tag}{attributes}>")
            for key, item in value.items():
                pieces.append(f"<{entry}{entry_attributes}>")
                write_key(pieces, key_name, key_namespace, key)
                write_value(pieces, value_name, value_namespace, item)
                pieces.append(f"</{entry}>")
            if not flattened:
                pieces.append(f"</{tag}>")

        return write
