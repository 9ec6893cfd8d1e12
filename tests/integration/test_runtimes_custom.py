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


@pytest.mark.parametrize("chunked", [False, True])
def test_result_far_past_the_limit_is_too_large_and_the_environment_goes_on(tmp_path: Path, chunked: bool) -> None:
    script = f"""#!/usr/bin/env python3
import http.client, os
while True:
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event = answer.read()
    path = "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    body = b"x" * int(event)
    try:
        api.request("POST", path, iter([body]) if {chunked} else body, encode_chunked={chunked})
        status = api.getresponse().status
    except OSError as error:
        status = error
    print("answered", len(body), "got", status, flush=True)
"""

    async def body() -> None:
        code = write_code(tmp_path, {"bootstrap": script})
        async with Bench(provided_runtime(), code, "x", made_with={"payload_max": 1000}) as given:
            for size, kind in (
                (20 * 1024 * 1024, AnswerKind.TOO_LARGE),
                (5, AnswerKind.RESULT),
                (1 << 20, AnswerKind.TOO_LARGE),
                (5, AnswerKind.RESULT),
            ):
                answer = await given.call(str(size).encode())
                assert answer.kind is kind
                if kind is AnswerKind.TOO_LARGE:
                    assert answer.error_type == "Function.ResponseSizeTooLarge"
            assert given.environment.alive
        assert "answered 20971520 got 413" in given.log.text

    run(body)


def test_bodies_that_a_runtime_does_not_finish_have_a_bound_together(tmp_path: Path) -> None:
    script = """#!/usr/bin/env python3
import http.client, os, select, socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
api = http.client.HTTPConnection(host, int(port))
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    answer.read()
    path = "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    held = [socket.create_connection((host, int(port))) for _ in range(3)]
    for each in held:
        each.sendall(b"POST %b HTTP/1.1\\r\\nhost: h\\r\\ncontent-length: 2000000\\r\\n\\r\\n" % path.encode())
        each.sendall(b"x" * 1_900_000)
    refused, _, _ = select.select(held, [], [])
    body = b'"%b"' % refused[0].recv(12)
    for each in held:
        each.close()
    api.request("POST", path, body)
    api.getresponse().read()
"""

    async def body() -> None:
        code = write_code(tmp_path, {"bootstrap": script})
        async with Bench(provided_runtime(), code, "x", made_with={"payload_max": 1000}) as given:
            for _ in range(2):
                assert (await given.call()).payload == b'"HTTP/1.1 503"'

    run(body)
