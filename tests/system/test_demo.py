"""`lambent demo`: the first thing a newcomer runs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from platform_fixture import bare_environment, killed_at_last, lambent


def test_the_demo_shows_every_door_and_ends_cleanly(tmp_path: Path) -> None:
    environment = bare_environment() | {"TMPDIR": str(tmp_path)}
    done = lambent("demo", "--once", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for proof in (
        "hello-python   python",
        "hello-node     nodejs",
        "hello-custom   provided.al2023",
        '"hello Ada"',
        "invokes hello-python with boto3 itself",
        "/hello?name=Ada",
        "> SUB reply-box 200",
        "< MSG reply-box 200 5",
        "REPORT RequestId: ",
    ):
        assert proof in done.stdout, done.stdout
    assert list(tmp_path.iterdir()) == [], "the demo leaves nothing behind"


@pytest.mark.parametrize("interrupt", [signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background"])
def test_the_demo_serves_until_interrupted(interrupt: Any, tmp_path: Path) -> None:
    environment = bare_environment() | {"TMPDIR": str(tmp_path)}
    started = subprocess.Popen(
        [sys.executable, "-P", "-m", "lambent.cli", "demo"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A script's shell starts what it puts in the background with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),
    )
    with killed_at_last(started) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "/hello?name=you" in line:
                break
        # What a terminal's Ctrl-C does: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        printed += process.stdout.readlines()
        assert process.wait(60) == 0, "".join(printed)
    assert "Ctrl-C" in "".join(printed)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_tells_its_steps_in_json() -> None:
    done = lambent("demo", "--once", "--json")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["Steps"]
    assert {step["Step"] for step in steps} == {"deploy", "standby", "invoke", "http", "nats", "logs"}
