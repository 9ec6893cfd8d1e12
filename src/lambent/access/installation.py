"""What the first start makes and every later one reads: the account, its root key, the secrets (mode 0600)."""

import fcntl
import json
import os
from pathlib import Path

import msgspec

from lambent.errors import LambentError
from lambent.ids import Ids

FILE = "installation.json"


class DataDirectoryUnusable(LambentError):
    """The data directory cannot be made, written, or is used by another running platform."""


class InstallationDamaged(LambentError):
    """The file with the account and its keys cannot be read."""


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    access_key_id: str
    secret_access_key: str
    #: Temporary credentials are derived from it; whoever has it can make any.
    master_secret: str


def claim_data_dir(path: Path) -> int:
    """Makes the data directory (mode 0700) and locks it for this process. Returns the descriptor that holds the lock.

    Raises `DataDirectoryUnusable`. The lock ends with the process, however it ends.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirectoryUnusable(
            f"the data directory {path} cannot be used: {error.strerror}; choose another with --data-dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise DataDirectoryUnusable(
            f"another Lambent (pid {holder or 'unknown'}) uses {path}; stop it, or choose another --data-dir"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def open_installation(data_dir: Path, ids: Ids) -> Installation:
    """Reads the installation of a data directory, or makes it. On disk when it returns. Raises `InstallationDamaged`."""
    path = data_dir / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Installation)
    except FileNotFoundError:
        pass
    except (OSError, msgspec.MsgspecError) as error:
        raise InstallationDamaged(
            f"{path} cannot be read ({error}); restore it from a backup, or start with another --data-dir"
        ) from error
    made = Installation(
        account=ids.account_id(),
        access_key_id=ids.access_key_id(),
        secret_access_key=ids.secret(40),
        master_secret=ids.secret(64),
    )
    write_private(path, json.dumps(msgspec.to_builtins(made), indent=2).encode() + b"\n")
    return made


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner reads, whole or not at all, synced to disk."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
