"""Tags of log groups, in the present form (by ARN) and the old one (by name)."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import Call
from lambent.observe.logs import LogStore
from lambent.services.logs.faults import ParameterRefused
from lambent.services.logs.naming import group_named

#: Tags of one group (service model, Tags).
TAGS_MAX = 50


class Tags:
    """The operations on tags."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def tag_resource(self, call: Call) -> Mapping[str, Any]:
        return await self._add(call, group_named(call, call.params["resourceArn"]), call.params["tags"])

    async def untag_resource(self, call: Call) -> Mapping[str, Any]:
        return await self._remove(call, group_named(call, call.params["resourceArn"]), call.params["tagKeys"])

    async def list_tags_for_resource(self, call: Call) -> Mapping[str, Any]:
        return {"tags": dict(self._store.group(call.account, group_named(call, call.params["resourceArn"])).tags)}

    async def tag_log_group(self, call: Call) -> Mapping[str, Any]:
        return await self._add(call, call.params["logGroupName"], call.params["tags"])

    async def untag_log_group(self, call: Call) -> Mapping[str, Any]:
        return await self._remove(call, call.params["logGroupName"], call.params["tags"])

    async def list_tags_log_group(self, call: Call) -> Mapping[str, Any]:
        return {"tags": dict(self._store.group(call.account, call.params["logGroupName"]).tags)}

    async def _add(self, call: Call, group: str, tags: Mapping[str, str]) -> Mapping[str, Any]:
        merged = {**self._store.group(call.account, group).tags, **tags}
        if len(merged) > TAGS_MAX:
            raise ParameterRefused(f"A log group can have at most {TAGS_MAX} tags.")
        await self._store.set_tags(call.account, group, merged)
        return {}

    async def _remove(self, call: Call, group: str, keys: list[str]) -> Mapping[str, Any]:
        tags = self._store.group(call.account, group).tags
        await self._store.set_tags(call.account, group, {key: value for key, value in tags.items() if key not in keys})
        return {}
