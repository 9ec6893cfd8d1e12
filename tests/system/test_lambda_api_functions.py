"""The Lambda API on a whole platform with boto3: deploy, call, change, publish, restart."""

import base64
import io
import stat
import threading
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions_fixtures import zip_of
from platform_fixture import Platform, running_platform

ROLE = "arn:aws:iam::000000000000:role/x"
ECHO = "def handler(event, context):\n    return {'event': event, 'arn': context.invoked_function_arn, 'version': context.function_version}\n"


def deploy(platform: Platform, name: str, source: str, **changes: Any) -> Any:
    params = {
        "FunctionName": name,
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": zip_of({"app.py": source})},
        **changes,
    }
    return platform.client("lambda").create_function(**params)


def invoke(platform: Platform, name: str, payload: bytes = b"{}", **params: Any) -> dict[str, Any]:
    answer = platform.client("lambda").invoke(FunctionName=name, Payload=payload, **params)
    answer["Payload"] = answer["Payload"].read()
    return answer  # type: ignore[no-any-return]


def returns(text: str) -> str:
    return f"def handler(event, context):\n    return {text!r}\n"


def test_python_node_and_custom_functions_answer(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        deploy(platform, "py", returns("python"))
        node = zip_of({"index.js": "exports.handler = async (event) => 'node ' + event.n;"})
        deploy(platform, "js", "", Runtime="nodejs22.x", Handler="index.handler", Code={"ZipFile": node})
        bootstrap = (
            "#!/bin/sh\nAPI=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation\n"
            "exec python3 - <<'END'\n"
            "import os, urllib.request\n"
            "api = 'http://' + os.environ['AWS_LAMBDA_RUNTIME_API'] + '/2018-06-01/runtime/invocation/'\n"
            "while True:\n"
            "    with urllib.request.urlopen(api + 'next') as event:\n"
            "        id, body = event.headers['Lambda-Runtime-Aws-Request-Id'], event.read()\n"
            "    urllib.request.urlopen(api + id + '/response', data=b'\"custom\"').close()\n"
            "END\n"
        )
        custom = zip_of({"bootstrap": bootstrap}, {"bootstrap": stat.S_IFREG | 0o755})
        deploy(platform, "own", "", Runtime="provided.al2023", Handler="x", Code={"ZipFile": custom})
        assert invoke(platform, "py")["Payload"] == b'"python"'
        assert invoke(platform, "js", b'{"n": 7}')["Payload"] == b'"node 7"'
        assert invoke(platform, "own")["Payload"] == b'"custom"'


def test_the_tail_of_the_log_comes_with_the_answer(tmp_path: Path) -> None:
    source = "def handler(event, context):\n    print('said by the function')\n    return 1\n"
    with running_platform(tmp_path) as platform:
        deploy(platform, "f", source)
        answer = invoke(platform, "f", LogType="Tail")
        lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
        request_id = answer["ResponseMetadata"]["RequestId"]
        assert f"START RequestId: {request_id} Version: $LATEST" in lines
        assert "said by the function" in lines
        assert any(line.startswith(f"REPORT RequestId: {request_id}\tDuration: ") for line in lines)


def test_a_raising_function_is_a_200_with_the_error_object(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        deploy(platform, "f", "def handler(event, context):\n    raise ValueError('broken')\n")
        answer = invoke(platform, "f")
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert b'"errorMessage": "broken"' in answer["Payload"] and b'"ValueError"' in answer["Payload"]


def test_versions_keep_their_code_and_the_caller_sees_which_ran(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        client = platform.client("lambda")
        deploy(platform, "f", returns("one"), Publish=True)
        client.update_function_code(FunctionName="f", ZipFile=zip_of({"app.py": returns("two")}))
        assert invoke(platform, "f")["Payload"] == b'"two"'
        old = invoke(platform, "f", Qualifier="1")
        assert (old["Payload"], old["ExecutedVersion"]) == (b'"one"', "1")
        client.delete_function(FunctionName="f", Qualifier="1")
        with pytest.raises(ClientError, match="Function not found"):
            invoke(platform, "f", Qualifier="1")


def test_the_function_sees_the_arn_as_the_caller_wrote_it(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        arn = deploy(platform, "f", ECHO)["FunctionArn"]
        assert arn.encode() + b'"' in invoke(platform, "f")["Payload"]
        assert (arn + ":$LATEST").encode() in invoke(platform, arn + ":$LATEST")["Payload"]


def test_an_update_never_fails_a_call(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        deploy(platform, "f", returns("0"))
        answers: list[bytes] = []
        done = threading.Event()

        def call() -> None:
            while not done.is_set():
                answers.append(invoke(platform, "f")["Payload"])

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        client = platform.client("lambda")
        try:
            for n in range(6):
                if n:
                    client.update_function_code(FunctionName="f", ZipFile=zip_of({"app.py": returns(str(n))}))
                seen = len(answers)
                while b'"%d"' % n not in answers[seen:]:
                    assert all(thread.is_alive() for thread in threads), "a call failed"
                    time.sleep(0.01)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert set(answers) == {b'"%d"' % n for n in range(6)}


def test_configuration_changes_reach_the_next_call(tmp_path: Path) -> None:
    source = (
        "import os\ndef handler(event, context):\n    return [os.environ.get('MODE'), context.memory_limit_in_mb]\n"
    )
    with running_platform(tmp_path) as platform:
        deploy(platform, "f", source)
        assert invoke(platform, "f")["Payload"] == b'[null, "128"]'
        platform.client("lambda").update_function_configuration(
            FunctionName="f", MemorySize=256, Environment={"Variables": {"MODE": "x"}}
        )
        assert invoke(platform, "f")["Payload"] == b'["x", "256"]'


def test_events_run_later_and_survive_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_platform(tmp_path, data_dir=data) as platform:
        deploy(platform, "f", "def handler(event, context):\n    print('got', event['n'])\n", Publish=True)
        assert invoke(platform, "f", b'{"n": 1}', InvocationType="Event")["StatusCode"] == 202
        wait_for_log(platform, '"got 1"')
        before = platform.client("lambda").get_function(FunctionName="f")["Configuration"]
    with running_platform(tmp_path, data_dir=data) as platform:
        client = platform.client("lambda")
        assert client.get_function(FunctionName="f")["Configuration"] == before
        assert [v["Version"] for v in client.list_versions_by_function(FunctionName="f")["Versions"]] == [
            "$LATEST",
            "1",
        ]
        assert wait_for_log(platform, '"got 1"')
        invoke(platform, "f", b'{"n": 2}', Qualifier="1", InvocationType="Event")
        wait_for_log(platform, '"got 2"')
        with urllib.request.urlopen(client.get_function(FunctionName="f")["Code"]["Location"]) as answer:
            assert zipfile.ZipFile(io.BytesIO(answer.read())).namelist() == ["app.py"]


def test_a_bad_event_is_refused_and_the_next_call_works(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        deploy(platform, "f", ECHO)
        for _ in range(2):
            with pytest.raises(ClientError) as caught:
                invoke(platform, "f", b"{not json")
            assert caught.value.response["Error"]["Code"] == "InvalidRequestContentException"
            assert invoke(platform, "f")["StatusCode"] == 200


def wait_for_log(platform: Platform, pattern: str) -> Any:
    """The first event that matches; the test run's own time-out ends the waiting when there is none."""
    logs = platform.client("logs")
    while True:
        try:
            found = logs.filter_log_events(logGroupName="/aws/lambda/f", filterPattern=pattern)["events"]
        except logs.exceptions.ResourceNotFoundException:
            found = []
        if found:
            return found[0]
        time.sleep(0.05)
