"""The Logs service: its operations in a table."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import Call, Operation, Service, answering
from lambent.clock import Clock
from lambent.observe.logs import LogStore
from lambent.services.logs.events import Events
from lambent.services.logs.faults import fault_of
from lambent.services.logs.groups import Groups
from lambent.services.logs.streams import LogStreams
from lambent.services.logs.tags import Tags


class LogsService:
    """The CloudWatch Logs API on a log store."""

    def __init__(self, store: LogStore, clock: Clock) -> None:
        self._store = store
        self._groups = Groups(store)
        self._streams = LogStreams(store)
        self._events = Events(store, clock)
        self._tags = Tags(store)

    def service(self) -> Service:
        operations: dict[str, Operation] = {
            "CreateLogGroup": self._groups.create_log_group,
            "DescribeLogGroups": self._groups.describe_log_groups,
            "DeleteLogGroup": self._groups.delete_log_group,
            "PutRetentionPolicy": self._groups.put_retention_policy,
            "DeleteRetentionPolicy": self._groups.delete_retention_policy,
            "CreateLogStream": self._streams.create_log_stream,
            "DescribeLogStreams": self._streams.describe_log_streams,
            "DeleteLogStream": self._streams.delete_log_stream,
            "GetLogEvents": self._events.get_log_events,
            "FilterLogEvents": self._events.filter_log_events,
            "TagResource": self._tags.tag_resource,
            "UntagResource": self._tags.untag_resource,
            "ListTagsForResource": self._tags.list_tags_for_resource,
            "TagLogGroup": self._tags.tag_log_group,
            "UntagLogGroup": self._tags.untag_log_group,
            "ListTagsLogGroup": self._tags.list_tags_log_group,
        }
        settled = {name: self._settled(operation) for name, operation in operations.items()}
        all_operations = {**settled, "PutLogEvents": self._events.put_log_events}
        return Service("logs", answering(all_operations, fault_of))

    def _settled(self, operation: Operation) -> Operation:
        """The operation, once the lines of calls that have ended are stored: they may be what makes its log group."""

        async def run(call: Call) -> Mapping[str, Any]:
            await self._store.flush()
            return await operation(call)

        return run
