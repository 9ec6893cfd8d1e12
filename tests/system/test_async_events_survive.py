"""An asynchronous event that was accepted with 202 is on disk: it runs even if everything is killed right after."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from functions_fixtures import zip_of
from platform_fixture import PATIENCE_SECONDS, Platform, running_platform

EVENTS = 8
#: One at a time: while the first one sleeps, the others wait on disk.
FLAGS = ("--no-node-sdk", "--async-in-flight", "1")
CODE = "import time\ndef run(event, context):\n    time.sleep(event['sleep'])\n    print(f\"done {event['number']} end\")\n"


class _Killed(Exception):
    """Leaves the platform's context without the clean stop, which there is nothing left to do."""


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        found += [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    return found


def _kill_everything(platform: Platform) -> None:
    children = _children(platform.process.pid)
    assert children, "the platform has a server and a spawner"
    platform.process.kill()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _done(logs: Any) -> set[str]:
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/lambda/late", filterPattern="done")
    with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
        return {event["message"].strip() for page in pages for event in page["events"]}
    return set()


def test_accepted_event_runs_after_everything_was_killed(tmp_path: Path) -> None:
    with contextlib.suppress(_Killed), running_platform(tmp_path, *FLAGS) as platform:
        client = platform.client("lambda")
        client.create_function(
            FunctionName="late",
            Runtime="python3.11",
            Handler="main.run",
            Role="arn:aws:iam::000000000000:role/lambda",
            Code={"ZipFile": zip_of({"main.py": CODE})},
            Timeout=900,
        )
        for number in range(EVENTS):
            event = {"number": number, "sleep": 900 if number == 0 else 0}
            answer = client.invoke(FunctionName="late", InvocationType="Event", Payload=json.dumps(event))
            assert answer["StatusCode"] == 202
        _kill_everything(platform)
        raise _Killed
    with running_platform(tmp_path, "--no-node-sdk") as platform:
        logs = platform.client("logs")
        expected = {f"done {number} end" for number in range(1, EVENTS)}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while _done(logs) != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        assert _done(logs) == expected
