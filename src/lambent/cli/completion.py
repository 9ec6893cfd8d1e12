"""`lambent completion`: what to add to a shell's start file."""

import click
from click.shell_completion import get_completion_class


@click.command(short_help="Print a shell completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell completion script.

    \b
    Example:
      lambent completion bash > ~/.local/share/bash-completion/completions/lambent
    """
    from lambent.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    # The constructor asks the installed bash for its version; the script itself does not depend on it.
    print(kind(cli, {}, "lambent", "_LAMBENT_COMPLETE").source())
