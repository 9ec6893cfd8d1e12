"""`lambent ls`, `show`, `rm`, `publish`: what is deployed."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from lambent.cli.api import Api, function_path
from lambent.cli.endpoint import platform_command
from lambent.cli.output import Output


@click.command(short_help="List functions.")
@platform_command
def ls(api: Api, output: Output, as_json: bool) -> None:
    """List functions.

    \b
    Example:
      lambent ls --json
    """
    found = list(api.functions())
    if as_json:
        output.json(found)
    elif not found:
        output.note("no functions yet; `lambent deploy DIR` creates one")
    else:
        rows = [
            (
                f["FunctionName"],
                f.get("Runtime", ""),
                f.get("Handler", ""),
                f"{f.get('MemorySize', 0)} MB",
                f"{f.get('Timeout', 0)} s",
                f.get("LastModified", "")[:19],
            )
            for f in found
        ]
        output.table(("NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT", "MODIFIED"), rows)


@click.command(short_help="Show one function's configuration.")
@click.argument("function")
@click.option("--qualifier", metavar="VERSION", help="A published version instead of $LATEST.")
@platform_command
def show(api: Api, output: Output, function: str, qualifier: str | None, as_json: bool) -> None:
    """Show one function's configuration.

    \b
    Example:
      lambent show hello-python
    """
    found = api.function("GET", function_path(function), Qualifier=qualifier)
    if as_json:
        output.json(found)
        return
    rows = list(shown(found["Configuration"]))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        output.line(f"{output.style(name.ljust(width), 'dim')}  {text}")


def shown(configuration: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The members that say something, by name, as texts; those inside of others as `LoggingConfig.LogGroup`."""
    for name in sorted(configuration):
        value = configuration[name]
        if isinstance(value, dict):
            yield from shown(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield from ((prefix + name, str(item)) for item in value)
        elif value not in ("", None):
            yield prefix + name, str(value)


@click.command(short_help="Delete a function.")
@click.argument("functions", nargs=-1, required=True, metavar="FUNCTION...")
@platform_command
def rm(api: Api, output: Output, functions: tuple[str, ...], as_json: bool) -> None:
    """Delete a function with all its versions. Its logs stay.

    \b
    Example:
      lambent rm hello-python
    """
    for name in functions:
        api.function("DELETE", function_path(name))
        if as_json:
            output.json({"Deleted": name})
        else:
            output.line(f"deleted {name}")


@click.command(short_help="Publish an immutable version of a function.")
@click.argument("function")
@click.option("--description", help="What is new in it.")
@platform_command
def publish(api: Api, output: Output, function: str, description: str | None, as_json: bool) -> None:
    """Publish an immutable version of a function.

    \b
    Example:
      lambent publish hello-python --description "first release"
    """
    body = {"Description": description} if description else {}
    found = api.function("POST", function_path(function, "/versions"), body)
    if as_json:
        output.json(found)
    else:
        output.line(f"{found['FunctionName']} version {found['Version']}")
