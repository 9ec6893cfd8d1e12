"""The command line as a program: exit codes, one-line errors, JSON, colours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.cli.main import COMMANDS
from lambent.cli.output import Output
from platform_fixture import bare_environment, lambent


def test_help_lists_every_command_and_imports_none() -> None:
    done = lambent("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


def test_help_needs_neither_the_platform_nor_a_client_library() -> None:
    program = "import sys, lambent.cli.main as m; m.run(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], env=bare_environment(), capture_output=True, text=True)
    loaded = done.stderr
    for heavy in ("'boto3'", "'botocore'", "'nats'", "'uvloop'", "'lambent.wiring'", "'msgspec'"):
        assert heavy not in loaded


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("deplyo",), 2, "did you mean `lambent deploy`?"),
        (("frobnicate",), 2, "lambent: there is no command 'frobnicate' (`lambent --help` shows how)\n"),
        (("--nonsense",), 2, "--nonsense"),
        (("invoke",), 2, "FUNCTION"),
        (("up", "--api-port", "many"), 2, "not a valid integer"),
        (("up", "--api-port", "70000"), 1, "lambent: --api-port must be a whole number from 0 to 65535, not 70000\n"),
        (("bind", "-f", "hello", "hello"), 2, "does not start with /"),
        (("completion",), 2, "bash"),
        (("up", "--config", "/nowhere.toml"), 1, "cannot read the settings file"),
        (("deploy", "/nowhere"), 2, "does not exist"),
        (("completion", "tcsh"), 2, "tcsh"),
    ],
)
def test_mistakes_are_one_line_and_the_right_exit_code(arguments: tuple[str, ...], status: int, text: str) -> None:
    done = lambent(*arguments)
    assert done.returncode == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [(), ("nats",)], ids=" ".join)
def test_a_command_without_its_words_prints_its_help_and_nothing_else(arguments: tuple[str, ...]) -> None:
    done = lambent(*arguments)
    assert done.returncode == 2
    assert done.stderr == lambent(*arguments, "--help").stdout
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls",),
        ("show", "f"),
        ("invoke", "f"),
        ("logs", "f"),
        ("env",),
        ("runtimes",),
        ("bindings",),
        ("rm", "f"),
        ("publish", "f"),
        ("bind", "-f", "f", "/p"),
        ("unbind", "/p"),
        ("nats", "bind", "-f", "f", "s"),
        ("nats", "unbind", "s"),
    ],
    ids=" ".join,
)
def test_without_a_platform_a_command_says_how_to_start_one(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = lambent(*arguments, "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "lambent up" in done.stderr
    assert done.stderr.count("\n") == 1


def test_errors_are_json_when_json_was_asked_for(tmp_path: Path) -> None:
    done = lambent("ls", "--json", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "no platform runs" in json.loads(done.stderr)["error"]["message"]


def test_a_platform_that_was_killed_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    left = {"api_url": "http://127.0.0.1:1", "region": "us-east-1", "access_key_id": "k", "secret_access_key": "s"}
    (tmp_path / "endpoint.json").write_text(json.dumps({**left, "pid": 2**22 + 1}))
    done = lambent("ls", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "no platform runs" in done.stderr


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '"text"'])
def test_a_damaged_endpoint_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "endpoint.json").write_text(content)
    done = lambent("ls", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path / 'endpoint.json'} is damaged" in done.stderr


def test_an_endpoint_that_does_not_answer_is_named(tmp_path: Path) -> None:
    environment = bare_environment() | {
        "LAMBENT_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    done = lambent("ls", environment=environment)
    assert done.returncode == 1
    assert "nothing answers at http://127.0.0.1:1" in done.stderr


def test_an_endpoint_without_credentials_says_what_is_missing() -> None:
    done = lambent("ls", environment=bare_environment() | {"LAMBENT_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert done.returncode == 1
    assert "AWS_ACCESS_KEY_ID" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    done = lambent("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_LAMBENT_COMPLETE" in done.stdout


def test_completion_completes_commands_and_options() -> None:
    environment = bare_environment() | {
        "_LAMBENT_COMPLETE": "bash_complete",
        "COMP_WORDS": "lambent dep",
        "COMP_CWORD": "1",
    }
    done = lambent(environment=environment)
    assert "deploy" in done.stdout


@pytest.mark.parametrize(
    ("environment", "terminal", "coloured"),
    [({}, True, True), ({}, False, False), ({"NO_COLOR": "1"}, True, False), ({"TERM": "dumb"}, True, False)],
)
def test_colours_are_for_terminals_that_want_them(
    environment: dict[str, str], terminal: bool, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    text = Output.of(environment).style("x", "red")
    assert text == ("\x1b[31mx\x1b[0m" if coloured else "x")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lambent.cli", "completion", "bash"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        env=bare_environment(),
        text=True,
    )
    os.close(write_end)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
