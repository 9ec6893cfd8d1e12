"""CloudWatch Logs as boto3 sees it, on a real log store."""

import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws_fixtures import ACCOUNT, REGION
from services_api_fixtures import running_api

GROUP = "/my/group"
MISSING = ("ResourceNotFoundException", 400, "The specified log group does not exist.")


def refusal(call: Any, **params: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_events_go_in_and_come_out(tmp_path: Path) -> None:
    with running_api(tmp_path, logs=True) as api:
        logs = api.client("logs")
        logs.create_log_group(logGroupName=GROUP, tags={"a": "1"})
        logs.create_log_stream(logGroupName=GROUP, logStreamName="one")
        now = int(time.time() * 1000)
        sent = [{"timestamp": now - 10 + n, "message": f"line {n} ä"} for n in range(10)]
        put = logs.put_log_events(logGroupName=GROUP, logStreamName="one", logEvents=sent)
        assert put["nextSequenceToken"] and "rejectedLogEventsInfo" not in put

        read = logs.get_log_events(logGroupName=GROUP, logStreamName="one", limit=4, startFromHead=True)
        assert [event["message"] for event in read["events"]] == [f"line {n} ä" for n in range(4)]
        assert read["events"][0]["ingestionTime"] >= now
        further = logs.get_log_events(logGroupName=GROUP, logStreamName="one", nextToken=read["nextForwardToken"])
        assert [event["message"] for event in further["events"]] == [f"line {n} ä" for n in range(4, 10)]
        end = logs.get_log_events(logGroupName=GROUP, logStreamName="one", nextToken=further["nextForwardToken"])
        assert end["events"] == [] and end["nextForwardToken"] == further["nextForwardToken"]
        by_arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}"
        assert logs.get_log_events(logGroupIdentifier=by_arn, logStreamName="one")["events"]

        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=GROUP, filterPattern="?3 ?7", PaginationConfig={"PageSize": 1}
        )
        found = [event for page in pages for event in page["events"]]
        assert [(event["message"], event["logStreamName"]) for event in found] == [
            ("line 3 ä", "one"),
            ("line 7 ä", "one"),
        ]
        assert len({event["eventId"] for event in found}) == 2


def test_groups_are_described_tagged_kept_and_deleted(tmp_path: Path) -> None:
    with running_api(tmp_path, logs=True) as api:
        logs = api.client("logs")
        for n in range(5):
            logs.create_log_group(logGroupName=f"/g/{n}", tags={"n": str(n)})
        assert refusal(logs.create_log_group, logGroupName="/g/0") == (
            "ResourceAlreadyExistsException",
            400,
            "The specified log group already exists",
        )
        logs.put_retention_policy(logGroupName="/g/1", retentionInDays=7)
        pages = list(logs.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 2}))
        groups = [group for page in pages for group in page["logGroups"]]
        assert [group["logGroupName"] for group in groups] == [f"/g/{n}" for n in range(5)]
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/g/1"
        assert groups[1] | {"creationTime": 0} == {
            "logGroupName": "/g/1",
            "creationTime": 0,
            "retentionInDays": 7,
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "logGroupClass": "STANDARD",
            "storedBytes": 0,
        }
        assert "retentionInDays" not in groups[0]
        logs.delete_retention_policy(logGroupName="/g/1")
        assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix="/g/1")["logGroups"][0]
        assert [g["logGroupName"] for g in logs.describe_log_groups(logGroupNamePattern="g/4")["logGroups"]] == ["/g/4"]
        logs.tag_resource(resourceArn=arn, tags={"x": "y"})
        logs.untag_resource(resourceArn=arn, tagKeys=["n"])
        assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"x": "y"}
        logs.delete_log_group(logGroupName="/g/1")
        assert refusal(logs.delete_log_group, logGroupName="/g/1") == MISSING
        assert refusal(logs.put_retention_policy, logGroupName="/g/1", retentionInDays=7) == MISSING


def test_streams_are_described_in_both_orders_and_deleted(tmp_path: Path) -> None:
    with running_api(tmp_path, logs=True) as api:
        logs = api.client("logs")
        logs.create_log_group(logGroupName=GROUP)
        now = int(time.time() * 1000)
        for name, at in (("a", now - 1000), ("b", now - 3000), ("c", now - 2000)):
            logs.create_log_stream(logGroupName=GROUP, logStreamName=name)
            logs.put_log_events(logGroupName=GROUP, logStreamName=name, logEvents=[{"timestamp": at, "message": name}])
        assert refusal(logs.create_log_stream, logGroupName=GROUP, logStreamName="a") == (
            "ResourceAlreadyExistsException",
            400,
            "The specified log stream already exists",
        )
        described = logs.get_paginator("describe_log_streams")

        def names(**params: Any) -> list[str]:
            pages = described.paginate(logGroupName=GROUP, PaginationConfig={"PageSize": 2}, **params)
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]

        assert names() == ["a", "b", "c"]
        assert names(orderBy="LastEventTime") == ["b", "c", "a"]
        assert names(orderBy="LastEventTime", descending=True) == ["a", "c", "b"]
        assert names(logStreamNamePrefix="b") == ["b"]
        stream = logs.describe_log_streams(logGroupName=GROUP)["logStreams"][0]
        assert stream["arn"] == f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}:log-stream:a"
        assert stream["firstEventTimestamp"] == stream["lastEventTimestamp"] == now - 1000
        assert refusal(
            logs.describe_log_streams, logGroupName=GROUP, orderBy="LastEventTime", logStreamNamePrefix="a"
        ) == ("InvalidParameterException", 400, "Cannot order by LastEventTime with a logStreamNamePrefix.")
        logs.delete_log_stream(logGroupName=GROUP, logStreamName="a")
        assert names() == ["b", "c"]
        assert refusal(logs.get_log_events, logGroupName=GROUP, logStreamName="a") == (
            "ResourceNotFoundException",
            400,
            "The specified log stream does not exist.",
        )


def test_what_the_service_does_not_take_is_refused(tmp_path: Path) -> None:
    with running_api(tmp_path, logs=True) as api:
        logs = api.client("logs")
        logs.create_log_group(logGroupName=GROUP)
        logs.create_log_stream(logGroupName=GROUP, logStreamName="s")
        now = int(time.time() * 1000)
        cases: list[tuple[Any, dict[str, Any], str]] = [
            (logs.create_log_group, {"logGroupName": "aws/x"}, "Log groups starting with AWS/ are reserved for AWS."),
            (logs.create_log_group, {"logGroupName": "k", "kmsKeyId": "arn:x"}, "kmsKeyId is not supported"),
            (logs.create_log_group, {"logGroupName": "bad name"}, "logGroupName"),
            (logs.create_log_group, {"logGroupName": "c", "logGroupClass": "DELIVERY"}, "logGroupClass DELIVERY"),
            (logs.put_retention_policy, {"logGroupName": GROUP, "retentionInDays": 2}, "enum value set: [1, 3, 5, 7"),
            (logs.describe_log_groups, {"logGroupNamePrefix": "a", "logGroupNamePattern": "b"}, "mutually exclusive"),
            (logs.describe_log_groups, {"nextToken": "!"}, "The specified nextToken is invalid."),
            (logs.describe_log_streams, {}, "Exactly one of logGroupName and logGroupIdentifier"),
            (logs.get_log_events, {"logGroupName": GROUP, "logStreamName": "s", "nextToken": "x"}, "nextToken"),
            (logs.filter_log_events, {"logGroupName": GROUP, "filterPattern": "[a, b]"}, "pattern"),
            (logs.filter_log_events, {"logGroupName": GROUP, "startFromHead": False}, "startFromHead"),
            (
                logs.filter_log_events,
                {"logGroupName": GROUP, "logStreamNames": ["s"], "logStreamNamePrefix": "s"},
                "cannot be specified together",
            ),
            (
                logs.put_log_events,
                {
                    "logGroupName": GROUP,
                    "logStreamName": "s",
                    "logEvents": [{"timestamp": now, "message": "b"}, {"timestamp": now - 1, "message": "a"}],
                },
                "chronological order",
            ),
        ]
        for call, params, text in cases:
            code, status, message = refusal(call, **params)
            assert (code, status) == ("InvalidParameterException", 400), params
            assert text in message, params
        other = f"arn:aws:logs:{REGION}:999999999999:log-group:{GROUP}"
        assert refusal(logs.filter_log_events, logGroupIdentifier=other) == MISSING


def test_events_that_are_too_old_or_too_new_are_told(tmp_path: Path) -> None:
    with running_api(tmp_path, logs=True) as api:
        logs = api.client("logs")
        logs.create_log_group(logGroupName=GROUP)
        logs.create_log_stream(logGroupName=GROUP, logStreamName="s")
        now, day = int(time.time() * 1000), 86_400_000
        old = [{"timestamp": now - 15 * day, "message": "old"}, {"timestamp": now - 14 * day - 1000, "message": "old"}]
        put = logs.put_log_events(logGroupName=GROUP, logStreamName="s", logEvents=old)
        assert put["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 2}
        new = [{"timestamp": now, "message": "now"}, {"timestamp": now + 3 * 3_600_000, "message": "new"}]
        put = logs.put_log_events(logGroupName=GROUP, logStreamName="s", logEvents=new)
        assert put["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
        assert [e["message"] for e in logs.filter_log_events(logGroupName=GROUP)["events"]] == ["now"]
