"""The command `lambent`: the list of commands, loaded one by one when they run, and the one place where errors become text."""

import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import click

from lambent import __version__
from lambent.cli.output import Output
from lambent.errors import LambentError

#: Exit codes: what was asked for did not work; it was asked in a form that is not understood; Ctrl-C.
FAILURE, USAGE, INTERRUPTED = 1, 2, 130


class Entry(NamedTuple):
    """Where a command lives: `module` under `lambent.cli`, its attribute, and the line that `lambent --help` shows.

    The line stands here so that the list can be shown without importing anything; a test compares it with the command's own.
    """

    module: str
    attribute: str
    summary: str


#: In the order in which a newcomer meets them.
COMMANDS: dict[str, Entry] = {
    "up": Entry("up", "up", "Start the platform and serve until Ctrl-C."),
    "demo": Entry("demo", "demo", "Start a platform, deploy the examples and call each of them."),
    "doctor": Entry("doctor", "doctor", "Check this machine and say what is missing."),
    "env": Entry("env", "env", "Print the exports that point AWS and NATS clients at the platform."),
    "deploy": Entry("deploy", "deploy", "Create or update a function from a folder or a zip file."),
    "invoke": Entry("invoke", "invoke", "Call a function and print its result."),
    "logs": Entry("logs", "logs", "Print what a function logged."),
    "ls": Entry("functions", "ls", "List functions."),
    "show": Entry("functions", "show", "Show one function's configuration."),
    "rm": Entry("functions", "rm", "Delete a function."),
    "publish": Entry("functions", "publish", "Publish an immutable version of a function."),
    "bind": Entry("bindings", "bind", "Serve a function at an HTTP path."),
    "unbind": Entry("bindings", "unbind", "Stop serving a function at an HTTP path."),
    "nats": Entry("bindings", "nats", "Bind functions to NATS subjects."),
    "bindings": Entry("bindings", "bindings", "List HTTP and NATS bindings."),
    "runtimes": Entry("runtimes", "runtimes", "List runtime identifiers and what serves them here."),
    "run": Entry("run", "run", "Run a handler once, without the platform."),
    "test": Entry("develop", "test", "Run Lambent's own test suite."),
    "bench": Entry("develop", "bench", "Measure Lambent on this machine."),
    "docs": Entry("reference", "docs", "Write or check the generated reference pages."),
    "completion": Entry("completion", "completion", "Print a shell completion script."),
}


class Commands(click.Group):
    """A group that knows its commands by name and imports them on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(f"lambent.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean `lambent {near[0]}`?" if near else ""
            raise click.UsageError(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with `lambent demo`. Each command has --help with an example.",
)
@click.version_option(__version__, prog_name="lambent", message="%(prog)s %(version)s")
def cli() -> None:
    """Lambent: a self-hosted AWS Lambda on NATS.

    Functions run in sandboxes without Docker and answer the AWS API, HTTP and NATS.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits with its code: 0, 1 (failure), 2 (usage), 130 (interrupted)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(words))


def run(words: list[str]) -> int:
    """One command; returns the exit code. What is expected to go wrong ends as one line on stderr, never as a traceback."""
    output = Output.of(os.environ)
    as_json = "--json" in words
    try:
        status = cli.main(args=words, prog_name="lambent", standalone_mode=False, obj=output)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        # A command that needs more words and got none: the error's text is its help.
        output.note(error.format_message())
        return USAGE
    except click.UsageError as error:
        return _usage(error, output)
    except click.ClickException as error:
        return _failed(output, as_json, error.format_message())
    except LambentError as error:
        return _failed(output, as_json, str(error), getattr(error, "code", ""))
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain once more while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _usage(error: click.UsageError, output: Output) -> int:
    where = error.ctx.command_path if error.ctx else "lambent"
    text = " ".join(error.format_message().split()).rstrip(".")
    output.error(f"{text} (`{where} --help` shows how)")
    return USAGE


def _failed(output: Output, as_json: bool, message: str, code: str = "") -> int:
    if as_json:
        body: dict[str, Any] = {"message": message} | ({"code": code} if code else {})
        print(json.dumps({"error": body}), file=sys.stderr)
    else:
        output.error(message)
    return FAILURE
