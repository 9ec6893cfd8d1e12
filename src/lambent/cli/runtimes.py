"""`lambent runtimes`: which runtime identifiers can be used here, and why the others cannot."""

from typing import Any

import click

from lambent.cli.api import Api
from lambent.cli.endpoint import platform_command
from lambent.cli.output import Output


@click.command(short_help="List runtime identifiers and what serves them here.")
@platform_command
def runtimes(api: Api, output: Output, as_json: bool) -> None:
    """List runtime identifiers and what serves them here.

    \b
    Example:
      lambent runtimes
    """
    found: list[dict[str, Any]] = api.platform("GET", "/runtimes").get("Runtimes", [])
    if as_json:
        output.json(found)
        return
    rows = [
        (
            r["Identifier"],
            "no" if r.get("Unavailable") else "yes",
            r.get("Version", ""),
            r.get("Unavailable") or r.get("Note") or r.get("Interpreter", ""),
        )
        for r in found
    ]
    output.table(("IDENTIFIER", "USABLE", "VERSION", "SERVED BY, OR WHAT IS MISSING"), rows)
