"""Amazon resource names of Lambda functions: parsed and built in one place (contract 13).

The pattern and the lengths are those of Lambda's service model (`FunctionName`, `NamespacedFunctionName`).
"""

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

from lambent.errors import LambentError

LATEST = "$LATEST"

_FUNCTION = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?"
    r"(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_]+)"
    r"(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)


class MalformedFunctionName(LambentError):
    """The text is none of the forms in which a function can be named."""


class FunctionName(NamedTuple):
    """A function as a caller named it; the parts that the caller left out are None."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None


@lru_cache(maxsize=4096)
def parse_function_name(text: str) -> FunctionName:
    """Reads a name, `name:qualifier`, a partial ARN or a full ARN. Raises `MalformedFunctionName`."""
    match = _FUNCTION.fullmatch(text)
    if match is None or len(match["name"]) > 64:
        raise MalformedFunctionName(f"{text[:200]!r} is not a function name, a partial ARN or an ARN")
    return FunctionName(match["name"], match["qualifier"], match["account"], match["region"])


def function_arn(region: str, account: str, name: str, qualifier: str | None = None) -> str:
    """`arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`."""
    arn = f"arn:aws:lambda:{region}:{account}:function:{name}"
    return arn if qualifier is None else f"{arn}:{qualifier}"


def runtime_version_arn(region: str, runtime: str) -> str:
    """Stands for the runtime as this installation serves it; 64 hex digits as on AWS, the same wherever it is named."""
    return f"arn:aws:lambda:{region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"
