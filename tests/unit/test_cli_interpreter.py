"""Which Python the launcher makes its environment from."""

import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from platform_fixture import ROOT


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = ModuleType("launcher")
    module.__file__ = str(ROOT / "lambent")
    exec(SourceFileLoader("launcher", str(ROOT / "lambent")).get_data(str(ROOT / "lambent")), module.__dict__)
    return module


def program(folder: Path, status: int) -> str:
    path = folder / f"python-{status}"
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("running", "system_status", "chosen"),
    [
        ("/home/somebody/.pyenv/bin/python3", 0, "system"),
        ("/home/somebody/.pyenv/bin/python3", 1, "running"),
        ("/usr/bin/python3.12", 0, "running"),
    ],
)
def test_the_systems_own_python_is_taken_where_it_is_new_enough_and_complete(
    launcher: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, running: str, system_status: int, chosen: str
) -> None:
    launcher.SYSTEM = program(tmp_path, system_status)
    monkeypatch.setattr(sys, "executable", running)
    monkeypatch.setattr(launcher.os.path, "realpath", lambda path: path)
    assert launcher.interpreter() == {"system": launcher.SYSTEM, "running": running}[chosen]


def test_without_a_system_python_the_running_one_is_taken(launcher: ModuleType, tmp_path: Path) -> None:
    launcher.SYSTEM = str(tmp_path / "missing")
    assert launcher.interpreter() == str(Path(sys.executable).resolve())
