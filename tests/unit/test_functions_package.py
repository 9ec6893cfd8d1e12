"""What a code package may hold, and what is refused before a byte is written."""

import io
import stat
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions_fixtures import LIMITS, zip_of
from lambent.functions.package import (
    EmptyPackage,
    Layout,
    NotAZip,
    PackageLimits,
    PackageRefused,
    TooManyFiles,
    UnsafeEntry,
    UnzippedTooLarge,
    ZipTooLarge,
    layout_of,
    open_package,
    stays_inside,
)

LINK = stat.S_IFLNK | 0o777


def layout(data: bytes, limits: PackageLimits = LIMITS) -> Layout:
    with open_package(data, limits) as archive:
        return layout_of(archive, len(data), limits)


@pytest.mark.parametrize("data", [b"", b"PK", b"def handler(): pass\n" * 50, b"PK\x05\x06" + b"\xff" * 18])
def test_bytes_that_are_no_zip_get_awss_sentence(data: bytes) -> None:
    with pytest.raises(
        NotAZip, match=r"^Could not unzip uploaded file. Please check your file, then try to upload again."
    ):
        layout(data)


def test_an_empty_zip_is_refused() -> None:
    with pytest.raises(EmptyPackage, match="Uploaded file must be a non-empty zip"):
        layout(zip_of({}))


def test_a_zip_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(ZipTooLarge):
        layout(b"x" * 11, PackageLimits(10, 10, 10))


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "a/..",
        "/etc/passwd",
        "C:/x",
        "c:x",
        "a\\..\\x",
        "..\\x",
        "x\\y",
        "a" * 256,
        "a/" * 1500 + "x",
    ],
)
def test_names_that_leave_the_package_or_break_hosts_are_refused(name: str) -> None:
    with pytest.raises(UnsafeEntry):
        layout(zip_of({name: b""}))


def test_a_name_with_nul_is_refused() -> None:
    data = zip_of({"aXb": b""}).replace(b"aXb", b"a\0b")
    with pytest.raises(UnsafeEntry):
        layout(data)


def test_a_name_that_is_not_utf8_is_refused() -> None:
    data = zip_of({"aXb": b""}).replace(b"aXb", b"a\xffb")
    with pytest.raises(NotAZip, match="UTF-8"):
        layout(data)


def test_a_utf8_name_without_the_flag_is_read_as_utf8() -> None:
    data = zip_of({"aXXb": b""}).replace(b"aXXb", "aéb".encode())
    assert [file.path for file in layout(data).files] == ["aéb"]


@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("a", "a/b"), ("a/b", "a"), ("a//b", "a/b"), ("a/", "a")])
def test_entries_that_contradict_each_other_are_refused(names: tuple[str, str]) -> None:
    buffer = io.BytesIO()
    with pytest.warns(UserWarning) if names[0] == names[1] else _nothing(), zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    with pytest.raises(UnsafeEntry):
        layout(buffer.getvalue())


class _nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices_pipes_and_sockets_are_refused(kind: int) -> None:
    with pytest.raises(UnsafeEntry, match="neither a file"):
        layout(zip_of({"x": b""}, {"x": kind | 0o644}))


def test_an_encrypted_entry_is_refused() -> None:
    data = bytearray(zip_of({"x": b"secret"}))
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, at + 8, 1)
    with pytest.raises(UnsafeEntry, match="encrypted"):
        layout(bytes(data))


def test_other_compression_than_deflate_is_refused() -> None:
    with pytest.raises(UnsafeEntry, match="deflate"):
        layout(zip_of({"x": b"x" * 100}, method=zipfile.ZIP_LZMA))


def test_a_bomb_by_declared_size_is_refused() -> None:
    with pytest.raises(UnzippedTooLarge, match=f"Unzipped size must be smaller than {LIMITS.unzipped_bytes} bytes"):
        layout(zip_of({"x": b"\0" * (LIMITS.unzipped_bytes + 1)}))


def test_a_declared_size_that_deflate_cannot_reach_is_refused() -> None:
    data = bytearray(zip_of({"x": b"x"}))
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, at + 24, 3 * 1024 * 1024)
    with pytest.raises(NotAZip, match="declares more"):
        layout(bytes(data))


def test_too_many_entries_are_refused_before_they_are_read() -> None:
    with pytest.raises(TooManyFiles):
        open_package(zip_of({str(n): b"" for n in range(LIMITS.files + 1)}), LIMITS)


def test_implied_folders_count_as_entries() -> None:
    with pytest.raises(TooManyFiles):
        layout(zip_of({f"{n}/{n}/x": b"" for n in range(LIMITS.files // 2)}))


def test_modes_keep_executables_and_make_all_readable() -> None:
    modes = {"bootstrap": stat.S_IFREG | 0o700, "secret": stat.S_IFREG | 0o600, "none": 0}
    found = {file.path: file.mode for file in layout(zip_of(dict.fromkeys(modes, b""), modes)).files}
    assert found == {"bootstrap": 0o755, "secret": 0o644, "none": 0o644}


@pytest.mark.parametrize("target", ["real", "./real", "sub/../real", "sub/deep", "dangling"])
def test_a_link_inside_is_kept(target: str) -> None:
    found = layout(zip_of({"real": b"", "sub/deep": b"", "link": target}, {"link": LINK}))
    assert [(link.path, link.target) for link in found.links] == [("link", target)]


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "../x", "sub/../../x", "", "link", "a" * 2000])
def test_a_link_that_leads_out_or_nowhere_is_refused(target: str) -> None:
    with pytest.raises(UnsafeEntry):
        layout(zip_of({"sub/deep": b"", "link": target}, {"link": LINK}))


def test_a_file_below_a_link_is_refused() -> None:
    with pytest.raises(UnsafeEntry, match="which is a link"):
        layout(zip_of({"sub/x": b"", "link": "sub", "link/y": b""}, {"link": LINK}))


@pytest.mark.parametrize(
    ("path", "links", "inside"),
    [
        ("a/b/l", {"a/b/l": "../.."}, True),
        ("a/b/m", {"a/b/l": "../..", "a/b/m": "l/../x"}, False),
        ("m", {"l": "a/b", "m": "l/../.."}, True),
        ("m", {"l": "a/b", "m": "l/../../.."}, False),
        ("l", {"l": "m", "m": "l"}, False),
    ],
)
def test_links_are_followed_through_other_links(path: str, links: dict[str, str], inside: bool) -> None:
    assert stays_inside(path, links) is inside


@given(st.binary(max_size=300), st.integers(0, 200), st.binary(max_size=4))
def test_damaged_zips_are_refused_and_never_crash(noise: bytes, at: int, patch: bytes) -> None:
    whole = zip_of({"app.py": b"x = 1\n" * 20, "lib/y.py": b"y"})
    for data in (noise, whole[:at] + patch + whole[at + len(patch) :], whole[: -at or None], noise + whole):
        try:
            with open_package(data, LIMITS) as archive:
                for file in layout_of(archive, len(data), LIMITS).files:
                    assert not file.path.startswith("/") and ".." not in file.path.split("/")
        except PackageRefused:
            pass
