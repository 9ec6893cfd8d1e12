"""A folder as a code package: the same content gives the same bytes, so that deploying it again changes nothing."""

import io
import os
import stat
import zipfile
from pathlib import Path

from lambent.cli import ignore
from lambent.errors import LambentError

#: The oldest moment that a zip file can name; real times would change the digest of unchanged content.
_EPOCH = (1980, 1, 1, 0, 0, 0)

#: Stops a mistaken `lambent deploy /` before it eats the memory. The platform's own limits are far below.
FILES_MAX = 100_000
BYTES_MAX = 1024 * 1024 * 1024


class CannotPackage(LambentError):
    """The folder or file cannot be made into a code package."""


def package(source: Path) -> bytes:
    """The zip of a folder, or the bytes of a zip file as they are. Raises `CannotPackage`."""
    if source.is_dir():
        return _zip_folder(source)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise CannotPackage(f"cannot read {source}: {error.strerror}") from error
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise CannotPackage(f"{source} is neither a folder nor a zip file")
    return data


def names_in(source: Path, data: bytes) -> list[str]:
    """The paths in a package."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.namelist()


def text_in(data: bytes, name: str) -> str:
    """One file of a package as text; empty when it is not there."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        try:
            return archive.read(name).decode("utf-8", "replace")
        except KeyError:
            return ""


def _zip_folder(folder: Path) -> bytes:
    buffer = io.BytesIO()
    size = 0
    files = _files(folder)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in files:
            info, content = _member(folder, path)
            size += len(content)
            if size > BYTES_MAX:
                raise CannotPackage(
                    f"{folder} holds more than {BYTES_MAX >> 20} MiB; exclude files with .lambentignore"
                )
            archive.writestr(info, content)
    if not files:
        raise CannotPackage(f"{folder} holds no files to deploy")
    return buffer.getvalue()


def _files(folder: Path) -> list[Path]:
    """What belongs into the package, in an order that depends on the names only."""
    try:
        text = (folder / ".lambentignore").read_text()
    except FileNotFoundError:
        text = ""
    rules = ignore.rules(text)
    found: list[Path] = []
    for base, folders, files in os.walk(folder):
        relative = Path(base).relative_to(folder)
        links = [name for name in folders if (Path(base) / name).is_symlink()]
        folders[:] = sorted(
            n for n in folders if n not in links and not ignore.is_ignored(str(relative / n), True, rules)
        )
        found += [Path(base) / n for n in (*files, *links) if not ignore.is_ignored(str(relative / n), False, rules)]
        if len(found) > FILES_MAX:
            raise CannotPackage(f"{folder} holds more than {FILES_MAX} files; exclude some with .lambentignore")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _member(folder: Path, path: Path) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
    info.create_system = 3  # Unix: the permission bits count.
    info.compress_type = zipfile.ZIP_DEFLATED
    try:
        if path.is_symlink():
            return _link(folder, path, info)
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise CannotPackage(f"{path} is not a file (a socket, pipe or device); exclude it with .lambentignore")
        # Only "may it be executed" is kept: reading is what everybody may do, whatever the umask here was.
        info.external_attr = (stat.S_IFREG | (0o755 if mode & 0o111 else 0o644)) << 16
        return info, path.read_bytes()
    except OSError as error:
        raise CannotPackage(f"cannot read {path}: {error.strerror}") from error


def _link(folder: Path, path: Path, info: zipfile.ZipInfo) -> tuple[zipfile.ZipInfo, bytes]:
    """A symbolic link inside the folder stays one (node_modules/.bin is made of them); one that leads out is refused."""
    target = path.readlink()
    inside = not target.is_absolute() and Path(os.path.normpath(path.parent / target)).is_relative_to(
        Path(os.path.normpath(folder))
    )
    if not inside:
        raise CannotPackage(f"{path} links to {target}, outside of the folder; copy the file or exclude it")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, os.fsencode(target)
