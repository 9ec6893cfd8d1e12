"""What every environment promises, whatever runs in it: one suite over Python, Node.js and a custom runtime."""

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lambent.runtimes.contract import AnswerKind, InitFailed, Runtime
from lambent.sandbox.contract import SandboxError
from runtimes_fixtures import (
    ARN,
    REQUEST_ID,
    Bench,
    deadline,
    invocation,
    node_runtime,
    provided_runtime,
    python_runtime,
    run,
    write_code,
)


class Kit(NamedTuple):
    """One function in one language. Its event says what to do: {"do": "...", ...}."""

    name: str
    runtime: Runtime
    files: dict[str, str]
    handler: str


PYTHON = Kit(
    "python",
    python_runtime(),
    {
        "app.py": """
import os, subprocess, sys, time
calls = 0
def handler(event, context):
    global calls
    calls += 1
    do = event.get("do") if isinstance(event, dict) else None
    if do == "count": return calls
    if do == "env": return dict(os.environ)
    if do == "cwd": return os.getcwd()
    if do == "print": print("one"); print("two", flush=True); return None
    if do == "partial": print("no end", end=""); return None
    if do == "child": subprocess.run(["echo", "from a child"]); return None
    if do == "raise": raise KeyError("boom")
    if do == "exit": os._exit(event["status"])
    if do == "signal": os.kill(os.getpid(), event["number"])
    if do == "sleep": print("going to sleep"); time.sleep(60)
    if do == "large": return "x" * event["bytes"]
    if do == "close": os.close(3); time.sleep(60)
    if do == "facts": return {"id": context.aws_request_id, "arn": context.invoked_function_arn,
        "left": context.get_remaining_time_in_millis(), "trace": os.environ.get("_X_AMZN_TRACE_ID")}
    return event
"""
    },
    "app.handler",
)
NODE = Kit(
    "node",
    node_runtime(),
    {
        "app.js": """
const fs = require('fs');
let calls = 0;
exports.handler = async (event, context) => {
  calls++;
  switch (event && event.do) {
    case 'count': return calls;
    case 'env': return {...process.env};
    case 'cwd': return process.cwd();
    case 'print': process.stdout.write('one\\n'); fs.writeSync(1, 'two\\n'); return null;
    case 'partial': fs.writeSync(1, 'no end'); return null;
    case 'child': require('child_process').spawnSync('echo', ['from a child'], {stdio: 'inherit'}); return null;
    case 'raise': throw new TypeError('boom');
    case 'exit': process.exit(event.status);
    case 'signal': process.kill(process.pid, event.number); await new Promise((r) => setTimeout(r, 60000));
    case 'sleep': fs.writeSync(1, 'going to sleep\\n'); await new Promise((r) => setTimeout(r, 60000)); break;
    case 'large': return 'x'.repeat(event.bytes);
    case 'close': fs.closeSync(3); await new Promise((r) => setTimeout(r, 60000)); break;
    case 'facts': return {id: context.awsRequestId, arn: context.invokedFunctionArn,
      left: context.getRemainingTimeInMillis(), trace: process.env._X_AMZN_TRACE_ID};
  }
  return event;
};
"""
    },
    "app.handler",
)
PROVIDED = Kit(
    "provided",
    provided_runtime(),
    {
        "bootstrap": """#!/usr/bin/env python3
import http.client, json, os, subprocess, sys, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
calls = 0
def ask(method, path, body=None, headers={}):
    api.request(method, "/2018-06-01/runtime" + path, body, headers)
    answer = api.getresponse()
    return answer, answer.read()
class Failed(Exception): pass
def handle(event, h):
    global calls
    calls += 1
    do = event.get("do") if isinstance(event, dict) else None
    if do == "count": return calls
    if do == "env": return dict(os.environ)
    if do == "cwd": return os.getcwd()
    if do == "print": print("one"); print("two", flush=True); return None
    if do == "partial": print("no end", end="", flush=True); return None
    if do == "child": subprocess.run(["echo", "from a child"]); return None
    if do == "raise": raise Failed("boom")
    if do == "exit": os._exit(event["status"])
    if do == "signal": os.kill(os.getpid(), event["number"])
    if do == "sleep": print("going to sleep", flush=True); time.sleep(60)
    if do == "large": return "x" * event["bytes"]
    if do == "facts": return {"id": h["Lambda-Runtime-Aws-Request-Id"], "arn": h["Lambda-Runtime-Invoked-Function-Arn"],
        "left": int(h["Lambda-Runtime-Deadline-Ms"]) - int(time.time() * 1000), "trace": h.get("Lambda-Runtime-Trace-Id")}
    return event
while True:
    answer, body = ask("GET", "/invocation/next")
    request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    try:
        result = json.dumps(handle(json.loads(body), answer.headers))
        ask("POST", f"/invocation/{request_id}/response", result)
    except Failed as error:
        ask("POST", f"/invocation/{request_id}/error", json.dumps({"errorType": "Failed", "errorMessage": str(error)}),
            {"Lambda-Runtime-Function-Error-Type": "Function.Failed"})
"""
    },
    "free text",
)
KITS = (PYTHON, NODE, PROVIDED)


@pytest.fixture(params=KITS, ids=lambda kit: kit.name)
def kit(request: pytest.FixtureRequest) -> Kit:
    found: Kit = request.param
    return found


def bench(kit: Kit, folder: Path, **changes: Any) -> Bench:
    return Bench(kit.runtime, write_code(folder, kit.files), kit.handler, **changes)


async def ask(given: Bench, event: Any, **changes: Any) -> Any:
    answer = await given.call(json.dumps(event).encode(), **changes)
    assert answer.kind is AnswerKind.RESULT, answer
    return json.loads(answer.payload)


def test_event_comes_back_as_the_result(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        event = {"text": "grüße \u20ac \U0001f600 \x00", "list": [1, 2.5, None, True], "deep": {"er": {}}}
        async with bench(kit, tmp_path) as given:
            assert await ask(given, event) == event
            assert given.started.init_ms > 0

    run(body)


def test_globals_survive_between_calls(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            assert [await ask(given, {"do": "count"}) for _ in range(3)] == [1, 2, 3]

    run(body)


def test_reserved_variables_win_over_the_functions_own_and_defaults_do_not(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        own = {"MY_OWN": "ü", "AWS_REGION": "nowhere", "SHLVL": "7", "EMPTY": ""}
        async with bench(kit, tmp_path, variables=own, memory_mb=256) as given:
            found = await ask(given, {"do": "env"})
            expected = {
                "MY_OWN": "ü",
                "EMPTY": "",
                "SHLVL": "7" if kit is not PROVIDED else found["SHLVL"],
                "_HANDLER": kit.handler,
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_LAMBDA_FUNCTION_NAME": "probe",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/probe",
                "AWS_ACCESS_KEY_ID": "ASIATEST",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_SESSION_TOKEN": "token",
                "TZ": ":UTC",
                "LANG": "en_US.UTF-8",
            }
            assert {name: found.get(name) for name in expected} == expected
            assert found["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
            if kit is PROVIDED:
                assert "AWS_EXECUTION_ENV" not in found
            else:
                assert found["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{kit.runtime.identifier}"
            assert not [name for name in found if "LAMBENT" in name]

    run(body)


def test_function_runs_in_its_code_folder(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            assert await ask(given, {"do": "cwd"}) == str(tmp_path)

    run(body)


def test_context_of_a_call_tells_id_arn_deadline_and_trace(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            first = await ask(given, {"do": "facts"}, seconds=20, trace_id="Root=1-2-3", invoked_arn=ARN + ":live")
            assert 0 < first.pop("left") <= 20_000
            assert first == {"id": REQUEST_ID, "arn": ARN + ":live", "trace": "Root=1-2-3"}
            second = await ask(given, {"do": "facts"}, request_id="other")
            assert (second["id"], second["arn"], second.get("trace")) == ("other", ARN, None)

    run(body)


def test_what_was_printed_before_the_answer_is_logged_before_it(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            await ask(given, {"do": "print"})
            assert given.log.events == ["one\n", "two\n"]
            await ask(given, {"do": "partial"})
            await ask(given, {"do": "child"})
            assert given.log.events[2:] == ["no end", "from a child\n"]

    run(body)


def test_error_of_the_handler_is_the_answer_and_the_environment_lives(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            answer = await given.call(b'{"do": "raise"}')
            assert answer.kind is AnswerKind.ERROR
            assert "boom" in json.loads(answer.payload)["errorMessage"]
            assert given.environment.alive
            assert await ask(given, {"do": "count"}) == 2

    run(body)


@pytest.mark.parametrize(
    ("event", "text", "how"),
    [
        ({"do": "exit", "status": 3}, "exit status 3", "Runtime exited with error: exit status 3"),
        ({"do": "exit", "status": 0}, "", "Runtime exited without providing a reason"),
        ({"do": "signal", "number": 9}, "signal: killed", "Runtime exited with error: signal: killed"),
    ],
)
def test_end_of_the_process_in_a_call_is_awss_exit_error(
    kit: Kit, tmp_path: Path, event: Any, text: str, how: str
) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            answer = await given.call(json.dumps(event).encode())
            assert (answer.kind, answer.exit_text, answer.error_type) == (AnswerKind.EXIT, text, "Runtime.ExitError")
            assert json.loads(answer.payload) == {
                "errorType": "Runtime.ExitError",
                "errorMessage": f"RequestId: {REQUEST_ID} Error: {how}",
            }
            assert not given.environment.alive
            again = await given.environment.invoke(invocation(), deadline())
            assert again.kind is AnswerKind.EXIT

    run(body)


def test_deadline_kills_the_function_and_keeps_what_it_printed(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path, timeout_ms=1500) as given:
            answer = await given.call(b'{"do": "sleep"}', seconds=0.7)
            assert answer.kind is AnswerKind.TIMEOUT
            assert json.loads(answer.payload) == {
                "errorType": "Sandbox.Timedout",
                "errorMessage": f"RequestId: {REQUEST_ID} Error: Task timed out after 1.50 seconds",
            }
            assert given.log.events == ["going to sleep\n"]
            assert not given.environment.alive
            end = await given.sandbox.exited
            assert end.signal == 9

    run(body)


def test_result_past_the_limit_is_refused_and_the_environment_lives(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            size = 6 * 1024 * 1024
            fits = await ask(given, {"do": "large", "bytes": size - 2})
            assert len(fits) == size - 2
            answer = await given.call(json.dumps({"do": "large", "bytes": size + 200}).encode())
            assert (answer.kind, answer.size) == (AnswerKind.TOO_LARGE, size + 202)
            assert json.loads(answer.payload)["errorType"] == "Function.ResponseSizeTooLarge"
            assert await ask(given, {"do": "count"}) == 3

    run(body)


def test_large_event_arrives_whole(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            event = {"text": "äx" * 700_000}
            assert await ask(given, event) == event

    run(body)


def test_death_between_calls_is_told_once(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            await ask(given, {"do": "count"})
            told = asyncio.Event()
            times: list[int] = []

            def died() -> None:
                times.append(1)
                told.set()

            given.environment.on_death(died)
            given.sandbox.kill()
            await told.wait()
            assert not given.environment.alive
            assert times == [1]

    run(body)


def test_discard_ends_the_process_and_may_be_repeated(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            running = asyncio.ensure_future(given.environment.invoke(invocation(b'{"do": "sleep"}'), deadline()))
            await asyncio.sleep(0)
            await asyncio.gather(given.environment.discard(), given.environment.discard())
            answer = await running
            assert answer.kind is AnswerKind.EXIT
            assert given.sandbox.exited.done()

    run(body)


def test_init_phase_past_its_limit_is_a_timeout(tmp_path: Path) -> None:
    slow = {
        "python": {"app.py": "import time\nprint('slow')\ntime.sleep(60)\n"},
        "node": {"app.mjs": "console.log('slow');\nawait new Promise((r) => setTimeout(r, 60000));\n"},
        "provided": {"bootstrap": "#!/bin/sh\necho slow\nsleep 60\n"},
    }

    async def body(kit: Kit, folder: Path) -> None:
        given = Bench(kit.runtime, write_code(folder, slow[kit.name]), kit.handler)
        given.limit_ms = 400
        with pytest.raises(InitFailed) as failed:
            await given.__aenter__()
        assert failed.value.answer.kind is AnswerKind.TIMEOUT
        assert "Task timed out after 0.40 seconds" in failed.value.answer.payload.decode()
        assert "slow" in given.log.text

    for kit in KITS:
        run(lambda kit=kit: body(kit, tmp_path / kit.name))


def test_exit_in_the_init_phase_is_awss_exit_error(tmp_path: Path) -> None:
    leaving = {
        "python": {"app.py": "import sys\nsys.exit(5)\n"},
        "node": {"app.js": "process.exit(5);\n"},
        "provided": {"bootstrap": "#!/bin/sh\nexit 5\n"},
    }

    async def body(kit: Kit, folder: Path) -> None:
        given = Bench(kit.runtime, write_code(folder, leaving[kit.name]), kit.handler)
        with pytest.raises(InitFailed) as failed:
            await given.__aenter__()
        assert (failed.value.answer.kind, failed.value.answer.exit_text) == (AnswerKind.EXIT, "exit status 5")

    for kit in KITS:
        run(lambda kit=kit: body(kit, tmp_path / kit.name))


@pytest.mark.parametrize("kit", [PYTHON, NODE], ids=["python", "node"])
def test_event_that_is_not_json_is_a_bad_event(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            for event in (b"hello", b"{", b"NaN", b"[1,]", b"\xff"):
                answer = await given.call(event)
                assert answer.kind is AnswerKind.BAD_EVENT, event
                assert answer.payload.startswith(b"Could not parse request body into json: ")
            assert await ask(given, {"do": "count"}) == 1

    run(body)


@pytest.mark.parametrize("kit", [PYTHON, NODE], ids=["python", "node"])
def test_guest_that_closes_its_channel_is_killed(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            answer = await given.call(b'{"do": "close"}')
            assert (answer.kind, answer.exit_text) == (AnswerKind.EXIT, "signal: killed")

    run(body)


def test_environment_is_adopted_once(kit: Kit, tmp_path: Path) -> None:
    async def body() -> None:
        async with bench(kit, tmp_path) as given:
            with pytest.raises(SandboxError):
                await given.environment.adopt(given.start, given.log, 1000)

    run(body)
