"""Folders that are made once, whole or not at all, and hold what every sandbox may read."""

import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def digest_folder(digest: "hashlib._Hash", folder: Path) -> None:
    """Adds the names and contents of all files."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")


def make_once(target: Path, fill: Callable[[Path], None]) -> None:
    """Fills a folder beside it and renames it into place, so that it is there whole or not at all; other starts may race."""
    if target.exists():
        return
    staging = target.with_name(f".{target.name}-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o755)
    try:
        fill(staging)
        for folder in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        try:
            staging.rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def copy_files(source: Path, folder: Path) -> None:
    """The files in `source`, not its folders, readable for everyone."""
    for path in source.iterdir():
        if path.is_file():
            copy = folder / path.name
            shutil.copy2(path, copy)
            copy.chmod(0o644)


def link_distribution(distribution: importlib.metadata.Distribution, folder: Path) -> None:
    """Its files, compiled ones too; commands (`../../bin`) are left out."""
    for entry in distribution.files or ():
        if ".." in entry.parts or entry.is_absolute():
            continue
        source = Path(str(distribution.locate_file(entry)))
        target = folder / entry
        target.parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(source, target)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link costs no space; a copy where the cache is on another disk, or the file is not for everyone to read."""
    try:
        if source.stat().st_mode & 0o004:
            os.link(source, target)
            return
    except FileNotFoundError:
        # Listed by the package but removed since, such as a compiled file.
        return
    except OSError:
        pass
    shutil.copy2(source, target)
    target.chmod(0o644)


def link_folder(source: Path, folder: Path, without: tuple[str, ...]) -> None:
    """All of another such folder but what matches one of the patterns."""
    ignore = shutil.ignore_patterns(*without)
    shutil.copytree(
        source, folder, ignore=ignore, dirs_exist_ok=True, copy_function=lambda a, b: link_or_copy(Path(a), Path(b))
    )
