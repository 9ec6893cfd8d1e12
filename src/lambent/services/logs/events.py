"""PutLogEvents, GetLogEvents, FilterLogEvents."""

from collections.abc import Mapping
from typing import Any

from lambent.aws.contract import Call
from lambent.clock import Clock
from lambent.observe.logs import LogStore
from lambent.observe.records import PutOutcome
from lambent.services.logs.faults import NotSupportedHere, ParameterRefused
from lambent.services.logs.naming import group_of

#: Events of a page when the caller does not say (API reference).
EVENTS_DEFAULT = 10_000


class Events:
    """The operations on log events."""

    def __init__(self, store: LogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def put_log_events(self, call: Call) -> Mapping[str, Any]:
        """The sequence token is ignored, as on AWS since 2023; one is still given to clients that ask for it."""
        params = call.params
        events = [(event["timestamp"], event["message"]) for event in params["logEvents"]]
        outcome = await self._store.put(call.account, params["logGroupName"], params["logStreamName"], events)
        answer: dict[str, Any] = {"nextSequenceToken": f"{self._clock.now_ms():056d}"}
        rejected = rejected_members(outcome)
        if rejected:
            answer["rejectedLogEventsInfo"] = rejected
        if params.get("entity"):
            # Entities (of Application Signals) are not kept: said in the answer, as AWS does for groups without them.
            answer["rejectedEntityInfo"] = {"errorType": "UnsupportedLogGroupType"}
        return answer

    async def get_log_events(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        page = await self._store.read_stream(
            call.account,
            group_of(call),
            params["logStreamName"],
            start_ms=params.get("startTime"),
            end_ms=params.get("endTime"),
            token=params.get("nextToken") or "",
            limit=params.get("limit") or EVENTS_DEFAULT,
            from_head=bool(params.get("startFromHead")),
        )
        events = [
            {"timestamp": event.timestamp_ms, "message": event.message, "ingestionTime": event.ingestion_ms}
            for event in page.events
        ]
        return {"events": events, "nextForwardToken": page.forward_token, "nextBackwardToken": page.backward_token}

    async def filter_log_events(self, call: Call) -> Mapping[str, Any]:
        params = call.params
        names, prefix = params.get("logStreamNames") or (), params.get("logStreamNamePrefix") or ""
        if names and prefix:
            raise ParameterRefused("logStreamNames and logStreamNamePrefix cannot be specified together.")
        if params.get("startFromHead") is False:
            raise NotSupportedHere("startFromHead false (newest events first)")
        page = await self._store.filter(
            call.account,
            group_of(call),
            streams=names,
            prefix=prefix,
            start_ms=params.get("startTime"),
            end_ms=params.get("endTime"),
            pattern=params.get("filterPattern") or "",
            token=params.get("nextToken") or "",
            limit=params.get("limit") or EVENTS_DEFAULT,
        )
        events = [
            {
                "logStreamName": event.stream,
                "timestamp": event.timestamp_ms,
                "message": event.message,
                "ingestionTime": event.ingestion_ms,
                "eventId": event.id,
            }
            for event in page.events
        ]
        # searchedLogStreams is always empty since June 2019 (API reference).
        return {"events": events, "searchedLogStreams": [], "nextToken": page.next_token or None}


def rejected_members(outcome: PutOutcome) -> dict[str, int]:
    """RejectedLogEventsInfo, empty when nothing was refused."""
    members = {
        "tooOldLogEventEndIndex": outcome.too_old_end,
        "expiredLogEventEndIndex": outcome.expired_end,
        "tooNewLogEventStartIndex": outcome.too_new_start,
    }
    return {name: index for name, index in members.items() if index is not None}
