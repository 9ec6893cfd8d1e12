"""The models' regular expressions, which are Java's, as Python's.

A value must match as a whole, as AWS's checks have it. Java's `\\w`, `\\d` and `\\s` are ASCII. `\\p{L}` and its like do not exist in
Python: they are replaced by the ASCII characters of the category and those characters of the value at hand that
belong to it, which decides the same question without tables of all of Unicode.
"""

import re
import unicodedata
import warnings
from collections.abc import Callable
from functools import lru_cache

Matches = Callable[[str], bool]

_PROPERTY = re.compile(r"\\([pP])(?:\{(?:Is)?([A-Za-z_]+)\}|([A-Z]))")
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
#: `[\w-_]`: a hyphen behind a class cannot start a range; Java takes it as itself, Python refuses it.
_AFTER_CLASS = re.compile(r"(\\[wdsWDS])-")
#: POSIX classes that Java knows by name; ASCII only.
_POSIX = {
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Upper": "A-Z",
    "Lower": "a-z",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Space": r"\t-\r ",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9a-fA-F",
    "ASCII": r"\x00-\x7f",
}
_ASCII = [chr(code) for code in range(128)]
#: A character that no text has, for a category of which the value has none.
_NOTHING = "\\U0010FFFF"


class UnusablePattern(ValueError):
    """The expression uses what Python's have no form for."""


def matcher(pattern: str) -> Matches:
    """Whether a whole text matches. Raises `UnusablePattern`."""
    translated = _surrogates(pattern)
    if _PROPERTY.search(translated) is None:
        return _compile(translated)
    _compile(_with_properties(translated, ""))  # refuse now what would fail at the first value

    def matches(text: str) -> bool:
        special = "" if text.isascii() else "".join(sorted({character for character in text if character > "\x7f"}))
        return _special(translated, special)(text)

    return matches


def _compile(pattern: str) -> Matches:
    pattern = pattern.replace(r"\z", r"\Z").replace(r"\h", r"[ \t]")
    pattern = _AFTER_CLASS.sub(r"\1\\-", pattern)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # `[[` and `--` mean here what they say
            compiled = re.compile(pattern, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise UnusablePattern(f"{pattern}: {error}") from error
    fullmatch = compiled.fullmatch
    return lambda text: fullmatch(text) is not None


#: Expressions with categories, by the non-ASCII characters of the value; bounded, since values come from outside.
_special = lru_cache(maxsize=512)(lambda pattern, special: _compile(_with_properties(pattern, special)))


def _surrogates(pattern: str) -> str:
    """Java writes a character past U+FFFF as two; as the ends of a range they would not even compile."""

    def one(match: re.Match[str]) -> str:
        high, low = int(match[1], 16), int(match[2], 16)
        return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"

    return _SURROGATES.sub(one, pattern)


def _with_properties(pattern: str, special: str) -> str:
    pieces = []
    position = 0
    for match in _PROPERTY.finditer(pattern):
        pieces.append(pattern[position : match.start()])
        inner = _characters(match[2] or match[3], special, negated=match[1] == "P")
        pieces.append(inner if _inside_class(pattern, match.start()) else f"[{inner}]")
        position = match.end()
    pieces.append(pattern[position:])
    return "".join(pieces)


def _characters(name: str, special: str, *, negated: bool) -> str:
    """The inside of a character class with the members of a category among ASCII and `special`."""
    if name in _POSIX and not negated:
        return _POSIX[name]
    category = {"Letter": "L", "Alphabetic": "L", "Punctuation": "P"}.get(name, name)
    chosen = [
        character
        for character in [*_ASCII, *special]
        if unicodedata.category(character).startswith(category) is not negated
    ]
    return "".join([f"\\U{ord(character):08x}" for character in chosen]) or _NOTHING


def _inside_class(pattern: str, position: int) -> bool:
    inside = False
    index = 0
    while index < position:
        character = pattern[index]
        if character == "\\":
            index += 1
        elif character == "[":
            inside = True
        elif character == "]":
            inside = False
        index += 1
    return inside
