"""CloudWatch Logs filter patterns for text: which messages a search returns. No I/O.

Terms are case-sensitive and all must be there; `?term` means that one of those must be; `-term` that it must not;
`"exact phrase"`; `%regular expression%`. `?` terms beside plain ones are ignored, as the documentation says. JSON patterns
`{ … }` are in `json_pattern.py`; the space-delimited form `[…]` is refused by name.

Source: Amazon CloudWatch Logs user guide, "Filter pattern syntax", "Using filter patterns to match terms in unstructured
log events" and "Supported regular expressions (regex) syntax".
"""

import re
from collections.abc import Callable

from lambent.observe.faults import InvalidPattern
from lambent.observe.json_pattern import compile_json
from lambent.observe.regex import compile_regex

Match = Callable[[str], bool]

_TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|(%[^%]*%)|([^\s"]+))')
#: AWS's bound on a pattern (service model, FilterPattern).
PATTERN_CHARACTERS_MAX = 1024
#: What a term without quotation marks may have beside letters, digits and `_` (the user guide asks for quotes otherwise;
#: CloudWatch itself is lenient about these).
_PLAIN = re.compile(r"[^\s\"{}\[\]()]+")


def compile_pattern(pattern: str) -> Match:
    """Raises `InvalidPattern`."""
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise InvalidPattern(f"Invalid filter pattern: at most {PATTERN_CHARACTERS_MAX} characters")
    text = pattern.strip()
    if not text or text == '""':
        return lambda message: True
    if text.startswith("{"):
        return compile_json(text)
    if text.startswith("["):
        raise InvalidPattern("Invalid filter pattern: the space-delimited form [...] is not supported by Lambent yet")
    return _compile_terms(text)


def _compile_terms(text: str) -> Match:
    required: list[Match] = []
    optional: list[Match] = []
    excluded: list[Match] = []
    position = 0
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise InvalidPattern(f"Invalid filter pattern: cannot read it from {text[position : position + 20]!r} on")
        sign, match = found[1], _term(found)
        {"": required, "?": optional, "-": excluded}[sign].append(match)
        position = found.end()
        while position < len(text) and text[position].isspace():
            position += 1
    return _combine(required, optional, excluded)


def _term(found: "re.Match[str]") -> Match:
    sign, quoted, expression, plain = found.groups()
    if expression is not None:
        search = compile_regex(expression[1:-1])
        return lambda message: search(message)
    if quoted is not None:
        plain = re.sub(r"\\(.)", r"\1", quoted)
    elif plain is None or not _PLAIN.fullmatch(plain):
        raise InvalidPattern(f"Invalid filter pattern: put {sign}{plain} in double quotation marks")
    return lambda message: plain in message


def _combine(required: list[Match], optional: list[Match], excluded: list[Match]) -> Match:
    if required or not optional:
        return lambda message: all(m(message) for m in required) and not any(m(message) for m in excluded)
    return lambda message: any(m(message) for m in optional) and not any(m(message) for m in excluded)
