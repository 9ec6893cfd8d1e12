"""`lambent test` and `lambent bench`: what a developer of Lambent runs, from a checkout only."""

import subprocess
import sys
from pathlib import Path

import click

from lambent.errors import LambentError

ROOT = Path(__file__).resolve().parents[3]


class NoCheckout(LambentError):
    """The command needs files that only a checkout has."""


def checkout(folder: str) -> Path:
    """The path of a folder of the checkout. Raises `NoCheckout`."""
    path = ROOT / folder
    if not path.is_dir():
        raise NoCheckout(f"{path} is not there: this command works in a checkout of Lambent's repository")
    return path


_PASS_ON = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


@click.command(context_settings=_PASS_ON, short_help="Run Lambent's own test suite.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENTS]...")
def test(arguments: tuple[str, ...]) -> int:
    """Run Lambent's own test suite, two tests at a time. Arguments go to pytest.

    \b
    Examples:
      lambent test
      lambent test tests/unit -k package
      lambent test -n 0 -x tests/system/test_demo.py
    """
    checkout("tests")
    workers = () if any(a.startswith(("-n", "--numprocesses", "-p")) for a in arguments) else ("-n", "2")
    return subprocess.call([sys.executable, "-P", "-m", "pytest", *workers, *arguments], cwd=ROOT)


@click.command(context_settings=_PASS_ON, short_help="Measure Lambent on this machine.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[BENCH ARGUMENTS]...")
def bench(arguments: tuple[str, ...]) -> int:
    """Measure Lambent on this machine and print one table. Arguments go to the bench.

    \b
    Example:
      lambent bench
    """
    program = checkout("bench") / "run.py"
    if not program.exists():
        raise NoCheckout(f"{program} is not there")
    return subprocess.call([sys.executable, str(program), *arguments], cwd=ROOT)
