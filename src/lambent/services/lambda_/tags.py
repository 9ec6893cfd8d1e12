"""TagResource, UntagResource, ListTags."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import Call
from lambent.functions.store import FunctionStore
from lambent.services.lambda_.faults import ParameterRefused
from lambent.services.lambda_.names import tagged_function

#: Characters (Lambda developer guide, "Using tags").
KEY_MAX = 128
VALUE_MAX = 256


class Tags:
    """The operations on tags of functions."""

    def __init__(self, store: FunctionStore) -> None:
        self._store = store

    async def tag_resource(self, call: Call) -> Mapping[str, Any]:
        found = tagged_function(call)
        await self._store.tag(*found.place, checked_tags(call.params["Tags"]))
        return {}

    async def untag_resource(self, call: Call) -> Mapping[str, Any]:
        found = tagged_function(call)
        await self._store.untag(*found.place, list(call.params["TagKeys"]))
        return {}

    async def list_tags(self, call: Call) -> Mapping[str, Any]:
        found = tagged_function(call)
        return {"Tags": dict(self._store.entry(*found.place).tags)}


def checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Raises `ParameterRefused`; how many there may be is the store's rule."""
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise ParameterRefused("aws: prefixed tag key names are not allowed for external use.")
        if not 1 <= len(key) <= KEY_MAX:
            raise ParameterRefused(f"The tag key {key[:20]!r} must have 1 to {KEY_MAX} characters.")
        if len(value) > VALUE_MAX:
            raise ParameterRefused(f"The value of the tag {key!r} must have at most {VALUE_MAX} characters.")
    return dict(tags)
