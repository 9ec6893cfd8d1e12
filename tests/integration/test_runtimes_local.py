"""One handler, once, from a folder."""

import json
from pathlib import Path

import pytest

from lambent.runtimes import local
from lambent.runtimes.local import Done
from runtimes_fixtures import write_code


def run_once(folder: Path, runtime: str, event: bytes = b"{}", **changes: object) -> tuple[Done, list[str]]:
    log: list[str] = []
    values: dict[str, object] = {"handler": "app.handler", "timeout_s": 10, "memory_mb": 128, "variables": {}}
    values.update(changes)
    done = local.run_once(folder, runtime=runtime, event=event, log=log.append, **values)  # type: ignore[arg-type]
    return done, log


def test_python_handler_runs_with_boto3_and_its_prints_are_shown(tmp_path: Path) -> None:
    code = "import boto3, os\ndef handler(event, context):\n    print('hi', os.environ['OWN'])\n    return [event, context.memory_limit_in_mb]\n"
    done, log = run_once(
        write_code(tmp_path, {"app.py": code}), "python", b'{"a": 1}', variables={"OWN": "x"}, memory_mb=256
    )
    assert (json.loads(done.payload), done.error_type) == ([{"a": 1}, "256"], "")
    assert log == ["hi x\n"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.py"]


def test_node_handler_runs(tmp_path: Path) -> None:
    done, log = run_once(
        write_code(tmp_path, {"app.mjs": "export const handler = async (e) => { console.log('hi'); return e; };"}),
        "node",
    )
    assert (done.payload, done.error_type) == (b"{}", "")
    assert log[0].endswith("\tINFO\thi\n")


def test_bootstrap_runs(tmp_path: Path) -> None:
    script = """#!/bin/sh
exec python3 - <<'END'
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
api.request("GET", "/2018-06-01/runtime/invocation/next"); answer = api.getresponse(); body = answer.read()
api.request("POST", "/2018-06-01/runtime/invocation/%s/response" % answer.headers["Lambda-Runtime-Aws-Request-Id"], body)
api.getresponse().read()
END
"""
    done, _ = run_once(write_code(tmp_path, {"bootstrap": script}), "provided", b"[1]")
    assert (done.payload, done.error_type) == (b"[1]", "")


@pytest.mark.parametrize(
    ("code", "error_type"),
    [
        ("def handler(event, context): raise KeyError('x')", "KeyError"),
        ("import sys; sys.exit(3)", "Runtime.ExitError"),
        ("import nothing_like_it", "Runtime.ImportModuleError"),
        ("import time\ndef handler(event, context): time.sleep(60)", "Sandbox.Timedout"),
    ],
)
def test_failure_has_its_type_and_the_platforms_error_object(tmp_path: Path, code: str, error_type: str) -> None:
    done, _ = run_once(write_code(tmp_path, {"app.py": code}), "python", timeout_s=1)
    assert done.error_type == error_type
    found = json.loads(done.payload)
    assert found["errorType"] == error_type
    if error_type in ("Runtime.ExitError", "Sandbox.Timedout"):
        assert found["errorMessage"].startswith("RequestId: ")


def test_unknown_runtime_is_named(tmp_path: Path) -> None:
    with pytest.raises(local.UnknownRuntime, match="java"):
        run_once(tmp_path, "java21")
