"""Writes a checked package into a folder, all or nothing. Blocking: called in a thread."""

import calendar
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from lambent.functions.package import (
    ZIP_FAILURES,
    Layout,
    NotAZip,
    PackageFile,
    PackageLimits,
    UnzippedTooLarge,
    layout_of,
    open_package,
)

#: Prefix of folders that are being written; what is left of them after a crash is removed at the next start.
UNFINISHED = ".unfinished-"
_CHUNK_BYTES = 256 * 1024


def unpack(data: bytes, target: Path, limits: PackageLimits) -> None:
    """Checks the zip `data` and makes the folder `target` of it: world-readable, never half-visible.

    A `target` that is there already is left as it is, after the checks. Raises `PackageRefused` and `OSError` (disk full);
    then nothing is left behind.
    """
    with open_package(data, limits) as archive:
        layout = layout_of(archive, len(data), limits)
        if target.exists():
            return
        draft = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
        try:
            _write(archive, layout, draft, limits)
            draft.chmod(0o755)
            _publish(draft, target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def remove_tree(folder: Path) -> None:
    """Removes an unpacked package so that no one sees half of it: renamed first, then deleted."""
    grave = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder.parent))
    try:
        folder.rename(grave / folder.name)
    except FileNotFoundError:
        pass
    shutil.rmtree(grave)


def remove_unfinished(cache_dir: Path) -> int:
    """Removes what a crash left behind; returns how many folders that were."""
    leftovers = list(cache_dir.glob(UNFINISHED + "*"))
    for folder in leftovers:
        shutil.rmtree(folder)
    return len(leftovers)


def _write(archive: zipfile.ZipFile, layout: Layout, draft: Path, limits: PackageLimits) -> None:
    root = os.fspath(draft)
    for folder in layout.folders:
        path = f"{root}/{folder}"
        Path(path).mkdir()
        Path(path).chmod(0o755)
    room = limits.unzipped_bytes
    for file in layout.files:
        room -= _write_file(archive, file, f"{root}/{file.path}", room, limits)
    # Links come last: no file is ever written through one.
    for link in layout.links:
        Path(f"{root}/{link.path}").symlink_to(link.target)


def _write_file(archive: zipfile.ZipFile, file: PackageFile, path: str, room: int, limits: PackageLimits) -> int:
    """Returns the bytes written. Counts real bytes: what the entry declares was checked, but is only a claim."""
    written = 0
    with open(path, "xb") as output:
        try:
            with archive.open(file.info) as source:
                while chunk := source.read(_CHUNK_BYTES):
                    written += len(chunk)
                    if written > room:
                        raise UnzippedTooLarge(limits.unzipped_bytes)
                    output.write(chunk)
        except ZIP_FAILURES as error:
            raise NotAZip() from error
        if written != file.info.file_size:
            raise NotAZip(f"entry {file.path[:200]!r} has another size than declared")
        os.fchmod(output.fileno(), file.mode)
    seconds = _unix_time(file.modified)
    os.utime(path, (seconds, seconds))
    return written


def _unix_time(modified: tuple[int, int, int, int, int, int]) -> int:
    """The zip's local time, taken as UTC: the same package has the same times on every node."""
    return max(0, calendar.timegm((*modified, 0, 0, 0)))


def _publish(draft: Path, target: Path) -> None:
    try:
        draft.rename(target)
    except OSError:
        # Someone else unpacked the same digest first: a full folder cannot be renamed over.
        if not target.exists():
            raise
        shutil.rmtree(draft, ignore_errors=True)
