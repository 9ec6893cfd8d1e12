"""Rooms import downwards only, also inside functions; services never import each other; the product never imports tests."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "lambent"

#: Low to high; rooms of one line stand beside each other and do not import each other.
ORDER = (
    ("errors", "clock", "ids"),
    ("arn", "settings"),
    ("httpd", "bus", "sandbox"),
    ("invocation", "state"),
    ("access", "observe"),
    ("functions", "aws"),
    ("runtimes",),
    ("pool",),
    ("dispatch",),
    ("sources", "gateway"),
    ("services",),
    ("wiring",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}

#: Guests are programs of their own that run inside sandboxes: they may import nothing of the product.
GUESTS = SRC / "runtimes" / "guest"


def files() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = ("lambent", *path.relative_to(SRC).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_in(source: str, module: str, is_package: bool) -> list[tuple[int, str]]:
    """(line, absolute module) of every import anywhere in the source, relative ones resolved."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + is_package]
                base = ".".join([*kept, *([base] if base else [])])
            found += [(node.lineno, f"{base}.{alias.name}" if base == "lambent" else base) for alias in node.names]
    return found


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def complaint(module: str, imported: str) -> str:
    """Why `module` may not import `imported`; empty when it may."""
    if imported.split(".")[0] in ("tests", "bench", "examples"):
        return "the product imports nothing that is not shipped"
    if imported.split(".")[0] != "lambent" or room_of(imported) in ("", "__version__"):
        return ""
    here, there = room_of(module), room_of(imported)
    if here == there:
        if here == "services" and module.split(".")[2:3] != imported.split(".")[2:3]:
            return "services do not import each other"
        return ""
    if here == "":
        return "the package itself imports no room"
    if here not in LEVEL or there not in LEVEL:
        return f"room {here if here not in LEVEL else there!r} has no place in the order"
    return "" if LEVEL[there] < LEVEL[here] else f"{here} is not above {there}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SRC)))
def test_every_import_goes_down(path: Path) -> None:
    if path.is_relative_to(GUESTS):
        wrong = [name for _, name in imports_in(path.read_text(), module_of(path), False) if name.startswith("lambent")]
        assert not wrong, f"a guest runs alone in its sandbox and cannot import {wrong}"
        return
    module = module_of(path)
    found = imports_in(path.read_text(), module, path.name == "__init__.py")
    wrong = [f"line {line}: {name}: {why}" for line, name in found if (why := complaint(module, name))]
    assert not wrong, "\n".join(wrong)


def test_every_room_has_a_place_in_the_order() -> None:
    rooms = {room_of(module_of(path)) for path in files()} - {""}
    assert rooms <= set(LEVEL)


@pytest.mark.parametrize(
    ("module", "imported", "allowed"),
    [
        ("lambent.pool.pool", "lambent.runtimes.contract", True),
        ("lambent.runtimes.table", "lambent.pool.pool", False),
        ("lambent.services.iam.roles", "lambent.services.lambda_.faults", False),
        ("lambent.services.iam.roles", "lambent.services.iam.faults", True),
        ("lambent.gateway.routes", "lambent.sources.nats", False),
        ("lambent.wiring", "lambent.services.iam.roles", True),
        ("lambent.errors", "lambent.ids", False),
        ("lambent.bus.server", "asyncio", True),
        ("lambent.bus.server", "tests.platform_fixture", False),
    ],
)
def test_the_rule_itself(module: str, imported: str, allowed: bool) -> None:
    assert (complaint(module, imported) == "") is allowed


def test_relative_imports_and_imports_inside_functions_are_seen() -> None:
    source = "def f():\n    from . import b\n    from ..bus import c\n    import lambent.cli.up\n    from lambent import ids\n"
    assert [name for _, name in imports_in(source, "lambent.state.a", False)] == [
        "lambent.state",
        "lambent.bus",
        "lambent.cli.up",
        "lambent.ids",
    ]
