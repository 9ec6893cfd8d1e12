"""Generated pages are what the code says; links and commands in the written ones lead somewhere."""

import re
from pathlib import Path

import click
import pytest

from lambent.cli import reference
from lambent.cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_generated_pages_are_up_to_date() -> None:
    stale = reference.stale_pages(ROOT / "docs" / "reference")
    assert not stale, f"run `lambent docs --write`: {sorted(path.name for path in stale)}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{target} is not there"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_pages_are_commands(page: Path) -> None:
    for command in re.findall(r"(?:^|[`(\s])(?:\./)?lambent ([a-z]+)", page.read_text(), re.MULTILINE):
        if f"`lambent {command}" in page.read_text() or f"./lambent {command}" in page.read_text():
            assert command in COMMANDS, f"there is no command {command}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_in_pages_are_options_of_their_commands(page: Path) -> None:
    known = {path: option_names(command) for path, command in reference.commands(cli, ())}
    for line in re.findall(r"^(?:\$ )?\./lambent (.*)$", page.read_text(), re.MULTILINE):
        words = re.sub(r"\$\([^)]*\)", "", line).split()
        path: tuple[str, ...] = ()
        while words and (*path, words[0]) in known:
            path = (*path, words.pop(0))
        used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        # What follows a pytest or bench command goes to those.
        if path not in (("test",), ("bench",)):
            assert used <= known[path], f"`lambent {line}`: {used - known[path]}"


def option_names(command: click.Command) -> set[str]:
    names = {"-h", "--help"}
    for parameter in command.params:
        names |= {*parameter.opts, *parameter.secondary_opts}
    return names


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_command_says(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.short_help == COMMANDS[name].summary
    assert command.help is not None
    # `\b` keeps click from joining the lines of the example.
    if not isinstance(command, click.Group):
        assert "Example" in command.help


def test_every_command_that_answers_something_can_answer_in_json() -> None:
    exempt = {("completion",), ("test",), ("bench",)}
    for path, command in reference.commands(cli, ()):
        if path and not isinstance(command, click.Group) and path not in exempt:
            assert "--json" in option_names(command), f"{path} has no --json"


def test_every_run_time_dependency_has_its_reason() -> None:
    named = (ROOT / "requirements" / "run.in").read_text().split()
    text = (ROOT / "docs" / "decisions" / "README.md").read_text()
    missing = [name for name in named if f"| `{name}` |" not in text]
    assert not missing


def test_every_example_has_what_the_demo_and_the_docs_rely_on() -> None:
    folders = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir() and path.name != "__pycache__")
    assert folders
    table = (ROOT / "examples" / "README.md").read_text()
    for folder in folders:
        assert (folder / "README.md").read_text().startswith(f"# {folder.name}\n")
        assert (folder / "event.json").exists()
        assert f"| `{folder.name}` |" in table
