"""Custom runtimes: which bootstrap is run, and AWS's own runtime interface client's way of speaking."""

import json
from pathlib import Path
from typing import Any

import pytest

from lambent.runtimes.contract import AnswerKind, InitFailed
from runtimes_fixtures import Bench, provided_runtime, run, write_code


def init_failure(folder: Path) -> Any:
    async def body() -> None:
        async with Bench(provided_runtime(), folder, "x"):
            pass

    with pytest.raises(InitFailed) as failed:
        run(body)
    return failed.value.answer


def test_missing_bootstrap_is_an_invalid_entrypoint(tmp_path: Path) -> None:
    answer = init_failure(tmp_path)
    assert (answer.kind, answer.error_type) == (AnswerKind.ERROR, "Runtime.InvalidEntrypoint")
    assert "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]" in answer.payload.decode()


def test_bootstrap_without_the_executable_bit_is_an_invalid_entrypoint(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").write_text("#!/bin/sh\n")
    answer = init_failure(tmp_path)
    assert answer.error_type == "Runtime.InvalidEntrypoint"
    assert "fork/exec /var/task/bootstrap: permission denied" in answer.payload.decode()


def test_bootstrap_that_reports_an_init_error_passes_it_on(tmp_path: Path) -> None:
    script = """#!/usr/bin/env python3
import http.client, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
api.request("POST", "/2018-06-01/runtime/init/error", b'{"errorMessage": "m", "errorType": "T"}',
    {"Lambda-Runtime-Function-Error-Type": "Runtime.NoHandler"})
api.getresponse().read()
"""
    answer = init_failure(write_code(tmp_path, {"bootstrap": script}))
    assert (answer.error_type, json.loads(answer.payload)) == (
        "Runtime.NoHandler",
        {"errorMessage": "m", "errorType": "T"},
    )


def test_shell_bootstrap_answers(tmp_path: Path) -> None:
    script = """#!/bin/bash
api() { exec 5<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API/:/\\/}"; printf '%s' "$1" >&5; }
while true; do
  api $'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n'
  answer=$(cat <&5)
  id=$(sed -n 's/^lambda-runtime-aws-request-id: \\([^\\r]*\\).*/\\1/Ip' <<< "$answer" | tr -d '\\r')
  body='"from bash"'
  api $'POST /2018-06-01/runtime/invocation/'"$id"$'/response HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nContent-Length: '"${#body}"$'\\r\\n\\r\\n'"$body"
  cat <&5 > /dev/null
done
"""

    async def body() -> None:
        async with Bench(provided_runtime(), write_code(tmp_path, {"bootstrap": script}), "x") as given:
            for _ in range(2):
                assert (await given.call()).payload == b'"from bash"'

    run(body)
