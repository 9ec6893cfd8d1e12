"""Code packages: zips as blobs by digest, and the unpacked folders that environments mount."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from lambent.clock import Clock
from lambent.errors import LambentError, NotReady
from lambent.functions.package import PackageLimits
from lambent.functions.unpacking import remove_tree, remove_unfinished, unpack
from lambent.settings import Settings
from lambent.state.contract import Blobs

#: Added to the longest time-out: how long a package that nobody names is kept. Whoever still mounts it is an environment of
#: a replaced version that ends with its running call, or a deployment whose record is on its way.
GRACE_MS = 15 * 60 * 1000

#: Identifies the running kernel: unpacked files are not synced to disk one by one, so a folder that was written before
#: the machine went down cannot be trusted and is unpacked again from its blob.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class CodeMissing(LambentError):
    """A version names a package that the blob store does not have."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"the code package {digest} is not in the store")


class CodeNotWritten(NotReady):
    """The disk did not take the unpacked package (full, read-only)."""


class CodeStore:
    """Keeps packages by the SHA-256 (hex) of their zip. Call `open` once before use."""

    def __init__(self, blobs: Blobs, cache_dir: Path, settings: Settings, clock: Clock) -> None:
        self._blobs = blobs
        self._cache_dir = cache_dir
        self._clock = clock
        self._limits = PackageLimits(
            settings.package_zip_max, settings.package_unzipped_max, settings.package_files_max
        )
        #: A note (an empty file) per package that this node ever held: what `collect` has to look at. Outlives the folder.
        self._notes = cache_dir / "known"
        self._known: set[str] = set()
        self._ready: dict[str, Path] = {}
        #: An entry lives only while someone works on the digest or waits for that.
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._unnamed_since_ms: dict[str, int] = {}
        self._grace_ms = GRACE_MS + settings.function_timeout_max * 1000

    async def open(self) -> None:
        """Makes the cache folder, removes what a crash left, and forgets folders from before the machine's last boot."""
        await asyncio.to_thread(self._prepare_cache)

    async def add(self, data: bytes) -> tuple[str, int]:
        """Checks, unpacks and stores a zip; returns (digest, size in bytes). On disk when it returns.

        Raises `PackageRefused` and `CodeNotWritten`; then nothing of it is kept.
        """
        digest = await asyncio.to_thread(_digest, data)
        async with self._alone(digest):
            await self._unpack(digest, data)
            self._unnamed_since_ms.pop(digest, None)
            stored = await self._blobs.put(data)
        assert stored == digest
        return digest, len(data)

    async def check(self, data: bytes) -> str:
        """All of `add` but storing (DryRun): the digest. The unpacked folder stays in the cache until it is collected."""
        digest = await asyncio.to_thread(_digest, data)
        async with self._alone(digest):
            await self._unpack(digest, data)
        return digest

    async def directory(self, digest: str) -> Path:
        """The unpacked package, read-only for its users. Raises `CodeMissing`. After the first call from memory."""
        ready = self._ready.get(digest)
        if ready is not None:
            return ready
        async with self._alone(digest):
            return await self._unpack(digest, None)

    async def zip_bytes(self, digest: str) -> bytes:
        """The zip as it was uploaded. Raises `CodeMissing`."""
        data = await self._blobs.get(digest)
        if data is None:
            raise CodeMissing(digest)
        return data

    async def collect(self, used: Callable[[], Iterable[str]]) -> list[str]:
        """Removes the packages that no version named (`used`) during the whole grace. Returns the digests that went.

        To be called now and then; a package is first noted as unnamed and goes with a later call.
        """
        named, now_ms = set(used()), self._clock.now_ms()
        since = {digest: self._unnamed_since_ms.get(digest, now_ms) for digest in self._known - named}
        self._unnamed_since_ms = since
        gone = []
        for digest in sorted(digest for digest, at_ms in since.items() if now_ms - at_ms >= self._grace_ms):
            async with self._alone(digest):
                # Deployed again while others were removed.
                if digest not in self._unnamed_since_ms or digest in used():
                    continue
                await self._remove(digest)
                gone.append(digest)
        return gone

    async def _remove(self, digest: str) -> None:
        folder = self._ready.pop(digest, None)
        if folder is not None:
            await asyncio.to_thread(remove_tree, folder)
        await self._blobs.remove(digest)
        (self._notes / digest).unlink(missing_ok=True)
        self._known.discard(digest)
        del self._unnamed_since_ms[digest]

    async def _unpack(self, digest: str, data: bytes | None) -> Path:
        """To be called alone with the digest."""
        if digest not in self._ready:
            target = self._cache_dir / digest
            if data is None:
                data = await self.zip_bytes(digest)
            await asyncio.to_thread(self._unpack_and_note, data, target)
            self._ready[digest] = target
            self._known.add(digest)
        return self._ready[digest]

    @asynccontextmanager
    async def _alone(self, digest: str) -> AsyncIterator[None]:
        """One writer or remover of a package at a time; the others wait and then find it done."""
        lock, users = self._locks.get(digest, (asyncio.Lock(), 0))
        self._locks[digest] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(digest)
            if users > 1:
                self._locks[digest] = (lock, users - 1)

    def _unpack_and_note(self, data: bytes, target: Path) -> None:
        try:
            unpack(data, target, self._limits)
            (self._notes / target.name).touch()
        except OSError as error:
            raise CodeNotWritten(f"the code package could not be unpacked: {error.strerror}") from error

    def _prepare_cache(self) -> None:
        self._notes.mkdir(mode=0o755, parents=True, exist_ok=True)
        remove_unfinished(self._cache_dir)
        boot_id = _boot_id()
        stamp = self._cache_dir / "boot"
        trusted = bool(boot_id) and stamp.exists() and stamp.read_text() == boot_id
        for folder in self._cache_dir.iterdir():
            if not folder.is_dir() or folder == self._notes:
                continue
            if trusted:
                self._ready[folder.name] = folder
            else:
                shutil.rmtree(folder)
        stamp.write_text(boot_id)
        self._known = {note.name for note in self._notes.iterdir()} | set(self._ready)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
