"""Measures the platform beside its floors, in one run, and writes one table: RESULTS.md and results.json beside this file.

    lambent bench [--quick] [--output FOLDER]

`--quick` measures shorter and less often, to see that everything works; its numbers are rough. Progress goes to stderr.
"""

import argparse
import concurrent.futures
import json
import os
import platform as machine
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from load import Ask, Caller, Load, drive, percentile, require_wrk, say  # noqa: E402
from memory import environments_pss_mib, process_pss_mib  # noqa: E402
from subject import BODY, CORE_MB, NODE, PYTHON, Language, Platform  # noqa: E402
from table import markdown, plot  # noqa: E402

CONNECTIONS = (1, 16, 64)
LANGUAGES = (PYTHON, NODE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short and rough")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for RESULTS.md and results.json")
    options = parser.parse_args()
    require_wrk()
    seconds, rounds, starts = (1.0, 5, 1) if options.quick else (3.0, 30, 3)
    results: dict[str, Any] = {"machine": about(), "quick": options.quick}
    results["floors"] = {kind: floor(kind, seconds) for kind in ("echo", "httpd", "python", "node")}
    results["start_ms"] = []
    for number in range(starts - 1):
        say(f"start {number + 1} of {starts}")
        with Platform() as platform:
            results["start_ms"].append(platform.started_ms)
    with Platform() as platform:
        results["start_ms"].append(platform.started_ms)
        results["isolation"] = {key: platform.ready.get(key) for key in ("isolation", "cgroups", "weaker", "version")}
        measure(platform, results, seconds, rounds)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    text = markdown(results)
    (options.output / "RESULTS.md").write_text(text)
    (options.output / "requests.svg").write_text(plot(results))
    print(text)
    return 0


def about() -> dict[str, Any]:
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpus": os.cpu_count(),
        "cpu": model[0] if model else machine.machine(),
        "kernel": machine.release(),
        "python": machine.python_version(),
        # Above one per CPU, something else was running.
        "load_before": round(os.getloadavg()[0], 2),
    }


@contextmanager
def running(kind: str) -> Iterator[str]:
    """The URL of a floor server that runs meanwhile."""
    process = subprocess.Popen([sys.executable, str(HERE / "floor.py"), kind], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        port = json.loads(process.stdout.readline())["port"]
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def floor(kind: str, seconds: float) -> dict[str, Any]:
    with running(kind) as url:
        return loads(f"floor {kind}", Ask(url, BODY.encode()), seconds)


def loads(title: str, ask: Ask, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for connections in CONNECTIONS:
        told: Load = drive(ask, connections, seconds)
        say(
            f"{title}, {connections} connections: {told.rps:,.0f}/s, p50 {told.p50_us:,.0f} us, p99 {told.p99_us:,.0f} us"
        )
        if told.failed:
            say(f"  {told.failed} requests failed: this is not a measurement")
        found[str(connections)] = told._asdict()
    return found


def measure(platform: Platform, results: dict[str, Any], seconds: float, rounds: int) -> None:
    client = platform.client()
    for language in LANGUAGES:
        runtime = platform.runtime(language)
        found: dict[str, Any] = {"runtime": runtime}
        found["first_call_ms"] = first_calls(platform, client, language, runtime, rounds)
        found["burst"] = burst(platform, client, language, runtime)
        name = f"echo-{language.prefix}"
        platform.deploy(client, name, runtime, language, language.echo, CORE_MB)
        platform.api("POST", "/http-bindings", {"FunctionName": name, "Path": f"/{name}"})
        until_answered(platform.route(f"/{name}"))
        found["idle_pss_mib"] = idle_memory(platform, name, language)
        found["route"] = loads(f"{language.name} route", platform.route(f"/{name}"), seconds)
        found["invoke"] = loads(f"{language.name} Invoke", platform.invoke(name), seconds)
        results[language.prefix] = found
    results["node_pss_mib"] = process_pss_mib(platform.pid)


def until_answered(ask: Ask) -> None:
    """A binding is live within a second."""
    caller = Caller(ask.url)
    give_up = time.monotonic() + 10
    while True:
        _, status, body = caller.time(ask)
        if status == 200:
            break
        if time.monotonic() > give_up:
            raise SystemExit(f"{ask.url} answers {status}: {body.decode(errors='replace')}")
        time.sleep(0.05)
    caller.close()


def first_calls(platform: Platform, client: Any, language: Language, runtime: str, rounds: int) -> dict[str, float]:
    """The first call of functions that were deployed a moment ago, with a standby sandbox at hand."""
    times = []
    caller = Caller(platform.ready["api_url"])
    for number in range(rounds):
        name = f"first-{language.prefix}-{number}"
        platform.deploy(client, name, runtime, language, language.echo)
        # Time for the standby pool to refill; a first call without one is the burst's subject.
        time.sleep(0.5)
        took_ms, status, body = caller.time(platform.invoke(name))
        if status != 200 or b'"statusCode"' not in body:
            raise SystemExit(f"the first call of {name} answered {status}: {body.decode(errors='replace')}")
        times.append(took_ms)
        client.delete_function(FunctionName=name)
    caller.close()
    told = {"p50": statistics.median(times), "p99": percentile(times, 99), "count": len(times)}
    say(f"{language.name} first call: p50 {told['p50']:.1f} ms, p99 {told['p99']:.1f} ms")
    return told


def burst(platform: Platform, client: Any, language: Language, runtime: str, calls: int = 20) -> dict[str, float]:
    """So many calls at once of a function that sleeps 100 ms: each needs an environment of its own."""
    name = f"burst-{language.prefix}"
    platform.deploy(client, name, runtime, language, language.slow)
    time.sleep(0.5)
    ask = platform.invoke(name)
    callers = [Caller(ask.url) for _ in range(calls)]
    with concurrent.futures.ThreadPoolExecutor(calls) as threads:
        begun = time.perf_counter()
        answers = list(threads.map(lambda caller: caller.time(ask), callers))
        took_ms = (time.perf_counter() - begun) * 1000
    for caller in callers:
        caller.close()
    client.delete_function(FunctionName=name)
    bad = [(status, body) for _, status, body in answers if status != 200 or b'"statusCode"' not in body]
    if bad:
        raise SystemExit(f"a call of the burst answered {bad[0][0]}: {bad[0][1].decode(errors='replace')}")
    told = {"calls": calls, "all_ms": took_ms, "slowest_ms": max(ms for ms, _, _ in answers)}
    say(f"{language.name} burst of {calls}: all answered after {took_ms:.0f} ms (100 ms of them asleep)")
    return told


def idle_memory(platform: Platform, name: str, language: Language) -> dict[str, float]:
    """PSS of the environments that are there after some calls at once, standby ones included."""
    drive(platform.route(f"/{name}"), 8, 1)
    time.sleep(1)
    kind = "node" if language is NODE else "python"
    found = environments_pss_mib(platform.pid).get(kind, [])
    if not found:
        say(f"no {language.name} sandbox was found below the platform: no memory measured")
        return {"count": 0, "mean": 0.0, "max": 0.0}
    told = {"count": len(found), "mean": statistics.mean(found), "max": max(found)}
    say(f"{language.name} environments: {told['count']}, PSS {told['mean']:.1f} MiB each")
    return told


if __name__ == "__main__":
    sys.exit(main())
