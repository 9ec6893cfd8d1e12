"""The small regular expressions of filter patterns (`%…%`): checked against AWS's allowed set, then run by `re`.

Allowed are letters, digits, `:_#=@/;,-` and the operators `^ $ ? [ ] { } | \\ * + .`; there are no groups, so that nested
repetition, which makes matching explode, cannot be written. Repetitions of one character class are bounded in number.
"""

import re
from collections.abc import Callable

from lambent.observe.faults import InvalidPattern

_ALLOWED = re.compile(r"(?:[A-Za-z0-9:_#=@/;,\- ^$?\[\]{}|*+.]|\\[\x21-\x7e])*")
#: Each unbounded repetition multiplies the work by the length of the message; a handful is what people write.
_REPETITIONS_MAX = 4
#: Longest message that is searched; the rest of a longer one is not looked at.
_MESSAGE_CHARACTERS_MAX = 16 * 1024


def compile_regex(text: str) -> Callable[[str], bool]:
    """Raises `InvalidPattern`."""
    if not text or not _ALLOWED.fullmatch(text):
        raise InvalidPattern(f"Invalid character(s) in the regular expression %{text}%")
    if len(re.findall(r"(?<!\\)[*+]|(?<!\\)\{\d+,\d*\}", text)) > _REPETITIONS_MAX:
        raise InvalidPattern(f"Too many repetitions in the regular expression %{text}%")
    try:
        compiled = re.compile(text, re.ASCII)
    except re.error as error:
        raise InvalidPattern(f"Invalid regular expression %{text}%: {error}") from error
    return lambda message: compiled.search(message, 0, _MESSAGE_CHARACTERS_MAX) is not None
