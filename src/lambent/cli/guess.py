"""Which runtime and handler a package is made for, decided from its file names and a look into them."""

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from lambent.errors import LambentError

#: Names under which handlers are usually found, the most usual first.
_PYTHON_FILES = ("lambda_function.py", "app.py", "main.py", "handler.py", "index.py")
_PYTHON_FUNCTIONS = ("lambda_handler", "handler", "main")
_NODE_FILES = ("index.mjs", "index.js", "index.cjs", "app.mjs", "app.js", "main.js", "handler.js")
_NODE_FUNCTIONS = ("handler", "lambdaHandler", "main")


class CannotGuess(LambentError):
    """The package does not tell what it is made for."""


class Guess(NamedTuple):
    """`family` is `python`, `nodejs` or `provided`; `handler` in AWS's form."""

    family: str
    handler: str


def guess(names: Iterable[str], read: Callable[[str], str]) -> Guess:
    """What the package holds. `read` gives a file's text. Raises `CannotGuess`.

    A `bootstrap` wins, because only custom runtimes look for one; then Node.js, then Python, by the usual file names.
    """
    top = {name for name in names if "/" not in name}
    if "bootstrap" in top:
        return Guess("provided", "bootstrap")
    node = _node_file(top, set(names), read)
    if node:
        return Guess("nodejs", f"{node.rsplit('.', 1)[0]}.{_node_function(read(node))}")
    python = next((name for name in _PYTHON_FILES if name in top), "") or _only(top, ".py")
    if python:
        return Guess("python", f"{python.removesuffix('.py')}.{_python_function(read(python))}")
    raise CannotGuess(
        "no bootstrap, index.js, index.mjs, package.json, lambda_function.py, app.py, main.py or handler.py was found; "
        "name the runtime and the handler: --runtime python3.12 --handler file.function"
    )


def _only(top: set[str], suffix: str) -> str:
    """The one file with this suffix, if there is exactly one."""
    found = [name for name in top if name.endswith(suffix)]
    return found[0] if len(found) == 1 else ""


def _node_file(top: set[str], names: set[str], read: Callable[[str], str]) -> str:
    if "package.json" in top:
        try:
            main = json.loads(read("package.json")).get("main", "")
        except (ValueError, AttributeError):
            main = ""
        main = str(main).removeprefix("./")
        if main in names:
            return main
        if f"{main}.js" in names:
            return f"{main}.js"
    return next((name for name in _NODE_FILES if name in top), "") or _only(top, ".mjs") or _only(top, ".js")


def _python_function(source: str) -> str:
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return _PYTHON_FUNCTIONS[0]
    functions = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assigned = [t.id for node in body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)]
    usual = [name for name in _PYTHON_FUNCTIONS if name in functions or name in assigned]
    return (usual or functions or [_PYTHON_FUNCTIONS[0]])[0]


def _node_function(source: str) -> str:
    """Looks for `exports.NAME =`, `export const NAME`, `export function NAME`; a full parse is not worth a dependency."""
    for name in _NODE_FUNCTIONS:
        if re.search(
            rf"\bexports\.{name}\s*=|\bexport\s+(?:async\s+)?(?:const|let|var|function\*?)\s+{name}\b", source
        ):
            return name
    return _NODE_FUNCTIONS[0]


def identifier(family: str, runtimes: Iterable[Mapping[str, Any]]) -> str:
    """The runtime identifier to take for a family: one whose own interpreter is here, else any that works, the newest first.

    `runtimes` are the items of ListRuntimes. Raises `CannotGuess`.
    """
    if family == "provided":
        return "provided.al2023"
    candidates = [r for r in runtimes if str(r["Identifier"]).startswith(family)]
    usable = [r for r in candidates if not r.get("Unavailable")]
    if not usable:
        why = next((str(r["Unavailable"]) for r in candidates), "no interpreter was found")
        raise CannotGuess(f"no {family} runtime can be used here: {why} (`lambent runtimes` lists them)")
    exact = [r for r in usable if not r.get("Note")]
    return str(max(exact or usable, key=lambda r: _numbers(str(r["Identifier"])))["Identifier"])


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
