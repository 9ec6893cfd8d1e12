"""The steps of the demo: deploy, then call over the AWS API, HTTP and NATS, and read the log. Each step checks its answer."""

import http.client
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from lambent.cli.api import Api
from lambent.cli.deploy import deploy_package
from lambent.cli.endpoint import Endpoint
from lambent.cli.logs import events
from lambent.cli.output import Output
from lambent.cli.package import package
from lambent.cli.telnet import dialogue
from lambent.errors import LambentError

T = TypeVar("T")

#: Calls whose median is shown as the warm time.
WARM_CALLS = 20
ANSWER_SECONDS = 30
#: A log line is stored a moment after it was printed; how long the demo waits for it.
LOG_SECONDS = 10

#: How long the demo waits for sandboxes to stand by, and how many equal looks in a row mean that all do.
STANDBY_SECONDS = 10
STEADY_LOOKS = 6

_EXAMPLES = ("hello-python", "hello-node", "hello-custom", "caller-python", "http-echo")
_SUBJECT = "myfunction.lambda"


class DemoFailed(LambentError):
    """A step did not do what it should; the message names the step."""


class Tour:
    """Takes the steps one after the other; `results` has what each did, with milliseconds."""

    def __init__(self, endpoint: Endpoint, output: Output, say: Callable[[str], None], examples: Path) -> None:
        self._api = Api(endpoint)
        self._endpoint = endpoint
        self._output = output
        self._say = say
        self._examples = examples
        self.results: list[dict[str, Any]] = []

    def take(self) -> None:
        """Raises `DemoFailed` with the step's name, or what the platform refused."""
        try:
            self._deploy()
            self._await_standby()
            self._aws_api()
            self._http()
            self._nats()
            self._logs()
        finally:
            self._api.close()

    def _head(self, text: str, *columns: str) -> None:
        self._say("")
        padded = text.ljust(64 - 10 * (len(columns) - 1)) + "".join(column.rjust(10) for column in columns)
        self._say(self._output.style(padded.rstrip(), "bold"))

    def _row(self, step: str, text: str, *times_ms: float) -> None:
        self.results.append({"Step": step, "Text": text, "Milliseconds": [round(t, 3) for t in times_ms]})
        shown = "".join(f"{_milliseconds(t):>10}" for t in times_ms)
        self._say(f"  {text}".ljust(64 - 10 * (len(times_ms) - 1)) + shown)

    def _deploy(self) -> None:
        self._head("Deployed", "time")
        for name in _EXAMPLES:
            # Importing boto3 takes CPU time, which AWS and Lambent give in proportion to the memory.
            wanted = {"Timeout": 10, "MemorySize": 1024} if name == "caller-python" else {}
            data = package(self._examples / name)
            done, took_ms = _timed(partial(deploy_package, self._api, name, data, wanted))
            found = done.configuration
            self._row("deploy", f"{name.ljust(15)}{found['Runtime'].ljust(17)}{found['Handler']}", took_ms)

    def _await_standby(self) -> None:
        """A person calls a function seconds after deploying it; the demo would come before its sandboxes stand by."""
        deadline, begun, levels = time.monotonic() + STANDBY_SECONDS, time.perf_counter(), [-2, -1]
        while time.monotonic() < deadline and (levels[-1] < 1 or len(set(levels[-STEADY_LOOKS:])) > 1):
            time.sleep(0.05)
            levels.append(self._api.platform("GET", "/status").get("Environments", {}).get("standby", 0))
        took_ms = (time.perf_counter() - begun) * 1000
        self._row("standby", f"{levels[-1]} sandboxes stand by for first calls", took_ms)

    def _aws_api(self) -> None:
        from lambent.cli.boto import BotoInvoker

        invoker = BotoInvoker(self._endpoint)
        self._head("AWS API, with boto3", "first", "warm")
        for name in ("hello-python", "hello-node", "hello-custom"):
            answer, first_ms = _timed(partial(invoker.invoke, name, {"name": "Ada"}))
            _expect(f"invoke {name}", answer, "hello Ada")
            warm_ms = _median_ms(partial(invoker.invoke, name, {"name": "Ada"}))
            self._row("invoke", f"{name.ljust(15)}{json.dumps(answer)}", first_ms, warm_ms)
        answer, first_ms = _timed(partial(invoker.invoke, "caller-python", {"name": "Ada"}))
        _expect("invoke caller-python", answer.get("answered") if isinstance(answer, dict) else answer, "hello Ada")
        warm_ms = _median_ms(partial(invoker.invoke, "caller-python", {"name": "Ada"}))
        self._row("invoke", "caller-python  invokes hello-python with boto3 itself", first_ms, warm_ms)

    def _http(self) -> None:
        self._head("HTTP", "first", "warm")
        for path, name in (("/hello", "hello-python"), ("/echo", "http-echo")):
            self._api.platform("POST", "/http-bindings", {"FunctionName": name, "Path": path})
        url = f"{self._endpoint.http_url}/hello?name=Ada"
        answer, first_ms = _timed(partial(_get, url))
        # A result that is no object is the body as JSON, so a text keeps its quotes.
        _expect("GET /hello", (answer[0], answer[1].strip('"')), (200, "hello Ada"))
        self._row("http", f"curl '{url}'", first_ms, _median_ms(partial(_get, url)))
        self._say(f"    {answer[1]}")
        url = f"{self._endpoint.http_url}/echo?status=418"
        (status, body), first_ms = _timed(partial(_get, url))
        _expect("GET /echo", (status, json.loads(body)["path"]), (418, "/echo"))
        self._row("http", f"curl -i '{url}'", first_ms, _median_ms(partial(_get, url)))
        self._say(f"    HTTP/1.1 {status}, application/json, {len(body)} bytes")

    def _nats(self) -> None:
        where = urlsplit(self._endpoint.nats_url)
        assert where.hostname is not None
        assert where.port is not None
        self._head(f"NATS, as typed into `telnet {where.hostname} {where.port}`", "time")
        self._api.platform("POST", "/nats-bindings", {"FunctionName": "hello-python", "Subject": _SUBJECT})
        typed = ["SUB reply-box 200", f"PUB {_SUBJECT} reply-box 0", ""]
        # A binding is live within a second; the dialogue that is shown is one that need not wait for it.
        dialogue(where.hostname, where.port, typed)
        answered, took_ms = _timed(partial(dialogue, where.hostname, where.port, typed))
        _expect("NATS request", answered, ["MSG reply-box 200 5", "hello"])
        for line in typed[:-1]:
            self._say(f"  > {line}")
        self._row("nats", f"< {answered[0]}", took_ms)
        self._say(f"  < {answered[1]}")

    def _logs(self) -> None:
        self._head("Log of hello-python's last call (`lambent logs hello-python`)")
        deadline = time.monotonic() + LOG_SECONDS
        lines: list[str] = []
        while time.monotonic() < deadline and not any(line.startswith("REPORT") for line in lines):
            lines = [e["message"].rstrip() for e in events(self._api, "/aws/lambda/hello-python", 0, None)]
            time.sleep(0.05)
        reports = [number for number, line in enumerate(lines) if line.startswith("REPORT")]
        if not reports:
            raise DemoFailed(f"the step 'logs' found no REPORT line of hello-python in {LOG_SECONDS} s")
        begins = max((n for n, line in enumerate(lines) if line.startswith("START") and n < reports[-1]), default=0)
        for line in lines[begins : reports[-1] + 1]:
            self._say(f"  {line.replace(chr(9), '  ')}")
        self.results.append({"Step": "logs", "Text": lines[reports[-1]], "Milliseconds": []})


def _get(url: str) -> tuple[int, str]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError as error:
        raise DemoFailed(f"the step 'GET {url}' failed: {error}") from error
    finally:
        connection.close()


def _expect(step: str, found: object, expected: object) -> None:
    if found != expected:
        raise DemoFailed(f"the step '{step}' answered {found!r} and not {expected!r}")


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    result = action()
    return result, (time.perf_counter() - begun) * 1000


def _median_ms(action: Callable[[], object]) -> float:
    return statistics.median(_timed(action)[1] for _ in range(WARM_CALLS))


def _milliseconds(value: float) -> str:
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"
