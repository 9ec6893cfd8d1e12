"""The launcher `./lambent` in small checkouts of their own: first use, updates, interruptions, side by side, odd places."""

import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from platform_fixture import ROOT

#: What stands in for the command line: says with what it runs.
CLI = """
import sys, lampshade
print("package", lampshade.VERSION, "arguments", sys.argv[1:], "prefix", sys.prefix)
"""


class Checkout:
    """A folder with the real launcher, a lock file with one tiny local package, and a stand-in for the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder.parent / "wheels"
        self.wheels.mkdir()
        (folder / "requirements").mkdir(parents=True)
        shutil.copy(ROOT / "lambent", folder / "lambent")
        cli = folder / "src" / "lambent" / "cli"
        cli.mkdir(parents=True)
        (cli / "__init__.py").write_text("")
        (cli.parent / "__init__.py").write_text("")
        (cli / "__main__.py").write_text(CLI)
        self.lock("1.0")

    def lock(self, version: str, digest: str | None = None, name: str = "run") -> None:
        """Writes a lock file that pins the package at this version."""
        wheel = make_wheel(self.wheels, version)
        right = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (self.folder / "requirements" / f"{name}.lock").write_text(
            f"lampshade=={version} \\\n    --hash=sha256:{digest or right}\n"
        )

    def environment(self) -> dict[str, str]:
        dropped = ("LAMBENT_", "PIP_", "PYTHON")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        return kept | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}

    def start(self, *arguments: str, program: Path | None = None, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(program or self.folder / "lambent"), *arguments],
            cwd="/",
            env=self.environment() | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, program: Path | None = None, **variables: str) -> tuple[int, str, str]:
        process = self.start(*arguments, program=program, **variables)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


def make_wheel(folder: Path, version: str) -> Path:
    path = folder / f"lampshade-{version}-py3-none-any.whl"
    if path.exists():
        return path
    info = f"lampshade-{version}.dist-info"
    files = {
        "lampshade.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: lampshade\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    yield Checkout(tmp_path / "checkout")


def test_first_use_sets_up_and_the_second_is_quiet(checkout: Checkout) -> None:
    status, out, err = checkout.run("up", "--json")
    assert status == 0, err
    assert "package 1.0 arguments ['up', '--json']" in out
    assert f"prefix {checkout.folder / '.venv'}" in out
    assert "first use" in err
    status, out, err = checkout.run("ls")
    assert (status, err) == (0, "")
    assert "arguments ['ls']" in out


def test_it_works_through_a_link_and_with_a_click_in_the_current_folder(checkout: Checkout, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere"
    link.symlink_to(checkout.folder / "lambent")
    status, out, err = checkout.run("ls", program=link)
    assert status == 0, err
    assert f"prefix {checkout.folder / '.venv'}" in out
    (tmp_path / "lampshade.py").write_text("raise SystemExit('the wrong one')")
    done = subprocess.run([link, "ls"], cwd=tmp_path, env=checkout.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


#: Stands in for what compiles the folder of Python functions; fails at the end.
PREPARE = """
import os, sys, time
print("compiled for Python 3.99.1 (1 of 2)", flush=True)
with open(os.path.join(sys.prefix, "prepared"), "a") as file:
    file.write("once")
time.sleep(1.5)
print("not compiled for Python 3.98.1: it is broken")
sys.exit(1)
"""


def test_set_up_compiles_for_functions_and_goes_on_when_that_fails(checkout: Checkout) -> None:
    runtimes = checkout.folder / "src" / "lambent" / "runtimes"
    runtimes.mkdir()
    (runtimes / "__init__.py").write_text("")
    (runtimes / "prepare.py").write_text(PREPARE)
    status, out, err = checkout.run("ls")
    assert status == 0, err
    assert "package 1.0" in out
    assert "compiling boto3 for the functions of every Python" in err
    assert "s  compiled for Python 3.99.1 (1 of 2)" in err
    status, out, err = checkout.run("ls")
    assert (status, err) == (0, "")
    assert (checkout.folder / ".venv" / "prepared").read_text() == "once"


def test_a_changed_lock_file_updates_the_environment(checkout: Checkout) -> None:
    assert checkout.run("ls")[0] == 0
    checkout.lock("2.0")
    status, out, err = checkout.run("ls")
    assert status == 0, err
    assert "package 2.0" in out


def test_the_test_command_adds_the_developers_packages(checkout: Checkout) -> None:
    checkout.lock("3.0", name="dev")
    assert "package 1.0" in checkout.run("ls")[1]
    assert "package 3.0" in checkout.run("test", "-k", "x")[1]


def test_a_package_with_another_hash_is_refused_and_leaves_nothing_usable(checkout: Checkout) -> None:
    checkout.lock("1.0", digest="0" * 64)
    status, out, err = checkout.run("ls")
    assert (status, out) == (1, "")
    assert "installing failed" in err
    assert "hashes" in err.lower()
    checkout.lock("1.0")
    status, out, err = checkout.run("ls")
    assert status == 0, err
    assert "package 1.0" in out


def test_an_interrupted_set_up_starts_over(checkout: Checkout) -> None:
    process = checkout.start("ls")
    assert process.stderr is not None
    assert "first use" in process.stderr.readline()
    process.kill()
    process.communicate()
    status, out, err = checkout.run("ls")
    assert status == 0, err
    assert "package 1.0" in out


def test_two_first_starts_side_by_side_both_work(checkout: Checkout) -> None:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(checkout.start("ls")) for _ in range(2)]
        results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert sum("first use" in err for _, err in results) == 1


def test_an_environment_in_a_place_that_cannot_be_written_gets_one_clear_line(
    checkout: Checkout, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    status, out, err = checkout.run("ls", LAMBENT_VENV=str(tmp_path / "file" / "venv"))
    assert (status, out) == (1, "")
    assert "LAMBENT_VENV" in err
    assert err.count("\n") == 1


def test_another_folder_can_hold_the_environment(checkout: Checkout, tmp_path: Path) -> None:
    status, out, err = checkout.run("ls", LAMBENT_VENV=str(tmp_path / "venv"))
    assert status == 0, err
    assert f"prefix {tmp_path / 'venv'}" in out
    assert not (checkout.folder / ".venv").exists()


def test_a_folder_that_is_something_else_is_not_thrown_away(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    status, _, err = checkout.run("ls", LAMBENT_VENV=str(tmp_path / "precious"))
    assert status == 1
    assert "thesis.txt" in err
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_a_moved_checkout_uses_its_own_source(checkout: Checkout, tmp_path: Path) -> None:
    assert checkout.run("ls")[0] == 0
    moved = tmp_path / "moved"
    shutil.copytree(checkout.folder, moved, symlinks=True)
    (moved / "src" / "lambent" / "cli" / "__main__.py").write_text("print('from the new place')")
    status, out, err = checkout.run("ls", program=moved / "lambent")
    assert status == 0, err
    assert out == "from the new place\n"


def test_an_old_python_gets_a_sentence(checkout: Checkout) -> None:
    """The launcher must parse on every Python 3 and check the version before anything else."""
    source = (ROOT / "lambent").read_text().replace("OLDEST = (3, 11)", "OLDEST = (3, 99)")
    (checkout.folder / "lambent").write_text(source)
    status, out, err = checkout.run("ls", PATH="/usr/bin:/bin")
    assert (status, out) == (1, "")
    assert "is needed, this is 3." in err
    assert err.count("\n") == 1
