"""Reads an uploaded code package: what is in it, and whether anything of it must be refused before a byte is written.

Nothing here touches the disk. `layout_of` returns what `unpacking.py` then writes. Texts are AWS's where AWS has one
(recorded answers of CreateFunction: "Could not unzip uploaded file…", "Unzipped size must be smaller than … bytes",
"Uploaded file must be a non-empty zip").
"""

import io
import re
import stat
import struct
import zipfile
import zlib
from typing import NamedTuple

from lambent.errors import LambentError

#: Longest component and longest path of an entry, bytes: what the kernel takes, less the folder that it is put into.
COMPONENT_MAX = 255
PATH_MAX = 2048
#: Longest target of a symbolic link, bytes.
LINK_TARGET_MAX = 1024
#: Links that one path may pass through; the kernel's own bound (path_resolution(7)).
LINK_HOPS_MAX = 40
#: Deflate cannot do better than 1032 to 1 (zlib's technical notes); who declares more, lies.
DEFLATE_RATIO_MAX = 1100

_END_SIGNATURE = b"PK\x05\x06"
_ENTRY_SIGNATURE = b"PK\x01\x02"
_END_LENGTH = 22
_COMMENT_MAX = 65_535
_ENCRYPTED = 0x1
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_DRIVE = re.compile(r"[A-Za-z]:")
#: What Python's zipfile raises on bytes that are no good zip, mapped here and in `unpacking.py` and nowhere else.
ZIP_FAILURES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


class PackageRefused(LambentError):
    """The package cannot be taken; the message is AWS's, with the reason in brackets where AWS gives none."""


class NotAZip(PackageRefused):
    def __init__(self, reason: str = "") -> None:
        detail = f" ({reason})" if reason else ""
        super().__init__(f"Could not unzip uploaded file. Please check your file, then try to upload again.{detail}")


class UnsafeEntry(NotAZip):
    """An entry leads out of the package, collides with another, or is of a kind that code packages cannot have."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"entry {name[:200]!r} {reason}")
        self.name = name


class EmptyPackage(PackageRefused):
    def __init__(self) -> None:
        super().__init__("Uploaded file must be a non-empty zip")


class ZipTooLarge(PackageRefused):
    """The zip itself is over `limit` bytes. AWS: RequestEntityTooLargeException."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the code package has {size} bytes; at most {limit} are allowed")
        self.limit = limit


class UnzippedTooLarge(PackageRefused):
    def __init__(self, limit: int) -> None:
        super().__init__(f"Unzipped size must be smaller than {limit} bytes")


class TooManyFiles(PackageRefused):
    def __init__(self, limit: int) -> None:
        super().__init__(f"The code package has more than {limit} files and folders (setting package_files_max)")


class PackageLimits(NamedTuple):
    """Bounds in bytes and in entries (files, links and folders, implied ones included)."""

    zip_bytes: int
    unzipped_bytes: int
    files: int


class PackageFile(NamedTuple):
    """One regular file to write: `path` is relative and clean, `mode` 0o644 or 0o755, `modified` the zip's time fields."""

    path: str
    mode: int
    modified: tuple[int, int, int, int, int, int]
    info: zipfile.ZipInfo


class PackageLink(NamedTuple):
    path: str
    target: str


class Layout(NamedTuple):
    """What a package unpacks to: folders in an order in which they can be made, files, then links."""

    folders: list[str]
    files: list[PackageFile]
    links: list[PackageLink]


def open_package(data: bytes, limits: PackageLimits) -> zipfile.ZipFile:
    """The zip's directory, read within bounds. Raises `ZipTooLarge`, `TooManyFiles`, `EmptyPackage`, `NotAZip`."""
    if len(data) > limits.zip_bytes:
        raise ZipTooLarge(len(data), limits.zip_bytes)
    _check_entry_count(data, limits.files)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data), metadata_encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NotAZip("an entry's name is not UTF-8") from error
    except ZIP_FAILURES as error:
        raise NotAZip() from error
    if not archive.infolist():
        raise EmptyPackage()
    return archive


def layout_of(archive: zipfile.ZipFile, zip_bytes: int, limits: PackageLimits) -> Layout:
    """Checks every entry and says what to write. Raises `PackageRefused`."""
    entries = archive.infolist()
    declared = sum(info.file_size for info in entries)
    if declared > limits.unzipped_bytes:
        raise UnzippedTooLarge(limits.unzipped_bytes)
    if declared > zip_bytes * DEFLATE_RATIO_MAX:
        raise NotAZip("it declares more than its bytes can hold")
    kinds: dict[str, str] = {}
    files: list[PackageFile] = []
    links: list[PackageLink] = []
    for info in entries:
        path, kind = clean_path(info), _kind(info)
        _claim(kinds, path, kind, info.orig_filename)
        if len(kinds) > limits.files:
            raise TooManyFiles(limits.files)
        if kind == "file":
            files.append(PackageFile(path, _file_mode(info), info.date_time, info))
        elif kind == "link":
            links.append(PackageLink(path, _link_target(archive, info)))
    targets = {link.path: link.target for link in links}
    for link in links:
        if not stays_inside(link.path, targets):
            raise UnsafeEntry(link.path, f"is a link that leads out of the package: {link.target[:200]!r}")
    folders = sorted(path for path, kind in kinds.items() if kind == "folder")
    return Layout(folders, files, links)


def clean_path(info: zipfile.ZipInfo) -> str:
    """The entry's path, relative and without empty parts. Raises `UnsafeEntry`; the package's own root is "" ."""
    raw = info.orig_filename
    if "\0" in raw:
        raise UnsafeEntry(raw, "has a NUL in its name")
    if "\\" in raw:
        raise UnsafeEntry(raw, "has a backslash in its name; write paths with /")
    if raw.startswith("/") or _DRIVE.match(raw):
        raise UnsafeEntry(raw, "has an absolute path")
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafeEntry(raw, "leads out of the package")
    try:
        encoded = [part.encode() for part in parts]
    except UnicodeEncodeError as error:
        raise UnsafeEntry(raw, "has a name that is not UTF-8") from error
    if any(len(part) > COMPONENT_MAX for part in encoded) or sum(len(part) + 1 for part in encoded) > PATH_MAX:
        raise UnsafeEntry(raw, "has a name that is too long")
    return "/".join(parts)


def stays_inside(path: str, links: dict[str, str]) -> bool:
    """Whether following the link at `path` ends inside the package, whatever other `links` it passes through."""
    done: list[str] = path.split("/")[:-1]
    todo = [path.split("/")[-1]]
    hops = 0
    while todo:
        part = todo.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                return False
            done.pop()
            continue
        target = links.get("/".join([*done, part]))
        if target is None:
            done.append(part)
            continue
        hops += 1
        if hops > LINK_HOPS_MAX or target.startswith("/"):
            return False
        todo = target.split("/") + todo
    return True


def _check_entry_count(data: bytes, limit: int) -> None:
    """Counts the entries before Python's reader makes an object for each: a zip of a few MB can list a million."""
    end = data.rfind(_END_SIGNATURE, max(0, len(data) - _END_LENGTH - _COMMENT_MAX))
    if end < 0 or len(data) < end + _END_LENGTH:
        raise NotAZip()
    (directory_bytes,) = struct.unpack_from("<L", data, end + 12)
    start = max(0, end - directory_bytes) if directory_bytes != 0xFFFFFFFF else 0
    if data.count(_ENTRY_SIGNATURE, start, end) > limit:
        raise TooManyFiles(limit)


def _kind(info: zipfile.ZipInfo) -> str:
    """`file`, `folder` or `link`. Raises `UnsafeEntry` for devices, sockets, pipes, encrypted and exotic entries."""
    if info.flag_bits & _ENCRYPTED:
        raise UnsafeEntry(info.orig_filename, "is encrypted")
    if info.compress_type not in _METHODS:
        raise UnsafeEntry(info.orig_filename, "is compressed with another method than deflate")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsafeEntry(info.orig_filename, "is neither a file, a folder nor a link")
    return "folder" if kind == stat.S_IFDIR or info.is_dir() else "file"


def _claim(kinds: dict[str, str], path: str, kind: str, name: str) -> None:
    """Notes that `path` is a `kind`, and that every part above it is a folder; refuses what contradicts that."""
    if not path:
        if kind != "folder":
            raise UnsafeEntry(name, "has no name")
        return
    known = kinds.get(path)
    if known is not None and not (known == kind == "folder"):
        raise UnsafeEntry(name, "is there twice")
    kinds[path] = kind
    above = path.rpartition("/")[0]
    while above:
        known = kinds.get(above)
        if known == "folder":
            return
        if known is not None:
            raise UnsafeEntry(name, f"lies below {above[:200]!r}, which is a {known}")
        kinds[above] = "folder"
        above = above.rpartition("/")[0]


def _file_mode(info: zipfile.ZipInfo) -> int:
    """Executables stay executable; all is readable for the function's user, which is never the owner."""
    return 0o755 if (info.external_attr >> 16) & 0o111 else 0o644


def _link_target(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    if info.file_size > LINK_TARGET_MAX:
        raise UnsafeEntry(info.orig_filename, "is a link with a target that is too long")
    try:
        target = archive.read(info).decode()
    except UnicodeDecodeError as error:
        raise UnsafeEntry(info.orig_filename, "is a link to a name that is not UTF-8") from error
    except ZIP_FAILURES as error:
        raise NotAZip() from error
    if not target or "\0" in target:
        raise UnsafeEntry(info.orig_filename, "is a link to nothing")
    return target
