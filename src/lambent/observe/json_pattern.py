"""JSON filter patterns: `{ $.a = 1 && ($.b.c[0] != "x*" || $.d IS NULL) }`. No I/O.

Source: Amazon CloudWatch Logs user guide, "Using filter patterns to match terms in JSON log events": operators = != < > <= >=
with numbers (scientific notation too), = and != with strings (quoted, or plain alphanumerics; `*` is a wildcard) and `%regex%`;
`IS TRUE`, `IS FALSE`, `IS NULL`, `NOT EXISTS`; `&&` binds stronger than `||`; parentheses.
A message that is not a JSON object matches nothing.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from lambent.observe.faults import InvalidPattern
from lambent.observe.regex import compile_regex

_Test = Callable[[Any], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<op>&&|\|\||\(|\)|!=|<=|>=|=|<|>)
    |(?P<selector>\$(?:\.[A-Za-z0-9_\-*@]+|\[(?:\d+|\*)\]|\["[^"]*"\]|\['[^']*'\])*)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<regex>%[^%]*%)
    |(?P<word>[^\s()=!<>&|"]+))""",
    re.VERBOSE,
)
_STEP = re.compile(r"""\.([A-Za-z0-9_\-*@]+)|\[(\d+|\*)\]|\["([^"]*)"\]|\['([^']*)'\]""")
#: Nesting of parentheses; deeper is no pattern that a person wrote.
_DEPTH_MAX = 32

#: What a selector found nowhere.
_ABSENT = object()


def compile_json(text: str) -> Callable[[str], bool]:
    """`text` with its braces. Raises `InvalidPattern`."""
    if not text.endswith("}"):
        raise InvalidPattern("Invalid filter pattern: a JSON pattern ends with }")
    parser = _Parser(_tokens(text[1:-1]))
    test = parser.either(0)
    if parser.tokens:
        raise InvalidPattern(f"Invalid filter pattern: unexpected {parser.tokens[0][1]!r}")

    def matches(message: str) -> bool:
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict | list) and test(value)

    return matches


def _tokens(text: str) -> list[tuple[str, str]]:
    found, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidPattern(f"Invalid filter pattern: cannot read {text[position : position + 20]!r}")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        position = match.end()
    return found


class _Parser:
    """Recursive descent over the tokens: either := both (|| both)*; both := one (&& one)*; one := ( either ) | comparison."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens

    def either(self, depth: int) -> _Test:
        tests = [self.both(depth)]
        while self._accept("||"):
            tests.append(self.both(depth))
        return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)

    def both(self, depth: int) -> _Test:
        tests = [self.one(depth)]
        while self._accept("&&"):
            tests.append(self.one(depth))
        return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)

    def one(self, depth: int) -> _Test:
        if depth > _DEPTH_MAX:
            raise InvalidPattern("Invalid filter pattern: too deeply nested")
        if self._accept("("):
            test = self.either(depth + 1)
            if not self._accept(")"):
                raise InvalidPattern("Invalid filter pattern: a parenthesis is not closed")
            return test
        return self._comparison()

    def _comparison(self) -> _Test:
        kind, text = self._next()
        if kind != "selector":
            raise InvalidPattern(f"Invalid filter pattern: {text!r} where a selector such as $.name must be")
        select = _selector(text)
        kind, operator = self._next()
        if kind == "word":
            return _state_test(select, operator.upper(), self._next()[1].upper())
        if operator not in ("=", "!=", "<", ">", "<=", ">="):
            raise InvalidPattern(f"Invalid filter pattern: {operator!r} is not a comparison")
        return _value_test(select, operator, *self._next())

    def _accept(self, operator: str) -> bool:
        if self.tokens and self.tokens[0] == ("op", operator):
            self.tokens.pop(0)
            return True
        return False

    def _next(self) -> tuple[str, str]:
        if not self.tokens:
            raise InvalidPattern("Invalid filter pattern: it ends too early")
        return self.tokens.pop(0)


def _selector(text: str) -> Callable[[Any], list[Any]]:
    """All values that a path leads to (`*` leads to several); [_ABSENT] for none."""
    steps = [next(part for part in match.groups() if part is not None) for match in _STEP.finditer(text)]

    def select(value: Any) -> list[Any]:
        values = [value]
        for step in steps:
            values = [found for each in values for found in _step(each, step)]
        return values or [_ABSENT]

    return select


def _step(value: Any, step: str) -> list[Any]:
    if isinstance(value, dict):
        if step in value:
            return [value[step]]
        return list(value.values()) if step == "*" else []
    if isinstance(value, list):
        if step == "*":
            return list(value)
        return [value[int(step)]] if step.isdigit() and int(step) < len(value) else []
    return []


def _state_test(select: Callable[[Any], list[Any]], first: str, second: str) -> _Test:
    tests: dict[tuple[str, str], Callable[[Any], bool]] = {
        ("IS", "TRUE"): lambda found: found is True,
        ("IS", "FALSE"): lambda found: found is False,
        ("IS", "NULL"): lambda found: found is None,
        ("NOT", "EXISTS"): lambda found: found is _ABSENT,
    }
    test = tests.get((first, second))
    if test is None:
        raise InvalidPattern(f"Invalid filter pattern: {first} {second} is not a condition")
    return lambda value: any(test(found) for found in select(value))


def _value_test(select: Callable[[Any], list[Any]], operator: str, kind: str, text: str) -> _Test:
    if kind not in ("string", "word", "regex"):
        raise InvalidPattern(f"Invalid filter pattern: {text!r} where a value must be")
    number = _number(text) if kind == "word" else None
    if operator in ("<", ">", "<=", ">="):
        if number is None:
            raise InvalidPattern(f"Invalid filter pattern: {operator} needs a number, not {text!r}")
        compare = _ORDER[operator]
        return lambda value: any(_is_number(found) and compare(found, number) for found in select(value))
    equal = _equality(kind, text, number)
    if operator == "=":
        return lambda value: any(equal(found) for found in select(value))
    return lambda value: any(found is not _ABSENT and not equal(found) for found in select(value))


_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


def _equality(kind: str, text: str, number: float | None) -> Callable[[Any], bool]:
    if kind == "regex":
        search = compile_regex(text[1:-1])
        return lambda found: found is not _ABSENT and search(_text(found))
    if number is not None:
        return lambda found: (found == number) if _is_number(found) else _text(found) == text
    literal = re.sub(r"\\(.)", r"\1", text[1:-1]) if kind == "string" else text
    if "*" not in literal:
        return lambda found: found is not _ABSENT and _text(found) == literal
    # Runs of wildcards are one; between them the text is literal, so matching stays linear enough.
    wild = re.compile(".*".join(re.escape(part) for part in re.split(r"\*+", literal)), re.DOTALL)
    return lambda found: found is not _ABSENT and wild.fullmatch(_text(found)) is not None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", text) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """How a value compares with a string."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if not isinstance(value, dict | list) else ""
