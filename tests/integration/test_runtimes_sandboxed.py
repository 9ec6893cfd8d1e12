"""Environments in real sandboxes: what only the kernel can show."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lambent.httpd.messages import Request, Response
from lambent.runtimes.contract import AnswerKind, InitFailed, Runtime
from lambent.runtimes.table import RuntimeTable
from lambent.settings import executable_folders
from runtimes_fixtures import Bench, node_runtime, provided_runtime, run, write_code
from sandbox_fixtures import spawned

PYTHON = {
    "app.py": """
import os, sys
def handler(event, context):
    if event.get("do") == "eat":
        return len(b"x" * (event["mib"] << 20))
    if event.get("do") == "fill":
        with open("/tmp/big", "wb") as f: f.write(b"x" * (event["mib"] << 20))
    if event.get("do") == "ask":
        import urllib.request
        return urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + "/hello").read().decode()
    return {"cwd": os.getcwd(), "user": os.getuid(), "python": sys.version.split()[0], "path": sys.path[:4]}
"""
}
NODE = {
    "app.js": """
const http = require('http');
exports.handler = async (event) => {
  if (event.do === 'eat') { const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1)); }
  if (event.do === 'ask') return new Promise((resolve, reject) => http.get(process.env.AWS_ENDPOINT_URL + '/hello', (r) => {
    let text = ''; r.on('data', (d) => text += d).on('end', () => resolve(text)); }).on('error', reject));
  return {cwd: process.cwd(), user: process.getuid(), node: process.versions.node};
};
"""
}
PROVIDED = {
    "bootstrap": """#!/bin/sh
exec /usr/bin/env python3 -S /var/task/loop.py
""",
    "loop.py": """
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse(); event = json.loads(answer.read())
    if event.get("do") == "eat": b"x" * (event["mib"] << 20)
    api.request("POST", "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response",
        json.dumps({"cwd": os.getcwd(), "user": os.getuid()}))
    api.getresponse().read()
""",
}


def found(identifier: str) -> Runtime:
    return RuntimeTable(executable_folders()).find(identifier)


def python() -> Runtime:
    import sys

    return found(f"python3.{sys.version_info[1]}")


def readable(folder: Path) -> Path:
    """pytest's folders are for their owner only; code folders are for everyone."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return folder


async def ask(bench: Bench, event: Any) -> Any:
    answer = await bench.call(json.dumps(event).encode())
    assert answer.kind is AnswerKind.RESULT, answer
    return json.loads(answer.payload)


@pytest.mark.parametrize("family", ["python", "node", "provided"])
def test_function_runs_as_another_user_in_var_task(family: str, tmp_path: Path) -> None:
    async def body() -> None:
        files, runtime, handler = {
            "python": (PYTHON, python, "app.handler"),
            "node": (NODE, node_of_the_wheel, "app.handler"),
            "provided": (PROVIDED, provided_runtime, "x"),
        }[family]
        code = readable(write_code(tmp_path / "code", files))
        async with spawned(tmp_path) as sandboxes, Bench(runtime(), code, handler, sandboxes=sandboxes) as bench:
            facts = await ask(bench, {})
            assert facts["cwd"] == "/var/task"
            assert facts["user"] != 0
            assert bench.environment.memory_peak_mib() > 0

    run(body)


def node_of_the_wheel() -> Runtime:
    return node_runtime("nodejs24.x")


@pytest.mark.parametrize("family", ["python", "node", "provided"])
def test_memory_past_the_limit_is_out_of_memory(family: str, tmp_path: Path) -> None:
    async def body() -> None:
        files, runtime, handler = {
            "python": (PYTHON, python, "app.handler"),
            "node": (NODE, node_of_the_wheel, "app.handler"),
            "provided": (PROVIDED, provided_runtime, "x"),
        }[family]
        code = readable(write_code(tmp_path / "code", files))
        async with spawned(tmp_path) as sandboxes:
            if sandboxes.isolation.cgroups == "none":
                pytest.skip("this host gives no control groups, so that memory has no limit")
            async with Bench(runtime(), code, handler, sandboxes=sandboxes) as bench:
                answer = await bench.call(b'{"do": "eat", "mib": 400}')
                assert (answer.kind, answer.error_type) == (AnswerKind.OUT_OF_MEMORY, "Runtime.OutOfMemory")
                assert not bench.environment.alive

    run(body)


def test_tmp_past_its_size_is_enospc(tmp_path: Path) -> None:
    async def body() -> None:
        code = readable(write_code(tmp_path / "code", PYTHON))
        async with (
            spawned(tmp_path) as sandboxes,
            Bench(python(), code, "app.handler", sandboxes=sandboxes, tmp_mb=20, memory_mb=512) as bench,
        ):
            answer = await bench.call(b'{"do": "fill", "mib": 30}')
            assert answer.kind is AnswerKind.ERROR
            assert json.loads(answer.payload)["errorMessage"] == "[Errno 28] No space left on device"

    run(body)


@pytest.mark.parametrize("family", ["python", "node"])
def test_function_reaches_the_platform_at_its_endpoint(family: str, tmp_path: Path) -> None:
    async def body() -> None:
        seen: list[Request] = []

        async def api(request: Request) -> Response:
            seen.append(request)
            return Response(200, b"from the platform")

        files, runtime = (PYTHON, python()) if family == "python" else (NODE, node_of_the_wheel())
        code = readable(write_code(tmp_path / "code", files))
        async with (
            spawned(tmp_path) as sandboxes,
            Bench(runtime, code, "app.handler", sandboxes=sandboxes, made_with={"api": api}) as bench,
        ):
            assert await ask(bench, {"do": "ask"}) == "from the platform"
            assert await ask(bench, {"do": "ask"}) == "from the platform"
            assert {str(request.door) for request in seen} == {f"sandbox {bench.environment.id}"}

    run(body)


def test_python_looks_for_modules_in_awss_order(tmp_path: Path) -> None:
    async def body() -> None:
        code = readable(write_code(tmp_path / "code", PYTHON))
        async with spawned(tmp_path) as sandboxes, Bench(python(), code, "app.handler", sandboxes=sandboxes) as bench:
            facts = await ask(bench, {})
            minor = facts["python"].rsplit(".", 1)[0]
            layers = f"/opt/python/lib/python{minor}/site-packages"
            assert facts["path"] == ["/var/task", layers, "/opt/python", "/var/runtime"]

    run(body)


def test_bootstrap_that_is_no_program_fails_the_init_phase(tmp_path: Path) -> None:
    async def body() -> None:
        code = write_code(tmp_path / "code", {"bootstrap": ""})
        (code / "bootstrap").write_bytes(os.urandom(64))
        readable(code)
        async with spawned(tmp_path) as sandboxes:
            with pytest.raises(InitFailed) as failed:
                async with Bench(provided_runtime(), code, "x", sandboxes=sandboxes):
                    pass
            answer = failed.value.answer
            assert answer.error_type in ("Runtime.InvalidEntrypoint", "Runtime.ExitError")

    run(body)


def test_nothing_is_left_of_many_environments(tmp_path: Path) -> None:
    async def body() -> None:
        code = readable(write_code(tmp_path / "code", PYTHON))
        async with spawned(tmp_path) as sandboxes:

            async def one() -> None:
                async with Bench(python(), code, "app.handler", sandboxes=sandboxes) as bench:
                    await ask(bench, {})

            # What the loop and the standard library open once is no leak.
            await one()
            before = len(os.listdir("/proc/self/fd"))
            await asyncio.gather(*(one() for _ in range(4)))
            assert len(os.listdir("/proc/self/fd")) == before

    run(body)
