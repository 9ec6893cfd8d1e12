"""Unpacking is all or nothing, and bounded by real bytes."""

import asyncio
import errno
import os
import stat
import struct
import zlib
from pathlib import Path

import pytest

from functions_fixtures import LIMITS, code_store, hello_zip, zip_of
from lambent.clock import FixedClock
from lambent.functions.code import GRACE_MS, CodeMissing, CodeNotWritten
from lambent.functions.package import NotAZip, PackageRefused
from lambent.functions.unpacking import UNFINISHED, remove_tree, unpack
from lambent.state.contract import StateUnavailable
from lambent.state.memory import MemoryState


def test_files_folders_links_modes_and_times_are_written(tmp_path: Path) -> None:
    modes = {"bin/run": stat.S_IFREG | 0o700, "link": stat.S_IFLNK | 0o777, "empty/": stat.S_IFDIR | 0o700}
    data = zip_of({"bin/run": b"#!/bin/sh\n", "a.txt": "text", "link": "bin/run", "empty/": b""}, modes)
    target = tmp_path / "out"
    unpack(data, target, LIMITS)
    assert (target / "a.txt").read_text() == "text"
    assert (target / "link").readlink() == Path("bin/run")
    assert stat.S_IMODE((target / "bin/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "empty").stat().st_mode) == 0o755
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert (target / "a.txt").stat().st_mtime == 1704164646


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(zip_of({"d/a": b""}), tmp_path / "out", LIMITS)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out/d").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out/d/a").stat().st_mode) == 0o644


@pytest.mark.parametrize("damage", ["crc", "data", "size"])
def test_a_package_that_breaks_half_way_leaves_nothing(tmp_path: Path, damage: str) -> None:
    data = bytearray(zip_of({"good": b"fine", "bad": b"0123456789" * 100}))
    at = data.rindex(b"PK\x01\x02")
    if damage == "crc":
        struct.pack_into("<L", data, at + 16, 1)
    elif damage == "size":
        struct.pack_into("<L", data, at + 24, 999)
    else:
        local = data.rindex(b"PK\x03\x04")
        data[local + 33 : local + 40] = b"\xff" * 7
    with pytest.raises(NotAZip):
        unpack(bytes(data), tmp_path / "out", LIMITS)
    assert list(tmp_path.iterdir()) == []


def test_real_bytes_never_exceed_what_was_declared_and_allowed(tmp_path: Path) -> None:
    """The central directory says 10 bytes, the stream holds 3 MB."""
    content = b"\0" * (3 * 1024 * 1024)
    data = bytearray(zip_of({"x": content}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", data, data.index(signature) + offset, 10)
        struct.pack_into("<L", data, data.index(signature) + offset - 8, zlib.crc32(content[:10]))
    try:
        unpack(bytes(data), tmp_path / "out", LIMITS)
    except PackageRefused:
        assert list(tmp_path.iterdir()) == []
    else:
        assert (tmp_path / "out/x").stat().st_size == 10


def test_removing_a_tree_that_is_gone_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "not-there")
    assert list(tmp_path.iterdir()) == []


def test_concurrent_calls_share_one_unpacking(tmp_path: Path) -> None:
    async def run() -> None:
        state, clock = MemoryState(), FixedClock()
        digest, size = await (await code_store(tmp_path / "one", state, clock)).add(hello_zip())
        other = await code_store(tmp_path / "two", state, clock)
        folders = await asyncio.gather(*[other.directory(digest) for _ in range(20)])
        assert set(folders) == {tmp_path / "two" / "code" / digest}
        assert (folders[0] / "app.py").exists()
        assert size == len(hello_zip())
        assert await other.zip_bytes(digest) == hello_zip()

    asyncio.run(run())


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        store = await code_store(tmp_path, MemoryState(), FixedClock())
        with pytest.raises(CodeMissing, match="abc"):
            await store.directory("abc")
        with pytest.raises(CodeMissing, match="abc"):
            await store.directory("abc")

    asyncio.run(run())


def test_a_package_is_not_acknowledged_when_the_store_is_away(tmp_path: Path) -> None:
    async def run() -> None:
        state = MemoryState()
        store = await code_store(tmp_path, state, FixedClock())
        state.available = False
        with pytest.raises(StateUnavailable):
            await store.add(hello_zip())

    asyncio.run(run())


def test_a_start_removes_what_a_crash_left_and_keeps_the_rest(tmp_path: Path) -> None:
    async def run() -> None:
        state, clock = MemoryState(), FixedClock()
        digest, _ = await (await code_store(tmp_path, state, clock)).add(hello_zip())
        (tmp_path / "code" / f"{UNFINISHED}x" / "deep").mkdir(parents=True)
        again = await code_store(tmp_path, state, clock)
        assert (await again.directory(digest) / "app.py").exists()
        assert not list((tmp_path / "code").glob(UNFINISHED + "*"))

    asyncio.run(run())


def test_folders_from_before_the_last_boot_are_unpacked_again(tmp_path: Path) -> None:
    async def run() -> None:
        state, clock = MemoryState(), FixedClock()
        digest, _ = await (await code_store(tmp_path, state, clock)).add(hello_zip())
        (tmp_path / "code" / digest / "app.py").write_text("")  # what a power loss makes of files never synced
        (tmp_path / "code" / "boot").write_text("another boot")
        again = await code_store(tmp_path, state, clock)
        assert "hello" in (await again.directory(digest) / "app.py").read_text()

    asyncio.run(run())


GRACE_S = GRACE_MS / 1000 + 900


def test_collecting_removes_what_was_unnamed_for_the_whole_grace(tmp_path: Path) -> None:
    async def run() -> None:
        state, clock = MemoryState(), FixedClock()
        store = await code_store(tmp_path, state, clock)
        used, old = [(await store.add(hello_zip(text)))[0] for text in ("used", "old")]
        assert await store.collect(lambda: [used]) == []
        clock.advance(GRACE_S / 2)
        late, _ = await store.add(hello_zip("late"))
        assert await store.collect(lambda: [used]) == []
        clock.advance(GRACE_S / 2)
        assert await store.collect(lambda: [used]) == [old]
        assert not (tmp_path / "code" / old).exists()
        with pytest.raises(CodeMissing):
            await store.directory(old)
        for digest in (used, late):
            assert (await store.directory(digest) / "app.py").exists()

    asyncio.run(run())


def test_a_package_that_is_deployed_again_starts_a_new_grace(tmp_path: Path) -> None:
    async def run() -> None:
        clock = FixedClock()
        store = await code_store(tmp_path, MemoryState(), clock)
        digest, _ = await store.add(hello_zip())
        await store.collect(list)
        clock.advance(GRACE_S)
        await store.add(hello_zip())
        assert await store.collect(list) == []
        clock.advance(GRACE_S)
        assert await store.collect(list) == [digest]
        again, _ = await store.add(hello_zip())
        assert again == digest and await store.zip_bytes(digest) == hello_zip()

    asyncio.run(run())


def test_a_deployment_in_the_middle_of_a_collection_keeps_its_code(tmp_path: Path) -> None:
    async def run() -> None:
        clock = FixedClock()
        store = await code_store(tmp_path, MemoryState(), clock)
        digests = [(await store.add(hello_zip(str(n))))[0] for n in range(8)]
        await store.collect(list)
        clock.advance(GRACE_S)
        _, *made = await asyncio.gather(store.collect(list), *[store.add(hello_zip(str(n))) for n in range(8)])
        assert [digest for digest, _ in made] == digests
        for n, digest in enumerate(digests):
            assert str(n) in (await store.directory(digest) / "app.py").read_text()
            assert await store.zip_bytes(digest) == hello_zip(str(n))

    asyncio.run(run())


def test_packages_are_still_collected_after_a_reboot(tmp_path: Path) -> None:
    async def run() -> None:
        state, clock = MemoryState(), FixedClock()
        digest, _ = await (await code_store(tmp_path, state, clock)).add(hello_zip())
        (tmp_path / "code" / "boot").write_text("another boot")
        await code_store(tmp_path, state, clock)
        again = await code_store(tmp_path, state, clock)
        await again.collect(list)
        clock.advance(GRACE_S)
        assert await again.collect(list) == [digest]
        with pytest.raises(CodeMissing):
            await again.zip_bytes(digest)

    asyncio.run(run())


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def run() -> None:
        store = await code_store(tmp_path, MemoryState(), FixedClock())
        with monkeypatch.context() as patched, pytest.raises(CodeNotWritten, match="No space left on device"):
            patched.setattr(os, "utime", full)
            await store.add(hello_zip())
        assert sorted(entry.name for entry in (tmp_path / "code").iterdir()) == ["boot", "known"]
        await store.add(hello_zip())

    asyncio.run(run())
