"""Which binding answers a request. Pure: no I/O, no clock.

Precedence, from the first to the last: a binding for the request's host before one for any host; an exact path before
`{param}` before a greedy end, segment by segment from the left; the request's method before ANY. This is the order of API
Gateway's HTTP APIs ("Working with routes for HTTP APIs"), with the host put before it.

Paths are compared percent-encoded: `/caf%C3%A9` and `/café` in a binding are one path, `%2F` is not a segment's end.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, unquote

import msgspec

from lambent.errors import LambentError

ANY = "ANY"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", ANY})

#: A pattern longer or deeper than this is a mistake.
PATH_MAX = 1024
SEGMENTS_MAX = 32

_PARAM = re.compile(r"\{([A-Za-z0-9._-]+)\}")
_GREEDY = re.compile(r"\{([A-Za-z0-9._-]+)\+\}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")

#: What may stand in a path segment as it is (RFC 3986, 3.3).
_SEGMENT_SAFE = "!$&'()*+,;=:@-._~"

# Kinds of segments in a trie, beside plain texts. None of them can be a text: those hold no slash.
_ANY_ONE = "/param"
_ANY_MORE = "/greedy"


class BadBinding(LambentError):
    """The binding's method, host or path cannot be; the message says what can."""


class HttpBinding(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that match go to the function. Made by `binding_of`; the id says what is matched and is the table's key."""

    id: str
    account: str
    #: A name or an ARN, with `:qualifier` where one was given.
    function: str
    #: One of `METHODS`.
    method: str
    #: Without a port, in lower case; empty: any host.
    host: str
    #: `/exact`, `/with/{param}`, `/with/{greedy+}`, `/with/*` (also matches `/with` itself).
    path: str
    created_ms: int = 0


class Match(NamedTuple):
    binding: HttpBinding
    #: `METHOD /pattern`, as HTTP APIs name a route.
    route_key: str
    #: Decoded path parameters by name; empty where the pattern has none.
    parameters: dict[str, str]


class _Pattern(NamedTuple):
    """A path taken apart: plain segments are encoded texts, the others `_ANY_ONE` and, at the end, `_ANY_MORE`."""

    segments: tuple[str, ...]
    names: tuple[str, ...]
    #: Whether the greedy end also matches nothing at all: `/*`.
    open_end: bool


def binding_of(
    *, account: str, function: str, method: str = ANY, host: str = "", path: str, created_ms: int = 0
) -> HttpBinding:
    """A checked binding in its one spelling. Raises `BadBinding`."""
    method = method.upper()
    if method not in METHODS:
        raise BadBinding(f"{method[:20]!r} is no method that can be bound; {', '.join(sorted(METHODS))} are")
    if host and (len(host) > 253 or not _HOST.fullmatch(host)):
        raise BadBinding(f"{host[:80]!r} is not a host name; give it without scheme and port")
    host = host.lower()
    pattern = _pattern(path)
    slot = f"{host} {method} /{'/'.join(pattern.segments)}"
    return HttpBinding(
        # Whoever binds the same place makes the same id, so that the table itself refuses the second one.
        id="http-" + hashlib.sha256(slot.encode()).hexdigest()[:12],
        account=account,
        function=function,
        method=method,
        host=host,
        path=path,
        created_ms=created_ms,
    )


def _pattern(path: str) -> _Pattern:
    if not path.startswith("/"):
        raise BadBinding(f"the path {path[:80]!r} does not start with /")
    if len(path) > PATH_MAX:
        raise BadBinding(f"the path is longer than {PATH_MAX} characters")
    if re.search(r"[\x00-\x20\x7f?#]", path):
        raise BadBinding(f"the path {path[:80]!r} has a space, a control character, a ? or a # in it")
    parts = path[1:].split("/")
    if len(parts) > SEGMENTS_MAX:
        raise BadBinding(f"the path has more than {SEGMENTS_MAX} segments")
    segments: list[str] = []
    names: list[str] = []
    open_end = False
    for position, part in enumerate(parts):
        greedy = _GREEDY.fullmatch(part)
        param = _PARAM.fullmatch(part)
        if (greedy or part == "*") and position != len(parts) - 1:
            raise BadBinding(f"{part} can only be the last segment of a path")
        if greedy:
            segments.append(_ANY_MORE)
            names.append(greedy[1])
        elif part == "*":
            segments.append(_ANY_MORE)
            open_end = True
        elif param:
            segments.append(_ANY_ONE)
            names.append(param[1])
        elif "{" in part or "}" in part:
            raise BadBinding(f"the segment {part[:80]!r} is neither plain nor {{name}} nor {{name+}}")
        else:
            segments.append(_canonical(part))
    if len(set(names)) != len(names):
        raise BadBinding(f"the path {path[:80]!r} names a parameter twice")
    return _Pattern(tuple(segments), tuple(names), open_end)


def _canonical(segment: str) -> str:
    """One spelling of a segment: what may stand plain stands plain, all else as upper-case %XX of UTF-8."""
    return quote(unquote(segment, errors="surrogateescape"), safe=_SEGMENT_SAFE, errors="surrogateescape")


class _Leaf:
    """The bindings of one path on one host, by method."""

    __slots__ = ("by_method", "names", "open_end")

    def __init__(self) -> None:
        self.by_method: dict[str, HttpBinding] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        self.open_end: set[str] = set()

    def take(self, method: str, empty_end: bool) -> HttpBinding | None:
        found = self.by_method.get(method)
        if found is None or (empty_end and method not in self.open_end):
            found = self.by_method.get(ANY)
            if found is None or (empty_end and ANY not in self.open_end):
                return None
        return found


class _Node:
    """One segment's place in the trie of a host's patterns."""

    __slots__ = ("greedy", "leaf", "next")

    def __init__(self) -> None:
        self.next: dict[str, _Node] = {}
        self.leaf: _Leaf | None = None
        self.greedy: _Leaf | None = None


class _Host:
    """The bindings of one host: exact paths in one dictionary, patterns in a trie by segment."""

    __slots__ = ("exact", "patterns")

    def __init__(self) -> None:
        self.exact: dict[str, _Leaf] = {}
        self.patterns = _Node()


class Routes:
    """The compiled table. A change costs as much as its path is long, a look-up too, however many bindings there are."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host] = {}
        self._bindings: dict[str, HttpBinding] = {}

    def __len__(self) -> int:
        return len(self._bindings)

    def put(self, binding: HttpBinding) -> None:
        """Adds the binding, or replaces the one of the same id."""
        self.remove(binding.id)
        pattern = _pattern(binding.path)
        leaf = self._leaf(binding.host, pattern)
        leaf.by_method[binding.method] = binding
        leaf.names[binding.method] = pattern.names
        if pattern.open_end:
            leaf.open_end.add(binding.method)
        self._bindings[binding.id] = binding

    def remove(self, binding_id: str) -> None:
        """Takes the binding out; one that is not there is no error."""
        binding = self._bindings.pop(binding_id, None)
        if binding is None:
            return
        pattern = _pattern(binding.path)
        leaf = self._leaf(binding.host, pattern)
        leaf.by_method.pop(binding.method, None)
        leaf.names.pop(binding.method, None)
        leaf.open_end.discard(binding.method)
        if not leaf.by_method:
            self._prune(binding.host, pattern)

    def find(self, method: str, host: str, path: str) -> Match | None:
        """`host` and `path` as the request gives them: the host may have a port, the path no query."""
        if not path.startswith("/"):
            # `OPTIONS *` asks about the server, not about a path.
            return None
        if not path.isascii():
            # Bytes that should have been encoded; the server hands them over as latin-1.
            path = quote(path.encode("latin-1"), safe=_SEGMENT_SAFE + "/%")
        if "%" in path:
            path = "/".join(_canonical(segment) for segment in path.split("/"))
        hosts = self._hosts
        named = hosts.get(host_name(host)) if len(hosts) > 1 or "" not in hosts else None
        for each in (named, hosts.get("")):
            if each is not None:
                found = self._find_in(each, method, path)
                if found is not None:
                    return found
        return None

    def _find_in(self, host: _Host, method: str, path: str) -> Match | None:
        exact = host.exact.get(path)
        if exact is not None:
            found = exact.take(method, False)
            if found is not None:
                return Match(found, f"{found.method} {found.path}", {})
        # The one more tells whether there is more than any pattern could take apart.
        segments = path[1:].split("/", SEGMENTS_MAX)
        for leaf, values, empty_end in _candidates(host.patterns, segments, 0, ()):
            found = leaf.take(method, empty_end)
            if found is not None:
                names = leaf.names[found.method]
                parameters = {name: unquote(value) for name, value in zip(names, values, strict=False)}
                return Match(found, f"{found.method} {found.path}", parameters)
        return None

    def _leaf(self, host: str, pattern: _Pattern) -> _Leaf:
        """The leaf of a pattern, made where it is not there."""
        tables = self._hosts.setdefault(host, _Host())
        segments = pattern.segments
        if _ANY_ONE not in segments and segments[-1] != _ANY_MORE:
            return tables.exact.setdefault("/" + "/".join(segments), _Leaf())
        node = tables.patterns
        for segment in segments:
            if segment == _ANY_MORE:
                node.greedy = node.greedy or _Leaf()
                return node.greedy
            node = node.next.setdefault(segment, _Node())
        node.leaf = node.leaf or _Leaf()
        return node.leaf

    def _prune(self, host: str, pattern: _Pattern) -> None:
        """Removes a leaf that has become empty, and what led only to it."""
        tables = self._hosts[host]
        tables.exact.pop("/" + "/".join(pattern.segments), None)
        trail: list[tuple[_Node, str]] = []
        node = tables.patterns
        for segment in pattern.segments:
            if segment == _ANY_MORE or segment not in node.next:
                break
            trail.append((node, segment))
            node = node.next[segment]
        if pattern.segments[-1] == _ANY_MORE and len(trail) == len(pattern.segments) - 1:
            node.greedy = None
        elif len(trail) == len(pattern.segments):
            node.leaf = None
        for parent, segment in reversed(trail):
            child = parent.next[segment]
            if child.next or child.leaf or child.greedy:
                break
            del parent.next[segment]
        if not tables.exact and not tables.patterns.next and tables.patterns.greedy is None:
            del self._hosts[host]


def _candidates(
    node: _Node, segments: list[str], at: int, values: tuple[str, ...]
) -> Iterator[tuple[_Leaf, tuple[str, ...], bool]]:
    """Leaves that match, the most specific first, with the values of their parameters and whether a greedy end is empty."""
    if at == len(segments):
        if node.leaf is not None:
            yield node.leaf, values, False
        if node.greedy is not None:
            yield node.greedy, values, True
        return
    segment = segments[at]
    plain = node.next.get(segment)
    if plain is not None:
        yield from _candidates(plain, segments, at + 1, values)
    param = node.next.get(_ANY_ONE)
    if param is not None and segment:
        yield from _candidates(param, segments, at + 1, (*values, segment))
    if node.greedy is not None:
        rest = "/".join(segments[at:])
        yield node.greedy, (*values, rest), not rest


def host_name(host: str) -> str:
    """The host header without its port, in lower case; IPv6 addresses keep their brackets."""
    if host.endswith("]"):
        return host.lower()
    name, colon, _ = host.rpartition(":")
    return (name if colon else host).lower()
