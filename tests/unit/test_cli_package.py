"""Packaging a folder: the same content gives the same bytes; what does not belong stays out."""

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from lambent.cli import ignore
from lambent.cli.package import CannotPackage, package


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.namelist()


def mode(data: bytes, name: str) -> int:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.getinfo(name).external_attr >> 16


def test_the_same_content_gives_the_same_bytes_whatever_the_times_and_the_order(tmp_path: Path) -> None:
    first = write(tmp_path / "first", a="1", b="2", sub__c="3")
    second = write(tmp_path / "second", sub__c="3", b="2", a="1")
    for path in second.rglob("*"):
        os.utime(path, (1, 1))
    assert package(first) == package(second)


def test_another_content_gives_other_bytes(tmp_path: Path) -> None:
    assert package(write(tmp_path / "first", a="1")) != package(write(tmp_path / "second", a="2"))


def test_executable_files_stay_executable_and_others_are_readable_by_all(tmp_path: Path) -> None:
    folder = write(tmp_path, bootstrap="#!/bin/sh", data="x")
    (folder / "bootstrap").chmod(0o700)
    (folder / "data").chmod(0o600)
    data = package(folder)
    assert mode(data, "bootstrap") == stat.S_IFREG | 0o755
    assert mode(data, "data") == stat.S_IFREG | 0o644


def test_what_tools_leave_behind_stays_out(tmp_path: Path) -> None:
    for name in (
        "app.py",
        ".git/config",
        "__pycache__/app.pyc",
        "lib/__pycache__/x.pyc",
        "node_modules/.cache/x",
        "node_modules/pad/index.js",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert names(package(tmp_path)) == ["app.py", "node_modules/pad/index.js"]


def test_a_lambentignore_file_excludes_and_takes_back(tmp_path: Path) -> None:
    folder = write(tmp_path, a="", b="", docs__x="", docs__y="")
    (folder / ".lambentignore").write_text("# comment\n\nb\ndocs/*\n!docs/y\n")
    assert names(package(folder)) == ["a", "docs/y"]


def test_links_inside_stay_links_and_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", a="1", sub__b="2")
    (folder / "sub" / "link").symlink_to("../a")
    data = package(folder)
    assert stat.S_ISLNK(mode(data, "sub/link"))
    (folder / "out").symlink_to("/etc/passwd")
    with pytest.raises(CannotPackage, match="outside of the folder"):
        package(folder)
    (folder / "out").unlink()
    (folder / "sub" / "out").symlink_to("../../other")
    with pytest.raises(CannotPackage, match="outside of the folder"):
        package(folder)


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    folder = write(tmp_path, real__a="1")
    (folder / "alias").symlink_to("real")
    data = package(folder)
    assert names(data) == ["alias", "real/a"]
    assert stat.S_ISLNK(mode(data, "alias"))


def test_a_socket_or_pipe_is_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotPackage, match="pipe is not a file"):
        package(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotPackage, match="holds no files"):
        package(tmp_path)


def test_a_zip_file_is_taken_as_it_is_and_another_file_is_refused(tmp_path: Path) -> None:
    data = package(write(tmp_path / "f", a="1"))
    (tmp_path / "f.zip").write_bytes(data)
    assert package(tmp_path / "f.zip") == data
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CannotPackage, match="neither a folder nor a zip file"):
        package(tmp_path / "text")


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "ignored"),
    [
        ("*.log", "a.log", False, True),
        ("*.log", "deep/down/a.log", False, True),
        ("/a.log", "deep/a.log", False, False),
        ("/a.log", "a.log", False, True),
        ("build/", "build", True, True),
        ("build/", "build", False, False),
        ("build/", "x/build", True, True),
        ("docs/*.md", "docs/a.md", False, True),
        ("docs/*.md", "docs/sub/a.md", False, False),
        ("docs/**", "docs/sub/a.md", False, True),
        ("**/tmp", "a/b/tmp", True, True),
        ("a?c", "abc", False, True),
        ("a?c", "a/c", False, False),
        ("[ab].py", "a.py", False, True),
        ("[!ab].py", "a.py", False, False),
        ("a.b", "axb", False, False),
        ("#note", "#note", False, False),
    ],
)
def test_patterns_mean_what_they_mean_in_gitignore(pattern: str, path: str, is_folder: bool, ignored: bool) -> None:
    assert ignore.is_ignored(path, is_folder, ignore.rules(pattern)) is ignored
