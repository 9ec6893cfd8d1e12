"""The Logs API on a whole platform: what functions write, and what clients write beside it."""

import re
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from test_lambda_api_functions import deploy, invoke

from platform_fixture import running_platform

GROUP = "/aws/lambda/f"
SOURCE = "def handler(event, context):\n    print('line', event['n'])\n    return context.log_stream_name\n"


def test_every_call_can_be_read_in_order(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        deploy(platform, "f", SOURCE)
        for n in range(3):
            stream = invoke(platform, "f", b'{"n": %d}' % n)["Payload"].decode().strip('"')
        logs = platform.client("logs")
        described = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
        assert stream in [item["logStreamName"] for item in described]
        assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
        events = logs.get_log_events(logGroupName=GROUP, logStreamName=stream, startFromHead=True)["events"]
        words = [re.split(r"[ \t]", event["message"])[0] for event in events]
        assert words == ["INIT_START", *["START", "line", "END", "REPORT"] * 3]
        found = logs.filter_log_events(logGroupName=GROUP, filterPattern="line 1")["events"]
        assert [event["message"] for event in found] == ["line 1\n"]


def test_a_custom_group_gets_the_lines(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        deploy(platform, "f", SOURCE, LoggingConfig={"LogGroup": "/shared"})
        stream = invoke(platform, "f", b'{"n": 0}')["Payload"].decode().strip('"')
        logs = platform.client("logs")
        assert (
            logs.filter_log_events(logGroupName="/shared", filterPattern="line")["events"][0]["logStreamName"] == stream
        )
        with pytest.raises(ClientError, match="The specified log group does not exist"):
            logs.filter_log_events(logGroupName=GROUP)


def test_groups_made_by_clients_survive_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_platform(tmp_path, data_dir=data) as platform:
        logs = platform.client("logs")
        logs.create_log_group(logGroupName="/mine")
        logs.put_retention_policy(logGroupName="/mine", retentionInDays=3)
        logs.create_log_stream(logGroupName="/mine", logStreamName="s")
        event = {"timestamp": int(time.time() * 1000), "message": "kept"}
        logs.put_log_events(logGroupName="/mine", logStreamName="s", logEvents=[event])
    with running_platform(tmp_path, data_dir=data) as platform:
        logs = platform.client("logs")
        assert logs.describe_log_groups(logGroupNamePrefix="/mine")["logGroups"][0]["retentionInDays"] == 3
        assert [e["message"] for e in logs.filter_log_events(logGroupName="/mine")["events"]] == ["kept"]
        logs.delete_log_group(logGroupName="/mine")
        assert logs.describe_log_groups(logGroupNamePrefix="/mine")["logGroups"] == []
