"""Code packages: zips as blobs by digest, and the unpacked folders that environments mount."""

import asyncio
import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from lambent.clock import Clock
from lambent.errors import LambentError, NotReady
from lambent.functions.package import PackageLimits
from lambent.functions.unpacking import remove_tree, remove_unfinished, unpack
from lambent.settings import Settings
from lambent.state.contract import Blobs

#: A package that was added this recently is kept although no version names it: the version's record may be on its way.
YOUNG_MS = 15 * 60 * 1000

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
        #: One unpacking per digest at a time; an entry lives only while someone unpacks or waits.
        self._unpacking: dict[str, tuple[asyncio.Lock, int]] = {}
        self._added_ms: dict[str, int] = {}

    async def open(self) -> None:
        """Makes the cache folder, removes what a crash left, and forgets folders from before the machine's last boot."""
        await asyncio.to_thread(self._prepare_cache)

    async def add(self, data: bytes) -> tuple[str, int]:
        """Checks, unpacks and stores a zip; returns (digest, size in bytes). On disk when it returns.

        Raises `PackageRefused` and `CodeNotWritten`; then nothing of it is kept.
        """
        digest = await self.check(data)
        self._added_ms[digest] = self._clock.now_ms()
        stored = await self._blobs.put(data)
        assert stored == digest
        return digest, len(data)

    async def check(self, data: bytes) -> str:
        """All of `add` but storing (DryRun): the digest. The unpacked folder stays in the cache until it is collected."""
        digest = await asyncio.to_thread(_digest, data)
        await self._unpack(digest, data)
        return digest

    async def directory(self, digest: str) -> Path:
        """The unpacked package, read-only for its users. Raises `CodeMissing`. After the first call from memory."""
        ready = self._ready.get(digest)
        return ready if ready is not None else await self._unpack(digest, None)

    async def zip_bytes(self, digest: str) -> bytes:
        """The zip as it was uploaded. Raises `CodeMissing`."""
        data = await self._blobs.get(digest)
        if data is None:
            raise CodeMissing(digest)
        return data

    async def collect(self, used: Iterable[str], in_use: Callable[[], Iterable[str]] = lambda: ()) -> list[str]:
        """Removes the packages that nobody names: not a version (`used`), nor a running environment (`in_use`, asked
        again before each removal), and that were not added a moment ago. Returns the digests that went.
        """
        keep = set(used)
        now_ms = self._clock.now_ms()
        self._added_ms = {digest: at for digest, at in self._added_ms.items() if now_ms - at < YOUNG_MS}
        gone = []
        for digest in sorted(self._known):
            if digest in keep or digest in self._added_ms or digest in self._unpacking or digest in set(in_use()):
                continue
            folder = self._ready.pop(digest, None)
            if folder is not None:
                await asyncio.to_thread(remove_tree, folder)
            await self._blobs.remove(digest)
            (self._notes / digest).unlink(missing_ok=True)
            self._known.discard(digest)
            gone.append(digest)
        return gone

    async def _unpack(self, digest: str, data: bytes | None) -> Path:
        lock, waiting = self._unpacking.get(digest, (asyncio.Lock(), 0))
        self._unpacking[digest] = (lock, waiting + 1)
        try:
            async with lock:
                if digest not in self._ready:
                    target = self._cache_dir / digest
                    if data is None:
                        data = await self.zip_bytes(digest)
                    await asyncio.to_thread(self._unpack_and_note, data, target)
                    self._ready[digest] = target
                    self._known.add(digest)
                return self._ready[digest]
        finally:
            lock, waiting = self._unpacking.pop(digest)
            if waiting > 1:
                self._unpacking[digest] = (lock, waiting - 1)

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
