"""`lambent run`: a handler once, without the platform, as a plain process of this user."""

import sys
from pathlib import Path

import click

from lambent.cli.deploy import variables
from lambent.cli.guess import guess
from lambent.cli.invoke import CannotRead
from lambent.cli.output import Output


@click.command(short_help="Run a handler once, without the platform.")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-e", "--event", metavar="FILE", help="File with the event as JSON, or - for stdin; {} unless given.")
@click.option("--handler", help="Handler, such as app.handler; guessed unless given.")
@click.option("--runtime", help="Runtime identifier; guessed unless given.")
@click.option(
    "--timeout", type=click.IntRange(1, 900), default=3, show_default=True, metavar="SECONDS", help="Time-out."
)
@click.option(
    "--memory", type=int, default=128, show_default=True, metavar="MB", help="What the context says; not enforced."
)
@click.option("--env", "env", multiple=True, metavar="NAME=VALUE", help="Environment variable; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print result, error and timing as JSON.")
@click.pass_obj
def run(
    output: Output,
    /,
    folder: Path,
    event: str | None,
    handler: str | None,
    runtime: str | None,
    timeout: int,
    memory: int,
    env: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run a handler once, without the platform.

    The handler runs as a plain process of this user: nothing is isolated, and the time-out is the only limit. The result goes
    to stdout, what the handler prints to stderr. The exit code is 1 when the handler failed.

    \b
    Example:
      lambent run examples/hello-python -e examples/hello-python/event.json
    """
    from lambent.runtimes import local

    if handler is None or runtime is None:
        names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
        guessed = guess(names, lambda name: (folder / name).read_text(errors="replace"))
        handler, runtime = handler or guessed.handler, runtime or guessed.family
    done = local.run_once(
        folder.resolve(),
        handler=handler,
        runtime=runtime,
        event=_event(event),
        timeout_s=timeout,
        memory_mb=memory,
        variables=variables(env) or {},
        log=lambda text: output.note(text.rstrip("\n")),
    )
    failed = bool(done.error_type)
    text = done.payload.decode("utf-8", "replace")
    if as_json:
        output.json({"Payload": text, "ErrorType": done.error_type or None})
    else:
        output.line(text)
        if failed:
            output.error(f"the handler failed ({done.error_type})")
    return 1 if failed else 0


def _event(source: str | None) -> bytes:
    if source is None:
        return b"{}"
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise CannotRead(f"cannot read {source}: {error.strerror}") from error
