"""One owner per data directory: a lock that the node and its nats-server hold together.

The lock is an flock on a file whose descriptor the server inherits. An flock belongs to the open file, so it is free only
when both have ended: after a kill -9 of the node the next one waits until the old server has let go of the store.
"""

import fcntl
import os
import signal
import time
from pathlib import Path

from lambent.bus.faults import DataDirInUse, DataDirUnusable

#: An orphaned server gets the death signal with its node and then writes out its store; past half of this it is killed.
WAIT_S = 10.0
_POLL_S = 0.01


def acquire(path: Path) -> int:
    """Locks `path` and returns the descriptor (close-on-exec; pass it on to the server by number).

    Ends a server that outlived its node. Blocks at most `WAIT_S`. Raises `DataDirInUse` when a living node holds it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirUnusable(f"cannot open {path}: {error.strerror}") from error
    try:
        _lock(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    started = time.monotonic()
    killed = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        owner = _owner(descriptor)
        if owner and _holds(owner, path):
            raise DataDirInUse(
                f"the data directory {path.parent.parent} is in use by another Lambent (process {owner}); "
                "stop it or choose another --data-dir"
            )
        waited = time.monotonic() - started
        if waited > WAIT_S:
            held_by = ", ".join(map(str, _holders(path))) or "an unknown process"
            raise DataDirInUse(f"the data directory {path.parent.parent} is still held by {held_by}; end that first")
        if waited > WAIT_S / 2 and not killed:
            killed = True
            for orphan in _holders(path):
                if _is_server(orphan):
                    os.kill(orphan, signal.SIGKILL)
        time.sleep(_POLL_S)


def _owner(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace")
    return int(text) if text.isdigit() else 0


def _holders(path: Path) -> list[int]:
    return [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _holds(int(entry.name), path)
    ]


def _holds(pid: int, path: Path) -> bool:
    """Whether `pid` has the lock file open, this process's own attempt aside."""
    if pid == os.getpid():
        return False
    target = str(path.resolve())
    try:
        return any(str(entry.readlink()) == target for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _is_server(pid: int) -> bool:
    try:
        return b"nats-server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return False
