"""Load and single calls: wrk with a recorded request, and a connection that times one request after the other."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

WRK = """
wrk.method = {method}
wrk.body = {body}
{headers}
done = function(summary, latency, requests)
  io.stderr:write(string.format(
    '{{"rps": %f, "p50_us": %f, "p99_us": %f, "requests": %d, "not_2xx": %d, "broken": %d}}\\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99), summary.requests,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


class Ask(NamedTuple):
    """One request, sent again and again."""

    url: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    method: str = "POST"


class Load(NamedTuple):
    """What wrk measured."""

    rps: float
    p50_us: float
    p99_us: float
    #: Answers with another status than 2xx, and requests without an answer: a run with any is not a measurement.
    failed: int


def require_wrk() -> str:
    """The path of wrk, installed first where that is possible."""
    found = shutil.which("wrk")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("installing wrk")
        subprocess.run(["apt-get", "install", "-y", "-q", "wrk"], check=True, stdout=sys.stderr)
        found = shutil.which("wrk")
    if found is None:
        raise SystemExit("the bench needs wrk: run `sudo apt-get install wrk` and start again")
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


#: Floors and platform alike are measured so often and the best run counts: what else runs on a machine only makes worse.
REPEATS = 3
#: Making 64 environments takes two cores some two seconds.
WARM_UP_SECONDS = 3


def drive(ask: Ask, connections: int, seconds: float) -> Load:
    """Sends `ask` over so many connections for so long, after a warm-up; the best of some runs."""
    wrk = require_wrk()
    script = WRK.format(
        method=_lua(ask.method),
        body=_lua(ask.body.decode()),
        headers="\n".join(f"wrk.headers[{_lua(k)}] = {_lua(v)}" for k, v in ask.headers.items()),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ask.lua"
        path.write_text(script)

        def once(duration: float) -> dict[str, Any]:
            command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(duration))}s", "-s", str(path), ask.url]
            ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=duration + 60)
            told: dict[str, Any] = json.loads(ended.stderr.strip().splitlines()[-1])
            return told

        # Warm means an environment for each connection; making many of them at once is the burst's subject.
        once(WARM_UP_SECONDS)
        told = max((once(seconds) for _ in range(REPEATS)), key=lambda each: each["rps"])
    return Load(told["rps"], told["p50_us"], told["p99_us"], told["not_2xx"] + told["broken"])


def _lua(text: str) -> str:
    """A Lua string literal; JSON's escapes of printable ASCII are Lua's too."""
    return json.dumps(text, ensure_ascii=True)


class Caller:
    """A kept connection. `time` sends one request and gives milliseconds, status and body."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        self._connection.connect()

    def time(self, ask: Ask) -> tuple[float, int, bytes]:
        parts = urlsplit(ask.url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        begun = time.perf_counter()
        self._connection.request(ask.method, target, ask.body, dict(ask.headers))
        response = self._connection.getresponse()
        body = response.read()
        return (time.perf_counter() - begun) * 1000, response.status, body

    def close(self) -> None:
        self._connection.close()


def percentile(values: list[float], percent: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * int(percent) // 100) - 1))]
