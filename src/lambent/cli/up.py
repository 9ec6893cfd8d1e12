"""`lambent up`: the platform in the foreground. Its options are the table of settings."""

import time
from pathlib import Path
from typing import Any

import click

from lambent import __version__, settings
from lambent.cli.output import Output


def settings_options(command: Any) -> Any:
    """One option for each row of `settings.TABLE`. Defaults stay with the table, so that file and environment come between."""
    for row in reversed(settings.TABLE):
        help_text = f"{row.help} [default: {row.default!s}]" if row.default != "" else row.help
        if isinstance(row.default, bool):
            option = click.option(f"{row.flag}/--no-{row.flag[2:]}", row.name, default=None, help=help_text)
        elif row.choices:
            option = click.option(row.flag, row.name, type=click.Choice(row.choices), help=help_text)
        elif isinstance(row.default, int):
            option = click.option(row.flag, row.name, type=int, metavar="N", help=help_text)
        else:
            option = click.option(row.flag, row.name, metavar="TEXT", help=help_text)
        command = option(command)
    return command


@click.command(short_help="Start the platform and serve until Ctrl-C.")
@settings_options
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="TOML file with settings by name.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when ready instead of the summary.")
@click.pass_obj
def up(output: Output, /, config: Path | None, as_json: bool, **flags: Any) -> int:
    """Start the platform and serve until Ctrl-C.

    Settings come from these options, else from LAMBENT_* variables, else from --config. Port 0 takes a free port.

    \b
    Examples:
      lambent up
      lambent up --data-dir /srv/lambent --listen 0.0.0.0
      lambent up --api-port 0 --http-port 0 --nats-port 0 --json
    """
    begun = time.monotonic()
    chosen = settings.load(flags, output.environment, config)
    if chosen.isolation == "process":
        warn_of_no_isolation(output)
    from lambent import wiring
    from lambent.observe import platform_log

    platform_log.set_up()

    def on_ready(ready: wiring.Ready) -> None:
        if as_json:
            import msgspec

            output.json(msgspec.to_builtins(ready))
        else:
            summary(output, ready, time.monotonic() - begun)

    def on_stop() -> None:
        if not as_json:
            output.note(f"stopping; calls that run have {chosen.shutdown_grace_seconds} s to finish")

    return wiring.serve_platform(chosen, on_ready, on_stop)


def warn_of_no_isolation(output: Output) -> None:
    output.warn("--isolation=process: functions run as plain processes of this user.")
    output.warn("They can read its files, reach its network and see each other; limits are not enforced.")
    output.warn("Use it for code that you trust only.")


def summary(output: Output, ready: Any, seconds: float) -> None:
    """What a person wants to know after the start. `ready` is `wiring.Ready`."""

    def row(name: str, value: str, detail: str = "") -> None:
        output.line(f"  {output.style(name.ljust(11), 'dim')}{value.ljust(28) if detail else value}{detail}".rstrip())

    output.line(f"{output.style(f'Lambent {__version__}', 'bold')} is ready after {seconds:.2f} s")
    output.line()
    row("AWS API", ready.api_url, f"account {ready.account}, region {ready.region}")
    row("HTTP", ready.http_url)
    row("NATS", ready.nats_url)
    row("isolation", isolation_text(ready))
    row("data", ready.data_dir)
    output.line()
    for sentence in ready.weaker:
        output.warn(sentence)
    option = "" if ready.data_dir == settings.load({}, {}).data_dir else f" --data-dir {ready.data_dir}"
    output.line(f"  next: ./lambent deploy examples/hello-python{option}")
    output.line(f'        eval "$(./lambent env{option})" && aws lambda list-functions')
    output.line("  Ctrl-C stops it.")


def isolation_text(ready: Any) -> str:
    if ready.isolation == "process":
        return "none (plain processes)"
    return f"{ready.isolation}: namespaces, seccomp, cgroups {ready.cgroups}"
