"""`lambent demo`: a platform in a directory of its own, the examples in it, and a call of each through every door."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from lambent import __version__
from lambent.cli.develop import checkout
from lambent.cli.endpoint import Endpoint
from lambent.cli.output import Output
from lambent.cli.tour import DemoFailed, Tour
from lambent.cli.up import isolation_text, warn_of_no_isolation

#: Far longer than any start or stop takes; only a hang reaches it.
PATIENCE_SECONDS = 60
_PORTS = {"--api-port": 4566, "--http-port": 8080, "--nats-port": 4222}


@click.command(short_help="Start a platform, deploy the examples and call each of them.")
@click.option("--once", is_flag=True, help="Stop after the tour instead of serving until Ctrl-C.")
@click.option("--data-dir", metavar="DIR", help="Keep the data here; a temporary folder unless given.")
@click.option(
    "--isolation",
    type=click.Choice(("sandbox", "process")),
    default="sandbox",
    show_default=True,
    help="As for `lambent up`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the steps with their timings as JSON at the end.")
@click.pass_obj
def demo(output: Output, /, once: bool, data_dir: str | None, isolation: str, as_json: bool) -> int:
    """Start a platform, deploy the examples and call each of them.

    Takes the usual ports where they are free, else others. Everything it makes is in one folder, which goes when it ends.

    \b
    Example:
      lambent demo --once
    """
    examples = checkout("examples")
    if isolation == "process":
        warn_of_no_isolation(output)
    say = Output(output.environment, False, False).note if as_json else output.line
    with _folder(data_dir) as folder:
        say(output.style(f"Lambent {__version__}", "bold") if not as_json else f"Lambent {__version__}")
        begun = time.monotonic()
        with _platform(folder, isolation) as (process, ready):
            seconds = time.monotonic() - begun
            _show_start(say, ready, seconds)
            tour = Tour(_endpoint(ready), output, say, examples)
            tour.take()
            if as_json:
                output.json({"Ready": {"Seconds": round(seconds, 3), **_public(ready)}, "Steps": tour.results})
            if once:
                return 0
            return _serve_until_interrupted(process, lambda: _say_what_next(say, folder, ready))


def _public(ready: dict[str, Any]) -> dict[str, Any]:
    return {name: ready.get(name) for name in ("api_url", "http_url", "nats_url", "isolation", "cgroups", "weaker")}


@contextlib.contextmanager
def _folder(data_dir: str | None) -> Iterator[Path]:
    if data_dir:
        yield Path(data_dir).expanduser().absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="lambent-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _platform(folder: Path, isolation: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """`lambent up` as a child, as any script would start it."""
    command = [sys.executable, "-P", "-m", "lambent.cli", "up", "--json", "--data-dir", str(folder)]
    command += ["--isolation", isolation]
    claims = contextlib.ExitStack()
    for flag, port in _PORTS.items():
        command += [flag, str(choose_port(port, claims))]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            process.wait(PATIENCE_SECONDS)
            raise DemoFailed(
                "the platform did not start; the lines above say why, and `lambent doctor` checks the machine"
            )
        yield process, json.loads(line)
    finally:
        with claims:
            _stop(process)


def choose_port(port: int, claims: contextlib.ExitStack) -> int:
    """The port if it is free, else 0. It stays claimed until `claims` is closed: another demo that starts at this moment
    would find it free too.
    """
    claim = claims.enter_context(socket.socket(socket.AF_UNIX))
    try:
        # An abstract name: nothing in the file system, gone with this process.
        claim.bind(f"\0lambent-demo-{port}")
    except OSError:
        return 0
    return port if _is_free(port) else 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _stop(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise DemoFailed("the platform did not stop and was killed") from None
    finally:
        if process.stdout is not None:
            process.stdout.close()


def _endpoint(ready: dict[str, Any]) -> Endpoint:
    return Endpoint(**{name: ready[name] for name in Endpoint._fields if name in ready})


def _show_start(say: Any, ready: dict[str, Any], seconds: float) -> None:
    class _Shown:
        isolation, cgroups = ready["isolation"], ready["cgroups"]

    say(f"  a platform is ready after {seconds:.2f} s in {ready['data_dir']}")
    say(f"  AWS API {ready['api_url']} · HTTP {ready['http_url']} · NATS {ready['nats_url']}")
    say(f"  isolation {isolation_text(_Shown)}")
    for sentence in ready.get("weaker", ()):
        say(f"  note: {sentence}")


def _say_what_next(say: Any, folder: Path, ready: dict[str, Any]) -> None:
    say("")
    say("It keeps serving until Ctrl-C. In another terminal:")
    say(f'  eval "$(./lambent env --data-dir {folder})"')
    say('  ./lambent invoke hello-node \'{"name": "you"}\'')
    say("  ./lambent logs -f hello-python")
    say(f"  curl '{ready['http_url']}/hello?name=you'")


def _serve_until_interrupted(process: "subprocess.Popen[str]", invite: Callable[[], None]) -> int:
    try:
        # Who reads that Ctrl-C ends it may press it at once.
        invite()
        status = process.wait()
    except KeyboardInterrupt:
        return 0
    # 0: somebody stopped it. So does Ctrl-C where the shell made this process ignore it, as in the background of a script.
    if status == 0:
        return 0
    raise DemoFailed(f"the platform ended by itself with exit code {status}")
