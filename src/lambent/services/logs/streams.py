"""CreateLogStream, DescribeLogStreams, DeleteLogStream."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import Call
from lambent.observe.logs import LogStore
from lambent.observe.records import StreamInfo
from lambent.services.logs.faults import ParameterRefused
from lambent.services.logs.naming import group_arn, group_of, page


class LogStreams:
    """The operations on log streams."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def create_log_stream(self, call: Call) -> Mapping[str, Any]:
        await self._store.create_stream(call.account, call.params["logGroupName"], call.params["logStreamName"])
        return {}

    async def delete_log_stream(self, call: Call) -> Mapping[str, Any]:
        await self._store.delete_stream(call.account, call.params["logGroupName"], call.params["logStreamName"])
        return {}

    async def describe_log_streams(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        group = group_of(call)
        prefix = params.get("logStreamNamePrefix") or ""
        by_event = params.get("orderBy") == "LastEventTime"
        descending = bool(params.get("descending"))
        if by_event and prefix:
            raise ParameterRefused("Cannot order by LastEventTime with a logStreamNamePrefix.")
        found = await self._store.streams(call.account, group, prefix, by_last_event=by_event, descending=descending)

        def place(info: StreamInfo) -> tuple[Any, ...]:
            return (info.last_event_ms or 0, info.name) if by_event else (info.name,)

        chosen, token = page(found, place, params, descending=descending)
        arn = group_arn(call, group)
        return {"logStreams": [stream_members(info, arn) for info in chosen], "nextToken": token}


def stream_members(info: StreamInfo, arn_of_group: str) -> dict[str, Any]:
    """The structure LogStream. storedBytes is 0 for every stream since June 2019 (API reference, LogStream)."""
    members = {
        "logStreamName": info.name,
        "creationTime": info.created_ms,
        "firstEventTimestamp": info.first_event_ms,
        "lastEventTimestamp": info.last_event_ms,
        "lastIngestionTime": info.last_ingestion_ms,
        "arn": f"{arn_of_group}:log-stream:{info.name}",
        "storedBytes": 0,
    }
    return {name: value for name, value in members.items() if value is not None}
