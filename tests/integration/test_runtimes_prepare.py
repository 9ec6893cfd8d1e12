"""The folder of Python functions: made once for all data directories, compiled for each Python, whatever interrupts it."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.clock import FixedClock
from lambent.runtimes import python_sdk
from lambent.runtimes.contract import Family
from lambent.runtimes.interpreters import Interpreter
from lambent.runtimes.prepare import Compiler, compile_all, uncompiled
from lambent.runtimes.python_sdk import compile_for, is_compiled, prepare_python, python_caches
from lambent.runtimes.sdk import Sdk

MINOR = sys.version_info[1]
OWN = Interpreter(sys.executable, sys.prefix, f"3.{MINOR}.0")
#: Says what importing it read: the compiled file, or the source.
PROBE = """
import importlib.util, sys
sys.path.insert(0, sys.argv[1])
import _lambent_guest, boto3, botocore.client
for module in (_lambent_guest, boto3, botocore.client):
    with open(module.__cached__, "rb") as file:
        print(int.from_bytes(file.read(8)[4:], "little"))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is compiled for this Python. Tests copy it, or leave it as it is."""
    folder = prepare_python([tmp_path_factory.mktemp("cache")])
    # As on a machine whose pip has not compiled anything.
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
    assert not is_compiled(folder, MINOR)
    assert compile_for(folder, OWN) == ""
    return folder


def test_compiled_files_are_used_whatever_time_the_sources_have(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "copy", copy_function=shutil.copyfile))
    assert is_compiled(folder, MINOR)
    printed = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", PROBE, str(folder)], capture_output=True, text=True, check=True
    )
    assert printed.stdout.split() == ["1", "1", "1"], "1 is PEP 552's unchecked hash"


def test_every_file_may_be_read_by_sandboxes(made: Path) -> None:
    for path in made.rglob("*"):
        assert path.stat().st_mode & (0o005 if path.is_dir() else 0o004), path


def test_files_are_readable_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = prepare_python([tmp_path / "cache"])
        assert compile_for(folder, OWN) == ""
    finally:
        os.umask(before)
    for path in folder.rglob("*"):
        assert path.stat().st_mode & (0o005 if path.is_dir() else 0o004), path


def test_a_compiler_that_was_stopped_goes_on_and_clears_what_it_left(tmp_path: Path, made: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "copy", copy_function=os.link))
    tag = sys.implementation.cache_tag
    (folder / "__pycache__" / f"_lambent_guest.{tag}.pyc").unlink()
    lost = folder / "botocore" / "__pycache__" / f"client.{tag}.pyc"
    lost.unlink()
    half = folder / "boto3" / "__pycache__" / f"session.{tag}.pyc.140305"
    half.write_bytes(b"half")
    kept = folder / "boto3" / "__pycache__" / f"session.{tag}.pyc"
    before = kept.stat().st_ino
    assert not is_compiled(folder, MINOR)
    assert compile_for(folder, OWN) == ""
    assert is_compiled(folder, MINOR)
    assert lost.exists() and not half.exists()
    assert kept.stat().st_ino == before


def test_compiled_file_of_another_version_is_made_anew(tmp_path: Path, made: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "copy", copy_function=os.link))
    other = folder / "boto3" / "__pycache__" / f"session.{sys.implementation.cache_tag}.pyc"
    other.unlink()
    other.write_bytes(b"\x00\x00\r\n" + bytes(20))
    (folder / "__pycache__" / f"_lambent_guest.{sys.implementation.cache_tag}.pyc").unlink()
    assert compile_for(folder, OWN) == ""
    assert other.stat().st_size > 1000


def test_interpreter_that_fails_is_said_and_the_others_are_compiled(tmp_path: Path) -> None:
    folder = prepare_python([tmp_path / "cache"])
    broken = tmp_path / "python3.9"
    broken.write_text("#!/bin/sh\necho first\necho it is broken\nexit 3\n")
    broken.chmod(0o755)
    said: list[str] = []
    interpreters = [Interpreter(str(broken), "", "3.9.1"), Interpreter(str(tmp_path / "gone"), "", "3.8.1"), OWN]
    assert compile_all(folder, interpreters, 2, said.append) == 1
    assert sum("compiled for Python 3." in line and "not compiled" not in line for line in said) == 1
    assert "not compiled for Python 3.9.1: it is broken" in said
    assert [line for line in said if line.startswith("not compiled for Python 3.8.1: ") and "gone" in line]
    assert (is_compiled(folder, 9), is_compiled(folder, MINOR)) == (False, True)


def test_first_cache_that_has_it_or_can_be_written_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    blocked, first, second = tmp_path / "file" / "cache", tmp_path / "first", tmp_path / "second"
    folder = prepare_python([blocked, second])
    assert folder.parent == second
    assert prepare_python([first, second]) == folder
    assert not first.exists()
    with pytest.raises(OSError):
        prepare_python([blocked])


def test_all_data_directories_of_an_installation_share_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    folders = {
        Sdk(tmp_path / name / "runtimes", (), FixedClock(), python=[shared, tmp_path / name]).prepare()[Family.PYTHON]
        for name in ("a", "b")
    }
    assert [folder.parent for folder in folders] == [shared]


def test_shared_cache_lies_in_the_environment_and_nowhere_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", "/somewhere/.venv")
    assert python_caches(tmp_path) == [Path("/somewhere/.venv/share/lambent"), tmp_path]
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert python_caches(tmp_path) == [tmp_path]


def test_another_guest_takes_over_what_is_compiled_for_the_packages(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(made, cache / made.name, copy_function=os.link)
    guest = Path(shutil.copytree(python_sdk.GUEST, tmp_path / "guest"))
    shutil.rmtree(guest / "__pycache__", ignore_errors=True)
    (guest / "_lambent_guest.py").write_text("changed = True\n")
    monkeypatch.setattr(python_sdk, "GUEST", guest)
    folder = prepare_python([cache])
    assert folder != cache / made.name
    assert (folder / "_lambent_guest.py").read_text() == "changed = True\n"
    name = f"client.{sys.implementation.cache_tag}.pyc"
    compiled = folder / "botocore" / "__pycache__" / name
    assert compiled.samefile(made / "botocore" / "__pycache__" / name)
    assert not is_compiled(folder, MINOR)
    assert compile_for(folder, OWN) == ""


def test_note_says_what_is_not_compiled_yet(tmp_path: Path) -> None:
    sdk = Sdk(tmp_path, (), FixedClock())
    folder = sdk.prepare()[Family.PYTHON]
    assert "not compiled for it yet" in sdk.note(f"python3.{MINOR}")
    assert sdk.note("python3.9") == ""
    assert compile_for(folder, OWN) == ""
    assert sdk.note(f"python3.{MINOR}") == ""


def wait_for_end(compiler: Compiler) -> None:
    assert compiler.process is not None
    compiler.process.wait(120)


def test_background_compiles_what_is_left_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    compiler = Compiler([cache])
    compiler.start()
    try:
        wait_for_end(compiler)
        folder = prepare_python([cache])
        assert uncompiled(folder) == []
        again = Compiler([cache])
        again.start()
        assert again.process is None
    finally:
        compiler.stop()
        compiler.stop()


def test_background_leaves_it_to_another_that_is_at_it(tmp_path: Path) -> None:
    folder = prepare_python([tmp_path])
    lock = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    compiler = Compiler([tmp_path])
    compiler.start()
    try:
        wait_for_end(compiler)
        assert not is_compiled(folder, MINOR)
    finally:
        compiler.stop()
        os.close(lock)


def test_stop_ends_the_compiler_and_what_it_started(tmp_path: Path) -> None:
    compiler = Compiler([tmp_path])
    compiler.start()
    process = compiler.process
    assert process is not None
    compiler.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_start_without_any_place_is_left_to_the_one_who_needs_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    compiler = Compiler([tmp_path / "file" / "cache"])
    compiler.start()
    assert compiler.process is None
    compiler.stop()
