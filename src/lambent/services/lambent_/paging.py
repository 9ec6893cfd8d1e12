"""Pages of a list that is sorted by key. Pure."""

from collections.abc import Sequence
from typing import Any, TypeVar

from lambent.aws.contract import AwsError, Call
from lambent.state.contract import Entry

R = TypeVar("R")

#: The model's own maximum of MaxItems: a list without it is as long.
MAX_ITEMS = 10_000


def page(entries: Sequence[Entry[Any]], call: Call) -> tuple[list[Any], str | None]:
    """The records of the page that `call` asks for, and the marker of the next page: the last key of this one."""
    marker = call.params.get("Marker", "")
    if len(marker) > 512:
        raise AwsError("InvalidParameterValueException", "Marker is not one that a list gave out", 400, Type="User")
    count = call.params.get("MaxItems", MAX_ITEMS)
    rest = [entry for entry in entries if entry.key > marker]
    return [entry.record for entry in rest[:count]], rest[count - 1].key if len(rest) > count else None
