"""The stock aws CLI against a platform: create, invoke with the tail, read the log."""

import base64
import json
import subprocess
import sys
from pathlib import Path

from functions_fixtures import zip_of
from platform_fixture import Platform, running_platform

SOURCE = "def handler(event, context):\n    print('hello from', event['name'])\n    return 'hello ' + event['name']\n"


def aws(platform: Platform, tmp_path: Path, *arguments: str) -> str:
    home = {"HOME": str(tmp_path), "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    command = [
        str(Path(sys.executable).parent / "aws"),
        "--endpoint-url",
        platform.api_url,
        "--output",
        "json",
        *arguments,
    ]
    done = subprocess.run(
        command, env={**platform.environment(), **home}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_create_invoke_and_read_the_log(tmp_path: Path) -> None:
    package, output = tmp_path / "f.zip", tmp_path / "out.json"
    package.write_bytes(zip_of({"app.py": SOURCE}))
    with running_platform(tmp_path) as platform:
        create = [
            "lambda",
            "create-function",
            "--function-name",
            "f",
            "--runtime",
            "python3.12",
            "--handler",
            "app.handler",
        ]
        create += ["--role", "arn:aws:iam::123456789012:role/x", "--zip-file", f"fileb://{package}"]
        assert json.loads(aws(platform, tmp_path, *create))["State"] == "Active"
        event = base64.b64encode(b'{"name": "you"}').decode()
        invoke = [
            "lambda",
            "invoke",
            "--function-name",
            "f",
            "--payload",
            '{"name": "you"}',
            "--log-type",
            "Tail",
            str(output),
        ]
        answer = json.loads(aws(platform, tmp_path, *invoke))
        assert answer["StatusCode"] == 200 and event
        assert output.read_text() == '"hello you"'
        assert b"hello from you\n" in base64.b64decode(answer["LogResult"])
        found = json.loads(aws(platform, tmp_path, "logs", "filter-log-events", "--log-group-name", "/aws/lambda/f"))
        messages = [event["message"] for event in found["events"]]
        starts = [message.split(" ")[0].split("\t")[0] for message in messages]
        assert [word for word in starts if word in ("START", "hello", "END", "REPORT")] == [
            "START",
            "hello",
            "END",
            "REPORT",
        ]
