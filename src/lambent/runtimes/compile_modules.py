"""Compiles the modules of a folder for the Python that runs it: `python3.X -I -S -B compile_modules.py FOLDER PACKAGES…`.

A program of its own: standard library only, Python 3.8 to 3.14. PACKAGES are the folders and modules in FOLDER to compile; the
guest comes last, so that its compiled file says that all the others are there. What is compiled already is left as it is, so
that a program that was stopped goes on where it was; each file appears whole or not at all.

The files name no time of their source, unlike those of `compileall`: nobody changes the folder, and a copy of it stays good.
"""

import importlib.util
import os
import py_compile
import sys
from pathlib import Path
from typing import Iterator  # noqa: UP035

_UNCHECKED = 0b01
_HEADER_BYTES = 16


def main() -> None:
    folder, packages = Path(sys.argv[1]), sys.argv[2:]
    os.umask(0o022)
    for package in packages:
        for source in sources(folder / package):
            target = Path(importlib.util.cache_from_source(str(source)))
            if not is_compiled(source, target):
                compile_one(source, target)
        # What a compiler that was stopped has left half written.
        for rest in (folder / package).rglob(f"*.{sys.implementation.cache_tag}.pyc.*"):
            rest.unlink()


def sources(path: Path) -> "Iterator[Path]":
    if path.is_file():
        yield path
    yield from path.rglob("*.py")


def is_compiled(source: Path, target: Path) -> bool:
    try:
        with target.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return False
    if len(header) < _HEADER_BYTES or header[:4] != importlib.util.MAGIC_NUMBER:
        return False
    if int.from_bytes(header[4:8], "little") == _UNCHECKED:
        return True
    # Compiled by pip, and good as long as the source has this time and size.
    facts = source.stat()
    wanted = (0, int(facts.st_mtime) & 0xFFFFFFFF, facts.st_size & 0xFFFFFFFF)
    return wanted == tuple(int.from_bytes(header[at : at + 4], "little") for at in (4, 8, 12))


def compile_one(source: Path, target: Path) -> None:
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    try:
        py_compile.compile(str(source), str(target), doraise=True, invalidation_mode=mode)
    except py_compile.PyCompileError:
        # Written for a newer Python; whoever imports it hears of it.
        return


if __name__ == "__main__":
    main()
