"""Log groups as callers name them (name or ARN) and as answers name them; pages of lists."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from lambent.aws.contract import Call
from lambent.services.logs.faults import OtherPlace, ParameterRefused

#: Items of a page when the caller does not say, and at most (service model, DescribeLimit).
PAGE_MAX = 50

_GROUP_ARN = re.compile(r"arn:aws[a-zA-Z-]*:logs:([a-z0-9-]+):(\d{12}):log-group:([.\-_/#A-Za-z0-9]+)(?::\*)?")

T = TypeVar("T")


def group_arn(call: Call, name: str) -> str:
    """Without the `:*` that `arn` of DescribeLogGroups has at its end."""
    return f"arn:aws:logs:{call.region}:{call.account}:log-group:{name}"


def group_of(call: Call) -> str:
    """The name in logGroupName or logGroupIdentifier, exactly one of which must be there."""
    name, identifier = call.params.get("logGroupName"), call.params.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise ParameterRefused("Exactly one of logGroupName and logGroupIdentifier must be specified.")
    return name if name is not None else group_named(call, str(identifier))


def group_named(call: Call, identifier: str) -> str:
    """The name in a name or an ARN. Raises `OtherPlace` for an ARN of another account or region."""
    if not identifier.startswith("arn:"):
        return identifier
    match = _GROUP_ARN.fullmatch(identifier)
    if match is None:
        raise ParameterRefused(f"{identifier[:200]!r} is not the ARN of a log group.")
    if (match[1], match[2]) != (call.region, call.account):
        raise OtherPlace()
    return match[3]


def page(
    items: Sequence[T], place: Callable[[T], tuple[Any, ...]], params: Mapping[str, Any], *, descending: bool = False
) -> tuple[list[T], str | None]:
    """The page that the caller wants and the token of the next one. `items` are in the order of `place`; the token names
    the last item shown, so that what comes and goes meanwhile neither repeats nor hides others.
    """
    rest = list(items)
    if params.get("nextToken"):
        after = _read(params["nextToken"])
        try:
            rest = [item for item in items if (place(item) < after if descending else place(item) > after)]
        except TypeError as error:
            raise ParameterRefused("The specified nextToken is invalid.") from error
    limit = params.get("limit") or PAGE_MAX
    if len(rest) <= limit:
        return rest, None
    return rest[:limit], urlsafe_b64encode(msgspec.json.encode(place(rest[limit - 1]))).decode()


def _read(token: str) -> tuple[Any, ...]:
    try:
        return tuple(msgspec.json.decode(urlsafe_b64decode(token.encode()), type=list[int | str]))
    except (ValueError, msgspec.MsgspecError) as error:
        raise ParameterRefused("The specified nextToken is invalid.") from error
