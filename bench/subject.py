"""The platform under measurement: started as a user starts it, spoken to as a client speaks to it."""

import io
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from load import Ask, Caller, say

ROOT = Path(__file__).resolve().parents[1]

ECHO_PYTHON = """
def handler(event, context):
    return {"statusCode": 200, "body": event["body"]}
"""
ECHO_NODE = """
exports.handler = async (event) => ({ statusCode: 200, body: event.body });
"""
SLOW_PYTHON = """
import time

def handler(event, context):
    time.sleep(0.1)
    return {"statusCode": 200, "body": event["body"]}
"""
SLOW_NODE = """
exports.handler = (event) => new Promise((done) => setTimeout(() => done({ statusCode: 200, body: event.body }), 100));
"""


class Language(NamedTuple):
    name: str
    prefix: str
    file: str
    echo: str
    slow: str


PYTHON = Language("Python", "python", "app.py", ECHO_PYTHON, SLOW_PYTHON)
NODE = Language("Node.js", "nodejs", "app.js", ECHO_NODE, SLOW_NODE)

#: CPU is in proportion to memory, and this is a whole core (contract, section 12): so that throughput measures the platform
#: and not the limit that it enforces.
CORE_MB = 1769

#: What a function of the bench gets in its body, so that route and Invoke carry about the same.
BODY = json.dumps({"text": "x" * 200})
EVENT = json.dumps({"body": BODY}).encode()


class Platform:
    """`lambent up` as a child process with a data directory of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lambent-bench-")
        self.started_ms = 0.0
        self.ready: dict[str, Any] = {}

    def __enter__(self) -> "Platform":
        log = Path(self._folder.name) / "platform.log"
        command = [str(ROOT / "lambent"), "up", "--json", "--data-dir", f"{self._folder.name}/data"]
        command += ["--api-port", "0", "--http-port", "0", "--nats-port", "0", "--no-node-sdk"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAMBENT_"))}
        begun = time.perf_counter()
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment, cwd=ROOT
            )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise SystemExit(f"the platform did not start:\n{log.read_text()[-4000:]}")
        self.ready = json.loads(line)
        caller = Caller(self.ready["api_url"])
        caller.time(Ask(self.ready["api_url"] + "/_lambent/health", method="GET"))
        self.started_ms = (time.perf_counter() - begun) * 1000
        caller.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            say("the platform did not stop within 30 s; killing it")
            self._process.kill()
        if error is not None:
            say((Path(self._folder.name) / "platform.log").read_text()[-4000:])
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        pid: int = self.ready["pid"]
        return pid

    def signed(self, service: str, method: str, path: str, body: bytes = b"") -> Ask:
        """A request with a signature; valid for some minutes, as often as it is sent."""
        url = self.ready["api_url"] + path
        request = AWSRequest(method, url, data=body, headers={"Content-Type": "application/json"})
        credentials = Credentials(self.ready["access_key_id"], self.ready["secret_access_key"])
        SigV4Auth(credentials, service, self.ready["region"]).add_auth(request)
        return Ask(url, body, dict(request.headers.items()), method)

    def invoke(self, function: str) -> Ask:
        return self.signed("lambda", "POST", f"/2015-03-31/functions/{function}/invocations", EVENT)

    def route(self, path: str) -> Ask:
        return Ask(self.ready["http_url"] + path, BODY.encode(), {"content-type": "application/json"})

    def api(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The platform's own API."""
        data = json.dumps(body).encode() if body is not None else b""
        caller = Caller(self.ready["api_url"])
        _, status, answer = caller.time(self.signed("lambent", method, f"/_lambent/v1{path}", data))
        caller.close()
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {answer.decode(errors='replace')}")
        told: dict[str, Any] = json.loads(answer or b"{}")
        return told

    def runtime(self, language: Language) -> str:
        """The newest identifier of that family that can be used here, its own interpreter before a stand-in."""
        usable = [
            (
                not runtime.get("Note"),
                tuple(int(n) for n in re.findall(r"\d+", runtime["Identifier"])),
                runtime["Identifier"],
            )
            for runtime in self.api("GET", "/runtimes")["Runtimes"]
            if runtime["Identifier"].startswith(language.prefix) and not runtime.get("Unavailable")
        ]
        if not usable:
            raise SystemExit(f"no {language.name} runtime can be used here; `lambent runtimes` says why")
        return str(max(usable)[2])

    def client(self) -> Any:
        return boto3.session.Session().client(
            "lambda",
            endpoint_url=self.ready["api_url"],
            region_name=self.ready["region"],
            aws_access_key_id=self.ready["access_key_id"],
            aws_secret_access_key=self.ready["secret_access_key"],
            config=Config(retries={"total_max_attempts": 1}),
        )

    def deploy(
        self, client: Any, name: str, runtime: str, language: Language, source: str, memory_mb: int = 128
    ) -> None:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr(zipfile.ZipInfo(language.file), f"{source}\n# {name}" if language is PYTHON else source)
        client.create_function(
            FunctionName=name,
            Runtime=runtime,
            Role=f"arn:aws:iam::{self.ready['account']}:role/bench",
            Handler="app.handler",
            Code={"ZipFile": data.getvalue()},
            Timeout=30,
            MemorySize=memory_mb,
        )
        client.get_waiter("function_active_v2").wait(FunctionName=name)
