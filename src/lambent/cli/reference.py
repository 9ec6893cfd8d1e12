"""`lambent docs`: writes docs/reference from the code, and checks that it is up to date. Also `python -m lambent.cli.reference`."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

import lambent
from lambent import settings
from lambent.cli.develop import checkout
from lambent.cli.output import Output
from lambent.errors import LambentError

_GENERATED = "<!-- Made by `lambent docs --write`; edit the source and not this file. -->\n\n"


class OutOfDate(LambentError):
    """A reference page is not what the code says."""


def settings_page() -> str:
    """docs/reference/settings.md."""
    lines = [
        "# Settings",
        "",
        "Taken from the options of `lambent up`, else from the environment, else from the TOML file named with `--config`"
        " (by the setting's name), else the default. Port 0 takes a free port.",
        "",
        "| setting | option | variable | default | allowed | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for row in settings.TABLE:
        default = f"`{row.default}`" if row.default != "" else "(empty)"
        if isinstance(row.default, bool):
            default = f"`{str(row.default).lower()}`"
        cells = (f"`{row.name}`", f"`{row.flag}`", f"`{row.variable}`", default, _allowed(row), row.help)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _allowed(row: settings.Setting) -> str:
    if row.choices:
        return ", ".join(f"`{choice}`" for choice in row.choices)
    if isinstance(row.default, bool):
        return "`true`, `false`"
    return f"{row.minimum} to {row.maximum}" if row.minimum is not None else "text"


def cli_page() -> str:
    """docs/reference/cli.md: the help of every command, at a fixed width so that it does not depend on the terminal."""
    from lambent.cli.main import cli

    parts = ["# Command line\n"]
    for path, command in commands(cli, ("lambent",)):
        context = click.Context(command, info_name=" ".join(path), terminal_width=100, max_content_width=100)
        context.help_option_names = ["-h", "--help"]
        parts.append(f"## `{' '.join(path)}`\n\n```text\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, each with its words."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


def errors_page() -> str:
    """docs/reference/errors.md: every expected failure, from its class."""
    lines = [
        "# Errors",
        "",
        "What can be expected to go wrong, by the room that finds it out. AWS clients see AWS's own codes; these are the"
        " names in logs and on the command line. Anything else that fails is a mistake in Lambent and is answered with an id"
        " that the platform's log repeats.",
        "",
        "| error | room | meaning |",
        "|---|---|---|",
    ]
    found = sorted(expected_failures(), key=lambda kind: (kind.__module__, kind.__name__))
    for kind in found:
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        meaning = meaning or "As the name says."
        room = kind.__module__.removeprefix("lambent.").split(".")[0]
        lines.append(f"| `{kind.__name__}` | {room} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def expected_failures() -> set[type[LambentError]]:
    """All subclasses of `LambentError`, after importing every module but programs and guests."""
    for module in pkgutil.walk_packages(lambent.__path__, "lambent."):
        if not module.name.endswith("__main__") and ".guest" not in module.name:
            importlib.import_module(module.name)
    pending, found = [LambentError], set[type[LambentError]]()
    while pending:
        for kind in pending.pop().__subclasses__():
            if kind not in found and kind.__module__.startswith("lambent."):
                found.add(kind)
                pending.append(kind)
    return found


class _Unused:
    """Stands for every part that a service is built from: to list its operations none of them is called."""

    def __getattr__(self, name: str) -> "_Unused":
        return self

    def __call__(self, *args: object, **kwargs: object) -> "_Unused":
        return self


def _built(service: Callable[..., Any], **given: Any) -> Any:
    """A service whose parts are placeholders, but for those that are given."""
    needed = [p for p in inspect.signature(service).parameters.values() if p.default is inspect.Parameter.empty]
    keywords = {p.name: _Unused() for p in needed if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return service(*[_Unused() for p in needed if p.name not in keywords], **keywords, **given)


def operations_page() -> str:
    """docs/reference/operations.md: what is implemented of each AWS service."""
    from lambent.aws import reference
    from lambent.services import lambent_
    from lambent.services.iam.service import IamService
    from lambent.services.lambda_.service import LambdaService
    from lambent.services.lambent_.service import service as lambent_service
    from lambent.services.logs.service import LogsService
    from lambent.services.sts.service import StsService

    services = [_built(kind).service() for kind in (LogsService, StsService, IamService)]
    services += [_built(LambdaService, link_secret=b"unused").service(), _built(lambent_service)]
    return reference.operations_page(services, [lambent_.MODELS])


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "operations.md": operations_page,
    "errors.md": errors_page,
}


def stale_pages(folder: Path) -> dict[Path, str]:
    """Pages that are not what the code says, with what they should be."""
    stale = {}
    for name, page in PAGES.items():
        path, text = folder / name, _GENERATED + page()
        if not path.exists() or path.read_text() != text:
            stale[path] = text
    return stale


@click.command(short_help="Write or check the generated reference pages.")
@click.option(
    "--write/--check", default=False, help="Write the pages, or only say which are out of date (the default)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the names of the pages that were out of date as JSON.")
@click.pass_obj
def docs(output: Output, /, write: bool, as_json: bool) -> int:
    """Write or check the generated reference pages in docs/reference.

    \b
    Example:
      lambent docs --write
    """
    folder = checkout("docs") / "reference"
    folder.mkdir(exist_ok=True)
    stale = stale_pages(folder)
    if write:
        for path, text in stale.items():
            path.write_text(text)
    if as_json:
        output.json([path.name for path in stale])
    else:
        for path in stale:
            output.line(f"{'wrote' if write else 'out of date:'} {path.relative_to(folder.parents[1])}")
    if stale and not write:
        raise OutOfDate("docs/reference is not what the code says; run `lambent docs --write`")
    return 0


if __name__ == "__main__":
    from lambent.cli.main import main

    main(["docs", *sys.argv[1:]])
