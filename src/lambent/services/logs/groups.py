"""CreateLogGroup, DescribeLogGroups, DeleteLogGroup, PutRetentionPolicy, DeleteRetentionPolicy."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import Call
from lambent.observe.logs import LogStore
from lambent.observe.records import LogGroup
from lambent.services.logs.faults import NotSupportedHere, ParameterRefused
from lambent.services.logs.naming import group_arn, group_named, page

#: Days that a retention policy may have (API reference, PutRetentionPolicy).
RETENTION_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
_CLASS = "STANDARD"


class Groups:
    """The operations on log groups."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def create_log_group(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        for part in ("kmsKeyId", "deletionProtectionEnabled"):
            if params.get(part):
                raise NotSupportedHere(part)
        if params.get("logGroupClass", _CLASS) != _CLASS:
            raise NotSupportedHere(f"logGroupClass {params['logGroupClass']}")
        name = params["logGroupName"]
        if name.lower().startswith("aws/"):
            raise ParameterRefused("Log groups starting with AWS/ are reserved for AWS.")
        await self._store.create_group(call.account, name, tags=dict(params.get("tags") or {}))
        return {}

    async def describe_log_groups(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        groups = await self._wanted(call)
        chosen, token = page(groups, lambda group: (group.name,), params)
        if params.get("logGroupNamePattern"):
            # API reference: with a pattern only these are in the answer.
            brief = ("arn", "creationTime", "logGroupName")
            members = [{name: self._members(call, group)[name] for name in brief} for group in chosen]
        else:
            members = [
                {**self._members(call, group), "storedBytes": await self._store.stored_bytes(call.account, group.name)}
                for group in chosen
            ]
        return {"logGroups": members, "nextToken": token}

    async def delete_log_group(self, call: Call) -> Mapping[str, Any]:
        await self._store.delete_group(call.account, call.params["logGroupName"])
        return {}

    async def put_retention_policy(self, call: Call) -> Mapping[str, Any]:
        days = call.params["retentionInDays"]
        if days not in RETENTION_DAYS:
            allowed = ", ".join(map(str, RETENTION_DAYS))
            raise ParameterRefused(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{allowed}]"
            )
        await self._store.set_retention(call.account, call.params["logGroupName"], days)
        return {}

    async def delete_retention_policy(self, call: Call) -> Mapping[str, Any]:
        await self._store.set_retention(call.account, call.params["logGroupName"], None)
        return {}

    async def _wanted(self, call: Call) -> list[LogGroup]:
        params = call.params
        prefix, pattern = params.get("logGroupNamePrefix") or "", params.get("logGroupNamePattern") or ""
        if prefix and pattern:
            raise ParameterRefused("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
        if params.get("includeLinkedAccounts") or params.get("accountIdentifiers"):
            raise NotSupportedHere("Looking at linked accounts (includeLinkedAccounts, accountIdentifiers)")
        if params.get("logGroupClass", _CLASS) != _CLASS:
            return []
        groups = [group for group in await self._store.groups(call.account, prefix) if pattern in group.name]
        if params.get("logGroupIdentifiers"):
            names = {group_named(call, identifier) for identifier in params["logGroupIdentifiers"]}
            groups = [group for group in groups if group.name in names]
        return sorted(groups, key=lambda group: group.name)

    def _members(self, call: Call, group: LogGroup) -> dict[str, Any]:
        arn = group_arn(call, group.name)
        members = {
            "logGroupName": group.name,
            "creationTime": group.created_ms,
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "logGroupClass": _CLASS,
        }
        return members if group.retention_days is None else {**members, "retentionInDays": group.retention_days}
