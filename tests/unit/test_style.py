"""Habits that a reader relies on, checked: size of files, names, what `__init__` tells, who reads the environment."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "lambent"
LONGEST_FILE = 600

#: Rooms and files of these names have no edge: everything ends up in them.
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "impl", "misc", "handler",
         "processor", "v2", "stuff", "shared"}  # fmt: skip

#: The environment is read here and passed on as a value.
ENVIRONMENT_READERS = {"settings.py", "cli/main.py"}

PYTHON = sorted(
    path
    for folder in ("src", "tests", "bench", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
)
PRODUCT = [path for path in PYTHON if path.is_relative_to(SRC)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_a_file_is_one_subject() -> None:
    long = {name_of(path): lines for path in PYTHON if (lines := path.read_text().count("\n")) > LONGEST_FILE}
    assert not long, "these are two subjects each"


def test_no_file_or_folder_has_a_vague_name() -> None:
    def words(path: Path) -> set[str]:
        return {word for part in path.relative_to(ROOT).with_suffix("").parts for word in re.split(r"[_\W]+", part)}

    # `handler.py` is what AWS calls the user's file, so examples may have it.
    vague = [name_of(p) for p in PYTHON if words(p) & VAGUE and not p.is_relative_to(ROOT / "examples")]
    assert not vague


def test_every_package_and_module_says_what_it_is_for() -> None:
    silent = [name_of(path) for path in PRODUCT if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def reads_environment(source: str) -> list[int]:
    """Lines that touch `os.environ` or `os.getenv`, however `os` was imported."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"):
            lines.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            lines += [node.lineno for alias in node.names if alias.name in ("environ", "environb", "getenv")]
    return lines


def test_only_settings_reads_the_environment() -> None:
    # A guest's environment is its function's, which is the contract; it has no settings.
    found = {
        name_of(path): lines
        for path in PRODUCT
        if "guest" not in path.parts
        and path.relative_to(SRC).as_posix() not in ENVIRONMENT_READERS
        and (lines := reads_environment(path.read_text()))
    }
    assert not found, "take the value from Settings, or as an argument"


def test_the_environment_check_sees_every_form() -> None:
    source = "import os\nfrom os import getenv\nos.environ['A']\nos.getenv('A')\nimport os as o\no.environ.get('A')\n"
    assert sorted(reads_environment(source)) == [2, 3, 4, 6]


def swallows(source: str) -> list[int]:
    """Lines of `except Exception: pass` and of `except:` with nothing in it: they hide mistakes of ours."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            wide = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            if wide and all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body):
                lines.append(node.lineno)
    return lines


def test_nothing_is_swallowed() -> None:
    found = {name_of(path): lines for path in PRODUCT if (lines := swallows(path.read_text()))}
    assert not found


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.lock")), ids=name_of)
def test_lock_files_have_hashes_and_no_hosts(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "index-url" not in text
    packages = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert packages
    assert all("==" in line for line in packages)
    blocks = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert all("--hash=sha256:" in block for block in blocks if re.match(r"[a-z0-9]", block))
