"""`lambent logs`: what a function printed, now and, with -f, from now on."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from lambent.cli.api import Api, ApiError, function_path
from lambent.cli.endpoint import platform_command
from lambent.cli.output import Output

#: Between two looks for new lines with -f.
POLL_SECONDS = 0.5
#: With -f, looks this far back as well: a line is stored a moment after it was printed, out of order across streams.
OVERLAP_MS = 10_000
_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def since_ms(text: str, now_ms: int) -> int:
    """`90s`, `10m`, `2h`, `1d` before now, or an ISO time, as Unix milliseconds."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match:
        return max(0, now_ms - int(match[1]) * _UNITS_MS[match[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither like 10m nor an ISO time", param_hint="--since") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def events(api: Api, group: str, start_ms: int, pattern: str | None) -> Iterator[dict[str, Any]]:
    """All events of a group from a moment on. A group that is not there has none."""
    token: str | None = None
    while True:
        members: dict[str, Any] = {"logGroupName": group, "startTime": start_ms}
        members |= {"filterPattern": pattern} if pattern else {}
        members |= {"nextToken": token} if token else {}
        try:
            page = api.logs("FilterLogEvents", **members)
        except ApiError as error:
            if error.code == "ResourceNotFoundException":
                return
            raise
        yield from page.get("events", [])
        token = page.get("nextToken")
        if not token:
            return


@click.command(short_help="Print what a function logged.")
@click.argument("function")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until Ctrl-C.")
@click.option("--since", default="1h", show_default=True, metavar="TIME", help="From then on: 90s, 10m, 2h, 1d or ISO.")
@click.option("--filter", "pattern", metavar="PATTERN", help="CloudWatch Logs filter pattern, such as ERROR.")
@platform_command
def logs(api: Api, output: Output, function: str, follow: bool, since: str, pattern: str | None, as_json: bool) -> None:
    """Print what a function logged.

    \b
    Examples:
      lambent logs hello-python --since 10m
      lambent logs hello-python -f
    """
    found = api.function("GET", function_path(function, "/configuration"))
    group = found.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{found['FunctionName']}"
    start_ms = since_ms(since, time.time_ns() // 1_000_000)
    seen: dict[str, int] = {}
    while True:
        for event in events(api, group, start_ms, pattern):
            if event["eventId"] not in seen:
                seen[event["eventId"]] = event["timestamp"]
                _print(output, event, as_json)
        if not follow:
            return
        newest = max(seen.values(), default=0)
        start_ms = max(start_ms, newest - OVERLAP_MS)
        seen = {key: at for key, at in seen.items() if at >= start_ms}
        time.sleep(POLL_SECONDS)


def _print(output: Output, event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.json(event)
        return
    moment = datetime.fromtimestamp(event["timestamp"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    output.line(f"{output.style(moment, 'dim')} {event['message'].rstrip()}")
