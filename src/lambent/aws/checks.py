"""The models' constraints on parameters, checked before an operation sees them, refused in AWS's own words.

Recorded forms (issues in which users quote them): "1 validation error detected: Value 'g1.x' at 'runtime' failed to satisfy
constraint: Member must satisfy enum value set: [java8, …]" (aws-cli 3229); "Value '[]' at 'layers' failed to satisfy
constraint: Member must satisfy constraint: [Member must have length less than or equal to 2048, …, Member must not be null]"
(lambda-action 83); "Value '…' at 'roleName' failed to satisfy constraint: Member must have length less than or equal to 64".
"""

from collections.abc import Callable, Mapping
from typing import Any

from lambent.aws.models import Shape
from lambent.aws.patterns import Matches, UnusablePattern, matcher
from lambent.aws.protocols.compiled import Compiled

#: Refusals told in one answer; a list of thousands of bad elements needs no thousands of texts.
FOUND_MAX = 20
#: Characters of a refused value that are repeated in the answer.
SHOWN_MAX = 1024

#: Adds what is wrong with a value at a path to the list.
Check = Callable[[Any, str, list[str]], None]


def validation_message(found: list[str]) -> str:
    """All refusals of one request as one message."""
    errors = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {errors} detected: {'; '.join(found)}"


class Checks:
    """Compiles shapes to checks; None for a shape that nothing can be wrong with."""

    def __init__(self) -> None:
        self._compiled: Compiled[Check] = Compiled(self._compile, lambda shape: shape.name)
        self._empty: dict[str, bool] = {}

    def of(self, shape: Shape) -> Check | None:
        return self._compiled.of(shape) if self._constrains(shape, frozenset()) else None

    def _constrains(self, shape: Shape, above: frozenset[str]) -> bool:
        """Whether anything in the shape can be wrong; a shape inside itself adds nothing."""
        known = self._empty.get(shape.name)
        if known is not None:
            return known
        if shape.name in above:
            return False
        above = above | {shape.name}
        found = bool(shape.required or shape.enum or shape.pattern or _lengths(shape))
        if not found and shape.type == "structure" and not shape.document:
            found = any(self._constrains(member, above) for member in shape.members.values())
        elif not found and shape.type == "list":
            found = True  # elements must not be null
        elif not found and shape.type == "map":
            found = True
        if len(above) == 1 or found:
            self._empty[shape.name] = found
        return found

    def _compile(self, shape: Shape) -> Check:
        match shape.type:
            case "structure":
                return self._structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
        return _scalar(shape)

    def _structure(self, shape: Shape) -> Check:
        required = [(name, _lower_first(name)) for name in shape.required]
        members = {}
        for name, member in shape.members.items():
            check = self.of(member)
            if check is not None:
                members[name] = (_lower_first(name), check)
        find = members.get

        def check_structure(value: Any, path: str, found: list[str]) -> None:
            for name, shown in required:
                if name not in value:
                    _add(found, f"Value null at '{path}{shown}' failed to satisfy constraint: Member must not be null")
            for name, item in value.items():
                entry = find(name)
                if entry is not None:
                    entry[1](item, path + entry[0], found)

        def at(value: Any, path: str, found: list[str]) -> None:
            check_structure(value, f"{path}." if path else "", found)

        return at

    def _list(self, shape: Shape) -> Check:
        lengths = _lengths(shape)
        inner = shape.member
        simple = _rules(inner) if inner.type not in ("structure", "list", "map") else None
        check_item = self.of(inner) if simple is None else None
        words = simple.words if simple else ["Member must not be null"]

        def check(value: Any, path: str, found: list[str]) -> None:
            for broken in lengths:
                if broken.test(value):
                    _refuse(found, shape, value, path, broken.words)
            if simple is not None:
                if any(item is None or simple.broken(item) for item in value):
                    _refuse(found, shape, value, path, f"Member must satisfy constraint: [{', '.join(words)}]")
                return
            for index, item in enumerate(value, 1):
                if item is None:
                    _add(
                        found,
                        f"Value null at '{path}.{index}.member' failed to satisfy constraint: Member must not be null",
                    )
                elif check_item is not None:
                    check_item(item, f"{path}.{index}.member", found)

        return check

    def _map(self, shape: Shape) -> Check:
        lengths = _lengths(shape)
        keys = _rules(shape.key)
        inner = shape.value
        simple = _rules(inner) if inner.type not in ("structure", "list", "map") else None
        check_item = self.of(inner) if simple is None else None

        def check(value: Any, path: str, found: list[str]) -> None:
            for broken in lengths:
                if broken.test(value):
                    _refuse(found, shape, value, path, broken.words)
            if any(keys.broken(key) for key in value):
                _refuse(found, shape, value, path, f"Map keys must satisfy constraint: [{', '.join(keys.words)}]")
            if simple is not None:
                if any(item is None or simple.broken(item) for item in value.values()):
                    words = ", ".join(simple.words)
                    _refuse(found, shape, value, path, f"Map value must satisfy constraint: [{words}]")
                return
            for key, item in value.items():
                if item is None:
                    _add(
                        found,
                        f"Value null at '{path}.{_cut(key)}.member' failed to satisfy constraint: Member must not be null",
                    )
                elif check_item is not None:
                    check_item(item, f"{path}.{_cut(key)}.member", found)

        return check


class _Rule:
    """One constraint: `test` is true when a value breaks it."""

    __slots__ = ("test", "words")

    def __init__(self, test: Callable[[Any], bool], words: str) -> None:
        self.test = test
        self.words = words


class _Rules:
    """The constraints of a scalar that is an element, a key or a value; told together when one is broken."""

    __slots__ = ("rules", "words")

    def __init__(self, rules: list[_Rule]) -> None:
        self.rules = rules
        self.words = [*(rule.words for rule in rules), "Member must not be null"]

    def broken(self, value: Any) -> bool:
        return any(rule.test(value) for rule in self.rules)


def _scalar(shape: Shape) -> Check:
    rules = _rules(shape).rules

    def check(value: Any, path: str, found: list[str]) -> None:
        for rule in rules:
            if rule.test(value):
                _refuse(found, shape, value, path, rule.words)

    return check


def _rules(shape: Shape) -> _Rules:
    """The constraints of a scalar, in the order in which AWS lists them."""
    rules = _lengths(shape)
    if shape.pattern is not None:
        rules.append(_pattern(shape.pattern, shape.maximum))
    if shape.enum is not None:
        allowed = frozenset(shape.enum)
        rules.append(
            _Rule(lambda value: value not in allowed, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
        )
    return _Rules(rules)


def _lengths(shape: Shape) -> list[_Rule]:
    low, high = shape.minimum, shape.maximum
    rules: list[_Rule] = []
    if shape.type in ("integer", "long", "float", "double"):
        if high is not None:
            rules.append(
                _Rule(lambda value: value > high, f"Member must have value less than or equal to {_number(high)}")
            )
        if low is not None:
            rules.append(
                _Rule(lambda value: value < low, f"Member must have value greater than or equal to {_number(low)}")
            )
        return rules
    if shape.type not in ("string", "blob", "list", "map"):
        return rules
    if high is not None:
        rules.append(
            _Rule(lambda value: len(value) > high, f"Member must have length less than or equal to {high:.0f}")
        )
    if low:
        rules.append(
            _Rule(lambda value: len(value) < low, f"Member must have length greater than or equal to {low:.0f}")
        )
    return rules


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _pattern(pattern: str, longest: float | None) -> _Rule:
    try:
        matches: Matches = matcher(pattern)
    except UnusablePattern:
        # A constraint that cannot be checked here refuses nothing; a test lists which these are.
        return _Rule(lambda value: False, f"Member must satisfy regular expression pattern: {pattern}")

    def test(value: str) -> bool:
        # A value past its length is refused for that; matching it as well would only give time to whoever sent it.
        return (longest is None or len(value) <= longest) and not matches(value)

    return _Rule(test, f"Member must satisfy regular expression pattern: {pattern}")


def _refuse(found: list[str], shape: Shape, value: Any, path: str, words: str) -> None:
    shown = "Value" if shape.sensitive else f"Value '{_cut(_shown(value))}'"
    _add(found, f"{shown} at '{path}' failed to satisfy constraint: {words}")


def _add(found: list[str], text: str) -> None:
    if len(found) < FOUND_MAX:
        found.append(text)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"


def _shown(value: Any) -> str:
    """A value as Java would print it, which is how AWS's messages have it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value[:SHOWN_MAX])}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}={_shown(item)}' for key, item in list(value.items())[:SHOWN_MAX])}}}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _lower_first(name: str) -> str:
    """`FunctionName` is `functionName` in AWS's messages, and `KMSKeyArn` is `kMSKeyArn`."""
    return name[:1].lower() + name[1:]
