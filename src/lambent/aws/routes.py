"""Which operation of a REST service a method and a path are: the models' request URIs as a tree of path segments.

A template such as `/2015-03-31/functions/{FunctionName}/code` is walked segment by segment, literals before labels, `{Key+}`
takes the rest. Between operations of one path the literals in their templates' queries (`?policy`, `?list-type=2`) decide, then
the parameters and headers that they require: S3 tells ListParts from GetObject by `uploadId`, CopyObject from PutObject by
`x-amz-copy-source`. A slash at the end makes no difference, since models and clients disagree about it, except inside a
greedy label.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from lambent.aws.models import OperationModel
from lambent.aws.protocols.contract import Malformed
from lambent.aws.protocols.rest import decoded, query_fields

#: Segments of a path that are looked at; past it only a greedy label could match.
SEGMENTS_MAX = 64


class _End:
    """An operation at the end of a template."""

    __slots__ = ("headers", "labels", "operation", "parameters", "query")

    def __init__(self, operation: OperationModel, labels: list[str], query: list[tuple[str, str]]) -> None:
        self.operation = operation
        self.labels = labels
        #: Parameters that the query string must have; an empty value stands for any.
        self.query = query
        #: Parameters and headers that a call of the operation must have; a call without them is refused later, by name.
        self.parameters: list[str] = []
        self.headers: list[str] = []
        shape = operation.input
        for name in shape.required if shape else ():
            member = shape.members[name] if shape else None
            if member is not None and member.location == "querystring":
                self.parameters.append(member.wire_name or name)
            elif member is not None and member.location == "header":
                self.headers.append((member.wire_name or name).lower())

    def rank(self, given: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, int, bool] | None:
        """How well a request fits; None when it does not."""
        if not all(name in given and value in ("", given[name]) for name, value in self.query):
            return None
        whole = all(name in given for name in self.parameters) and all(name in headers for name in self.headers)
        required = len(self.parameters) + len(self.headers)
        return len(self.query), required if whole else -required, not self.operation.deprecated


class _Node:
    __slots__ = ("ends", "greedy", "label", "literals")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.label: _Node | None = None
        self.greedy: _Node | None = None
        self.ends: list[_End] = []


class Routes:
    """The tree of one service."""

    def __init__(self, operations: Iterable[OperationModel]) -> None:
        self._methods: dict[str, _Node] = {}
        for operation in operations:
            self._add(operation)

    def _add(self, operation: OperationModel) -> None:
        path, _, query = operation.request_uri.partition("?")
        path, _, _ = path.partition("#")
        node = self._methods.setdefault(operation.method, _Node())
        labels = []
        for segment in _segments(path):
            if segment.startswith("{") and segment.endswith("+}"):
                labels.append(segment[1:-2])
                node.greedy = node = node.greedy or _Node()
            elif segment.startswith("{") and segment.endswith("}"):
                labels.append(segment[1:-1])
                node.label = node = node.label or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        node.ends.append(_End(operation, labels, parse_qsl(query, keep_blank_values=True)))

    def match(
        self, method: str, path: str, query: str, headers: Mapping[str, str]
    ) -> tuple[OperationModel, dict[str, str]] | None:
        """The operation and its labels, decoded. Raises `Malformed` for a path that is not UTF-8."""
        root = self._methods.get(method)
        if root is None:
            return None
        segments = _segments(path)
        if len(segments) > SEGMENTS_MAX:
            segments = [*segments[: SEGMENTS_MAX - 1], "/".join(segments[SEGMENTS_MAX - 1 :])]
        values: list[str] = []
        ends = self._walk(root, segments, 0, values, "/" if path.endswith("/") else "")
        if ends is None:
            return None
        end = ends[0] if len(ends) == 1 and not ends[0].query else _choose(ends, query, headers)
        if end is None:
            return None
        return end.operation, dict(zip(end.labels, [decoded(value) for value in values], strict=True))

    def _walk(self, node: _Node, segments: list[str], index: int, values: list[str], slash: str) -> list[_End] | None:
        if index == len(segments):
            return node.ends or None
        segment = segments[index]
        below = node.literals.get(segment)
        if below is not None:
            ends = self._walk(below, segments, index + 1, values, slash)
            if ends is not None:
                return ends
        if node.label is not None and segment:
            values.append(segment)
            ends = self._walk(node.label, segments, index + 1, values, slash)
            if ends is not None:
                return ends
            values.pop()
        if node.greedy is not None:
            return self._take_rest(node.greedy, segments, index, values, slash)
        return None

    def _take_rest(
        self, node: _Node, segments: list[str], index: int, values: list[str], slash: str
    ) -> list[_End] | None:
        """The longest run of segments first, so that literals after a greedy label are still found."""
        for stop in range(len(segments), index, -1):
            taken = "/".join(segments[index:stop])
            values.append(taken + slash if stop == len(segments) else taken)
            ends = self._walk(node, segments, stop, values, slash)
            if ends is not None:
                return ends
            values.pop()
        return None


def _segments(path: str) -> list[str]:
    segments = path[1:].split("/") if path[:1] == "/" else path.split("/")
    if segments and segments[-1] == "":
        segments.pop()
    return segments


def _choose(ends: list[_End], query: str, headers: Mapping[str, str]) -> _End | None:
    """The one that the request fits best."""
    try:
        given = dict(query_fields(query))
    except Malformed:
        given = {}
    ranked = [(rank, end) for end in ends if (rank := end.rank(given, headers)) is not None]
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else None
