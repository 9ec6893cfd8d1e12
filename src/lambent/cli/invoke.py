"""`lambent invoke`: one call; the result on stdout, the log and the report line on stderr."""

import base64
import sys
from pathlib import Path
from typing import Any

import click

from lambent.cli.api import Api, Reply, function_path
from lambent.cli.endpoint import platform_command
from lambent.cli.output import Output
from lambent.errors import LambentError


class CannotRead(LambentError):
    """The payload's file is not there."""


def payload_bytes(text: str) -> bytes:
    """A payload argument: JSON text, `@file`, or `-` for stdin."""
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            raise CannotRead(f"cannot read {text[1:]}: {error.strerror}") from error
    return text.encode()


def call(api: Api, name: str, payload: bytes, *, kind: str = "RequestResponse", qualifier: str | None = None) -> Reply:
    """The Invoke operation, with the log's tail where the kind gives one."""
    headers = {"x-amz-invocation-type": kind}
    if kind == "RequestResponse":
        headers["x-amz-log-type"] = "Tail"
    return api.call("lambda", "POST", function_path(name, "/invocations"), payload, {"Qualifier": qualifier}, headers)


def log_tail(reply: Reply) -> str:
    return base64.b64decode(reply.headers.get("x-amz-log-result", "")).decode("utf-8", "replace")


@click.command(short_help="Call a function and print its result.")
@click.argument("function")
@click.argument("payload", default="{}")
@click.option("--async", "asynchronous", is_flag=True, help="Queue the event and return; Lambent retries on failure.")
@click.option("--qualifier", metavar="VERSION", help="A published version instead of $LATEST.")
@platform_command
def invoke(
    api: Api,
    output: Output,
    function: str,
    payload: str,
    asynchronous: bool,
    qualifier: str | None,
    as_json: bool,
) -> int:
    """Call a function and print its result.

    PAYLOAD is JSON, @FILE, or - for stdin ({} unless given). The result goes to stdout, the log and the report line to
    stderr. The exit code is 1 when the function failed.

    \b
    Examples:
      lambent invoke hello-python '{"name": "Ada"}'
      lambent invoke hello-python @examples/hello-python/event.json
    """
    reply = call(
        api, function, payload_bytes(payload), kind="Event" if asynchronous else "RequestResponse", qualifier=qualifier
    )
    failed = reply.headers.get("x-amz-function-error", "")
    if as_json:
        output.json(_as_json(reply, failed))
        return 1 if failed else 0
    tail = log_tail(reply)
    for line in tail.rstrip("\n").splitlines():
        output.note(output.style(line, "dim", err=True))
    if asynchronous:
        output.note("queued")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(reply.body + b"\n")
        sys.stdout.buffer.flush()
    if failed:
        output.error(f"the function failed ({failed})")
    return 1 if failed else 0


def _as_json(reply: Reply, failed: str) -> dict[str, Any]:
    """The payload stays text: it may be a number too large or a text that is not JSON (custom runtimes)."""
    return {
        "StatusCode": reply.status,
        "FunctionError": failed or None,
        "ExecutedVersion": reply.headers.get("x-amz-executed-version"),
        "Payload": reply.body.decode("utf-8", "replace"),
        "LogTail": log_tail(reply),
    }
